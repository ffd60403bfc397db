"""Users, API keys and connections in the admin. No secret is anywhere to be seen."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import RangeDateTimeFilter
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts import trail
from accounts.models import ApiKey, Connection, Plan, StaffAction, User
from accounts.recorded import RecordedAdmin


class NewUserForm(UserCreationForm):
    """A user of this site is made from an address and a password."""

    class Meta:
        """Ask for the address; there is no user name."""

        model = User
        fields = ("email",)
        field_classes: dict[str, Any] = {}


@admin.register(User)
class UserAdmin(DjangoUserAdmin, RecordedAdmin):
    """Django's own pages for users, without user names."""

    form = UserChangeForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("email", "plan", "is_staff", "is_active", "created_at", "last_login")
    list_filter = ("plan", "is_staff", "is_superuser", "is_active")
    list_select_related = ("plan",)
    search_fields = ("email", "uid")
    autocomplete_fields = ("plan",)
    ordering = ("-pk",)
    show_full_result_count = False
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


@admin.register(Plan)
class PlanAdmin(RecordedAdmin):
    """Plans. What is changed counts for everybody within ten seconds."""

    list_display = (
        "name", "is_default", "people", "monthly_credits", "rollover_credits", "batch_images",
        "concurrent_batches", "library", "api",
    )  # fmt: skip
    ordering = ("pk",)
    search_fields = ("name", "slug")
    fieldsets = (
        (None, {"fields": ("name", "slug", "is_default")}),
        (_("Credits"), {"fields": ("monthly_credits", "rollover_credits")}),
        (_("Batches"), {"fields": ("batch_images", "concurrent_batches", "library_bytes")}),
        (_("HTTP API"), {"fields": ("api", "api_reads_per_hour", "api_writes_per_hour")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        """Plans, with how many people are on each."""
        return super().get_queryset(request).annotate(_people=Count("users"))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only those that nobody is on, and never the default."""
        allowed = super().has_delete_permission(request, obj)
        return allowed and (obj is None or not (obj.is_default or obj.users.exists()))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """No deleting from the list: the page of a plan knows whether it may go."""
        actions: dict[str, Any] = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Store it; the new default takes the place of the old one in the same transaction."""
        with transaction.atomic():
            if obj.is_default:
                Plan.objects.filter(is_default=True).exclude(pk=obj.pk).update(is_default=False)
            super().save_model(request, obj, form, change)

    @admin.display(description=_("people"), ordering="_people")
    def people(self, plan: Any) -> int:
        """How many have it as their own; the default is also everybody's without one."""
        return int(plan._people)

    @admin.display(description=_("library"), ordering="library_bytes")
    def library(self, plan: Plan) -> str:
        """Its quota, in units for people."""
        return filesizeformat(plan.library_bytes)


@admin.register(StaffAction)
class StaffActionAdmin(ModelAdmin):
    """What staff did. Nobody adds, changes or deletes anything here."""

    list_display = ("at", "actor_email", "action", "target_kind", "target_label", "rows", "reason")
    list_filter = ("action", ("at", RangeDateTimeFilter))
    list_filter_submit = True
    search_fields = ("=target_id", "=request_id", "actor_email", "target_label")
    search_help_text = _("Staff's address, name or id of what was changed, or trace id")
    ordering = ("-pk",)
    show_full_result_count = False
    fields = (
        "at", "actor_email", "ip", "request_id", "action", "target_kind", "target_id",
        "target_label", "rows", "reason", "changes",
    )  # fmt: skip
    readonly_fields = ("changes",)

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """No."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """No."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """No."""
        return False

    @admin.display(description=_("changes"))
    def changes(self, done: StaffAction) -> str:
        """Each field before and after, side by side."""
        names = list(dict.fromkeys([*done.before, *done.after]))
        if not names:
            return "-"
        rows = format_html_join(
            "",
            "<tr><th scope='row'>{}</th><td>{}</td><td>{}</td></tr>",
            ((name, done.before.get(name, ""), done.after.get(name, "")) for name in names),
        )
        return format_html(
            "<table class='studio-changes'><thead><tr><th></th><th scope='col'>{}</th>"
            "<th scope='col'>{}</th></tr></thead><tbody>{}</tbody></table>",
            _("Before"), _("After"), rows,
        )  # fmt: skip


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
        moved = 0
        for key in queryset.filter(revoked_at=None).select_related("user"):
            now = timezone.now()
            if ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now):
                trail.record(request, "apikey.revoke", key, after={"revoked_at": now})
                moved += 1
        self.message_user(request, ngettext("%d key revoked.", "%d keys revoked.", moved) % moved)


@admin.register(Connection)
class ConnectionAdmin(RecordedAdmin):
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
