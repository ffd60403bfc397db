"""What people keep, in the admin: its figures, not its pictures."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from accounts.lists import BetweenFilter
from batches import formats
from batches.admin import contents
from batches.admin.lists import ByTool, OwnerFilter, ReadOnlyAdmin, link_to
from batches.models import Asset
from tools.words import name_of, settings_used


class ByFormat(admin.SimpleListFilter):
    """Files of one format. The choices are those that there are: no look at the table."""

    title = _("format")
    parameter_name = "format"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        """All of them."""
        return [(name, name.upper()) for name in formats.CONTENT_TYPES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Asset]) -> QuerySet[Asset]:  # noqa: ARG002
        """Files of the one that was chosen."""
        return queryset.filter(format=self.value()) if self.value() else queryset


@admin.register(Asset)
class AssetAdmin(ReadOnlyAdmin):
    """Pictures and texts in libraries."""

    list_display = (
        "name", "owner_page", "tool_name", "format_name", "size", "created_at", "trashed_at",
    )  # fmt: skip
    list_select_related = ("owner",)
    list_filter = (
        ByTool,
        ByFormat,
        OwnerFilter,
        ("created_at", BetweenFilter),
        ("trashed_at", admin.EmptyFieldListFilter),
    )
    list_filter_submit = True
    search_fields = ("name", "owner__email")
    search_help_text = _("Name, owner's address, or id")
    fieldsets = (
        (
            None,
            {"fields": (("trace_id", "owner_page"), ("name", "folder"), "alt_text", "tagged")},
        ),
        (_("File"), {"fields": (("format_name", "measures"), ("size", "sha256"), "key")}),
        (
            _("Where it comes from"),
            {"fields": (("tool_name", "came_from"), "in_words", "source_sha256")},
        ),
        (_("Dates"), {"fields": (("created_at", "updated_at"), "trashed_at")}),
    )

    @admin.display(description=_("owner"), ordering="owner__email")
    def owner_page(self, asset: Asset) -> str:
        """Whose it is."""
        return link_to(asset.owner)

    @admin.display(description=_("tool"), ordering="tool")
    def tool_name(self, asset: Asset) -> str:
        """The tool that made it."""
        return name_of(asset.tool) if asset.tool else str(_("None: as it came"))

    @admin.display(description=_("format"), ordering="format")
    def format_name(self, asset: Asset) -> str:
        """As people write it."""
        return asset.format.upper()

    @admin.display(description=_("size"), ordering="bytes")
    def size(self, asset: Asset) -> str:
        """In units for people."""
        return filesizeformat(asset.bytes)

    @admin.display(description=_("measures"))
    def measures(self, asset: Asset) -> str:
        """In pixels; a text has none."""
        return f"{asset.width} × {asset.height}" if asset.width else "-"

    @admin.display(description=_("tags"))
    def tagged(self, asset: Asset) -> str:
        """All of them."""
        return ", ".join(asset.tags.order_by("name").values_list("name", flat=True)) or "-"

    @admin.display(description=_("settings"))
    def in_words(self, asset: Asset) -> str:
        """Those that it was made with."""
        return contents.list_of(settings_used(asset.tool, asset.origin.get("settings", {})))

    @admin.display(description=_("made by"))
    def came_from(self, asset: Asset) -> str:
        """The image of a batch that it was the result of, which may be gone."""
        made = asset.origin.get("item") or {}
        if not made.get("uid"):
            return "-"
        address = reverse("admin:batches_item_changelist")
        return format_html(
            '<a href="{}?q={}">{}</a>', address, made["uid"], made.get("name") or made["uid"]
        )
