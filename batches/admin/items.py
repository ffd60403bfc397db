"""Single images in the admin: where they stand, what was tried, what came of it, and once more."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts import trail
from accounts.lists import BetweenFilter
from batches import attempts, lifecycle, storage
from batches import messages as wording
from batches.admin import contents
from batches.admin.lists import BatchOwnerFilter, ReadOnlyAdmin, bare_address, link_to, uuid_of
from batches.exports import archive
from batches.models import Batch, Item, Parcel, Result
from batches.states import RETRYABLE, ItemState
from credits import ledger
from tools.base import SettingsInvalid
from tools.words import settings_used

SHOWN_RESULTS = 20
"""Of an image, on its page."""
SHOWN_PARCELS = 10
LONGEST_ID = 18
"""Digits of a row's number that no database finds too large."""


class PicturedChangeList(ChangeList):
    """A page of images, each with its first result."""

    def get_results(self, request: HttpRequest) -> None:
        """Fetch the results of all images on the page at once."""
        super().get_results(request)
        items = list(self.result_list)
        results = {
            result.item_id: result for result in Result.objects.filter(item__in=items, position=0)
        }
        for item in items:
            item.first_result = results.get(item.pk)
        self.result_list = items


@admin.register(Item)
class ItemAdmin(ReadOnlyAdmin):
    """Single images: where they stand and why they failed."""

    list_display = (
        "name", "pictures", "batch_page", "state", "error", "attempt", "price", "changed_at",
    )  # fmt: skip
    list_filter = ("state", BatchOwnerFilter, ("changed_at", BetweenFilter))
    list_filter_submit = True
    actions = ("requeue",)
    search_fields = ("name",)
    search_help_text = _(
        "How its name begins (upper and lower case count), or a whole id: of an image, of a batch, "
        "or the trace of a log line"
    )
    change_form_outer_before_template = "admin/batches/item/_pictures.html"
    change_form_outer_after_template = "admin/batches/item/_attempts.html"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("trace_id", "owner"), ("batch_page", "position_in_words"), ("name", "state"),
                    ("why", "error_code"),
                ),
            },
        ),
        (
            _("What it is made of"),
            {
                "fields": (
                    ("source", "external_id"), ("saved_as", "model_version"), "in_words", "reused",
                ),
            },
        ),
        (
            _("Work"),
            {
                "fields": (
                    ("attempt", "worker"), ("tries", "losses"), ("lease_until", "retry_at"),
                ),
            },
        ),
        (_("Credits"), {"fields": (("held_price", "price"),)}),
        (_("Dates"), {"fields": (("created_at", "started_at"), ("finished_at", "changed_at"))}),
    )  # fmt: skip

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        """The list with pictures."""
        return PicturedChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Item]:
        """With what its page tells of it."""
        related = ("batch__owner", "original", "connection")
        return super().get_queryset(request).select_related(*related)

    def get_urls(self) -> list[URLPattern]:
        """The usual ones and the pictures, which their own pages show to owners only."""
        view = self.admin_site.admin_view
        name = "batches_item"
        return [
            path("<int:item_id>/<str:which>.webp", view(self.picture_view), name=f"{name}_picture"),
            path("<int:item_id>/original/", view(self.original_view), name=f"{name}_original"),
            path(
                "<int:item_id>/results/<int:position>/",
                view(self.result_view),
                name=f"{name}_result",
            ),
            *super().get_urls(),
        ]

    def get_search_results(
        self,
        request: HttpRequest,  # noqa: ARG002
        queryset: QuerySet[Item],
        search_term: str,
    ) -> tuple[QuerySet[Item], bool]:
        """Only what an index answers, however many items there are: ids, and names from the left.

        The trace of a log line is several ids, with slashes between them: the narrowest counts.
        """
        term = search_term.strip(" []")
        if not term:
            return queryset, False
        if uids := [uid for part in term.split("/") if (uid := uuid_of(part))]:
            batches = list(Batch.objects.filter(uid__in=uids).values_list("pk", flat=True))
            own = queryset.filter(uid__in=uids)
            return own if own.exists() else queryset.filter(batch__in=batches), False
        wanted = Item.named_like(term)
        if term.isdecimal() and len(term) <= LONGEST_ID:
            wanted |= Q(pk=int(term))
        return queryset.filter(wanted), False

    @admin.action(description=_("Run again what failed"), permissions=["change"])
    def requeue(self, request: HttpRequest, queryset: QuerySet[Item]) -> None:
        """Retry these images, a verb for each of their batches; their owners pay as for a retry."""
        moved, left = 0, 0
        chosen: dict[int, list[UUID]] = {}
        refusals: list[tuple[Any, str]] = []
        for batch_id, uid in queryset.order_by("pk").values_list("batch_id", "uid").iterator():
            chosen.setdefault(batch_id, []).append(uid)
        for batch in Batch.objects.filter(pk__in=chosen).order_by("pk"):
            uids = chosen[batch.pk]
            failed = batch.items.filter(state=ItemState.FAILED, uid__in=uids).count()
            left += len(uids) - failed
            try:
                lifecycle.retry(batch, items=uids)
            except (lifecycle.Refused, ledger.InsufficientCredits, SettingsInvalid) as refused:
                left += failed
                reason = (
                    wording.text(refused.code, refused.params)
                    if isinstance(refused, ledger.InsufficientCredits)
                    else getattr(refused, "detail", str(refused))
                )
                refusals.append((batch, reason))
            else:
                moved += failed
                trail.record(request, "item.requeue", batch, after={"images": failed}, rows=failed)
        text = ngettext("%(n)d image runs again", "%(n)d images run again", moved) % {"n": moved}
        text += _(", {left} left as they are.").format(left=left) if left else "."
        self.message_user(request, text, messages.SUCCESS if moved else messages.WARNING)
        self.tell_refusals(request, refusals)

    def picture_view(self, request: HttpRequest, item_id: int, which: str) -> HttpResponseBase:
        """A small picture of the item's original or of its first result."""
        item = self._seen(request, item_id)
        result = Result.objects.filter(item=item_id, position=0).first()
        if which == "original" and item.original:
            alias, key = storage.ORIGINALS, item.original.thumbnail_key
        elif which == "result" and result and result.thumbnail_key:
            alias, key = storage.RESULTS, result.thumbnail_key
        else:
            raise Http404
        return archive.picture_response(alias, key, content_type="image/webp", name="small.webp")

    def original_view(self, request: HttpRequest, item_id: int) -> HttpResponseBase:
        """The whole original. That somebody of staff opened it is written down."""
        item = self._seen(request, item_id)
        if item.original is None:
            raise Http404
        answer = archive.original_response(item.original, download=False)
        trail.record(request, "item.open_original", item, rows=0)
        return answer

    def result_view(self, request: HttpRequest, item_id: int, position: int) -> HttpResponseBase:
        """A whole result. That somebody of staff opened it is written down."""
        item = self._seen(request, item_id)
        result = Result.objects.filter(item=item, position=min(position, 2**15 - 1)).first()
        if result is None:
            raise Http404
        answer = archive.file_response(result, download=False)
        trail.record(request, "item.open_result", item, rows=0)
        return answer

    def told(self, request: HttpRequest, obj: Item) -> dict[str, Any]:
        """Its pictures, what was tried, and where its results went."""
        told: dict[str, Any] = {
            "original_picture": obj.original,
            "results": list(obj.results.order_by("position")[:SHOWN_RESULTS]),
            "tries": attempts.of(obj),
        }
        if request.user.has_perm("batches.view_delivery"):
            parcels = Parcel.objects.filter(result__item=obj).order_by("-pk")
            told["parcels"] = [
                (parcel, contents.error_of(parcel))
                for parcel in parcels.select_related("delivery__connection")[:SHOWN_PARCELS]
            ]
        return told

    def fits(self, action: str, obj: Item) -> bool:
        """Only what failed runs again."""
        is_failed = obj.state == ItemState.FAILED and obj.batch.state in RETRYABLE
        return action != "requeue" or is_failed

    @admin.display(description=_("pictures"))
    def pictures(self, item: Any) -> str:
        """Before and after, small."""
        found = contents.small_pictures(item, item.first_result)
        shown = format_html_join("", '<img src="{}" alt="{}" loading="lazy">', found)
        return format_html('<span class="studio-small">{}</span>', shown) if found else "-"

    @admin.display(description=_("batch"))
    def batch_page(self, item: Item) -> str:
        """The batch, with the way to its page."""
        return link_to(item.batch)

    @admin.display(description=_("owner"))
    def owner(self, item: Item) -> str:
        """Whose it is."""
        return link_to(item.batch.owner)

    @admin.display(description=_("error"), ordering="error_code")
    def error(self, item: Item) -> str:
        """Why it failed, in the words that its owner reads, and the code."""
        if not item.error_code:
            return "-"
        return format_html(
            '<span class="studio-words">{} <code>{}</code></span>', item.error, item.error_code
        )

    @admin.display(description=_("why it failed"))
    def why(self, item: Item) -> str:
        """In the words that its owner reads."""
        return item.error or "-"

    @admin.display(description=_("place in its batch"))
    def position_in_words(self, item: Item) -> str:
        """Counted from one, and the line of the sheet that it came from."""
        place = f"{item.position + 1:,}"
        if item.line:
            return _("{place}, line {line} of the sheet").format(place=place, line=item.line)
        return place

    @admin.display(description=_("source"))
    def source(self, item: Item) -> str:
        """Where it came from, without what may be a secret in an address."""
        if item.is_stored:
            return item.source
        return bare_address(item.source_url) or str(_("An upload"))

    @admin.display(description=_("saved as"))
    def saved_as(self, item: Item) -> str:
        """What its result is called where it is saved to, without the ending."""
        return item.stem or str(_("As the image"))

    @admin.display(description=_("settings"))
    def in_words(self, item: Item) -> str:
        """The settings as its own page names them."""
        return contents.list_of(settings_used(item.batch.tool, item.settings))

    @admin.display(description=_("earlier result"))
    def reused(self, item: Item) -> str:
        """Whose result serves here again, if one does."""
        if not item.reused_from:
            return "-"
        address = reverse("admin:batches_item_changelist")
        return format_html('<a href="{}?q={}">{}</a>', address, item.reused_from, item.reused_from)

    def _seen(self, request: HttpRequest, item_id: int) -> Item:
        """The item, for those who may look at items."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        item = Item.objects.select_related("original", "batch").filter(pk=item_id).first()
        if item is None:
            raise Http404
        return item
