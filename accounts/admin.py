"""Users, API keys and connections in the admin. No secret is anywhere to be seen."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts.models import ApiKey, Connection, User


class NewUserForm(UserCreationForm):
    """A user of this site is made from an address and a password."""

    class Meta:
        """Ask for the address; there is no user name."""

        model = User
        fields = ("email",)
        field_classes: dict[str, Any] = {}


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):
    """Django's own pages for users, without user names."""

    form = UserChangeForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("email", "is_staff", "is_active", "created_at", "last_login")
    list_filter = ("is_staff", "is_superuser", "is_active")
    search_fields = ("email", "uid")
    ordering = ("-pk",)
    readonly_fields = ("uid", "created_at", "email_verified_at", "last_login", "erased_at")
    fieldsets = (
        (None, {"fields": ("email", "password", "uid")}),
        (
            _("Rights"),
            {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")},
        ),
        (_("Limits"), {"fields": ("plan", "batch_images")}),
        (
            _("Dates"),
            {"fields": ("created_at", "email_verified_at", "last_login", "erased_at")},
        ),
    )
    add_fieldsets = (
        (
            None,
            {
                "classes": ("wide",),
                "fields": ("email", "usable_password", "password1", "password2"),
            },
        ),
    )


@admin.register(ApiKey)
class ApiKeyAdmin(ModelAdmin):
    """See which keys there are and take them away. Keys are made by their owners."""

    list_display = ("name", "prefix", "user", "scopes", "created_at", "last_used_at", "revoked_at")
    list_select_related = ("user",)
    list_filter = ("revoked_at",)
    search_fields = ("name", "prefix", "user__email")
    ordering = ("-pk",)
    fields = (
        "user",
        "name",
        "prefix",
        "scopes",
        "created_at",
        "last_used_at",
        "expires_at",
        "revoked_at",
    )
    actions = ("revoke",)

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """No: the secret would be shown to the wrong person."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """No: a revoked key goes on saying when it was used."""
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:  # noqa: ARG002
        """All of it."""
        return self.fields

    @admin.action(description=_("Revoke these keys"), permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Close the keys for good, at once."""
        moved = queryset.filter(revoked_at=None).update(revoked_at=timezone.now())
        self.message_user(request, ngettext("%d key revoked.", "%d keys revoked.", moved) % moved)


@admin.register(Connection)
class ConnectionAdmin(ModelAdmin):
    """See which accounts are connected, and cut one off. Their owners make and change them."""

    list_display = ("name", "kind", "owner", "created_at", "checked_at", "error_code")
    list_select_related = ("owner",)
    list_filter = ("kind", "error_code")
    search_fields = ("name", "owner__email")
    ordering = ("-pk",)
    fields = (
        "owner",
        "kind",
        "name",
        "config",
        "folders",
        "conflict",
        "created_at",
        "checked_at",
        "error_code",
        "error_params",
    )

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """No: that takes somebody's secret."""
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:  # noqa: ARG002
        """All of it."""
        return self.fields
