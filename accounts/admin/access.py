"""API keys and connected accounts: staff see them and take them away, and never use them."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts import trail
from accounts.lists import CappedPaginator, DiscreetAdmin
from accounts.models import ApiKey, Connection
from accounts.recorded import RecordedAdmin


class IsOpen(admin.SimpleListFilter):
    """Keys that open something, and those that no longer do."""

    title = _("state")
    parameter_name = "open"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:  # noqa: ARG002
        """Both kinds."""
        return [("1", _("Open")), ("0", _("Revoked or run out"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:  # noqa: ARG002
        """As the API itself judges."""
        usable = ApiKey.objects.usable(now=timezone.now())
        if self.value() == "1":
            return queryset.filter(pk__in=usable.values("pk"))
        if self.value() == "0":
            return queryset.exclude(pk__in=usable.values("pk"))
        return queryset


@admin.register(ApiKey)
class ApiKeyAdmin(DiscreetAdmin):
    """See which keys there are and take them away. Keys are made by their owners."""

    list_display = ("name", "prefix", "user", "allowed", "created_at", "last_used_at", "revoked_at")
    list_select_related = ("user",)
    list_filter = (IsOpen,)
    search_fields = ("name", "prefix", "user__email")
    search_help_text = _("Name, the part of the key that is shown, or its owner's address")
    ordering = ("-pk",)
    paginator = CappedPaginator
    show_full_result_count = False
    fields = (
        "user",
        "name",
        "prefix",
        "allowed",
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

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Keys are revoked in the list; the page of one is to read."""
        return obj is None and super().has_change_permission(request, obj)

    @admin.display(description=_("may"))
    def allowed(self, key: ApiKey) -> str:
        """Its scopes, in words that the API's documents use."""
        return ", ".join(key.scopes)

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
    list_filter = ("kind", ("error_code", admin.EmptyFieldListFilter))
    search_fields = ("name", "owner__email")
    search_help_text = _("Name, or its owner's address")
    ordering = ("-pk",)
    paginator = CappedPaginator
    show_full_result_count = False
    fields = (
        "owner",
        "kind",
        "name",
        "where",
        "folders_in_words",
        "conflict",
        "created_at",
        "checked_at",
        "error_code",
    )
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """No: that takes somebody's secret."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """No: it is its owner's."""
        return False

    @admin.display(description=_("account"))
    def where(self, connection: Connection) -> str:
        """What is no secret of it: bucket, client id, region and the like."""
        return _lines((name.replace("_", " "), value) for name, value in connection.config.items())

    @admin.display(description=_("folders"))
    def folders_in_words(self, connection: Connection) -> str:
        """Which tool's results go where."""
        return _lines(connection.folders.items())


def _lines(pairs: Iterable[tuple[str, Any]]) -> str:
    rows = format_html_join("", "<dt>{}</dt><dd>{}</dd>", pairs)
    return format_html('<dl class="studio-pairs">{}</dl>', rows) if rows else "-"
