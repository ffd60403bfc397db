"""Batches and items in the admin: everything can be read, and the verbs can be called.

Lists stay cheap however big the tables grow: a page of batches is counted in one query, and a
batch's page links to its items instead of holding 500 rows.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    StreamingHttpResponse,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.timesince import timesince
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.admin import ModelAdmin

from accounts import trail
from accounts.lists import BetweenFilter
from batches import lifecycle, progress, storage, tool_rules_admin  # noqa: F401 - registers
from batches import messages as wording
from batches.exports import archive, report
from batches.models import Asset, Batch, Item, Result
from batches.states import ItemState
from credits import ledger
from tools.base import SettingsInvalid

LONGEST_ID = 18
"""Digits of a row's number that no database finds too large."""


class CappedPaginator(Paginator):
    """Counts so far and no further: nobody turns to page 200, and a million rows take a while."""

    MOST = 10_000

    @cached_property
    def count(self) -> int:
        """How many rows there are, or `MOST` where there are more."""
        rows: Any = self.object_list
        return int(rows.order_by()[: self.MOST].count())


class ReadOnlyAdmin(ModelAdmin):
    """Rows that staff look at and move by actions, but never write."""

    ordering = ("-pk",)
    list_per_page = 50
    view_on_site = False  # those pages are for their owners alone
    show_full_result_count = False
    paginator = CappedPaginator
    actions: Any = ()

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Nobody adds rows by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Actions on the list, for those with the right; the page of one row is to read."""
        return obj is None and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Nobody deletes rows by hand: credits hang on them."""
        return False


class CountedChangeList(ChangeList):
    """A page of batches, each with its counts."""

    def get_results(self, request: HttpRequest) -> None:
        """Count the items of all batches on the page at once."""
        super().get_results(request)
        batches = list(self.result_list)
        looks = progress.of_many(batches, now=None)
        for batch in batches:
            batch.look = looks[batch.pk]
        self.result_list = batches


class WithFailures(admin.SimpleListFilter):
    """Batches of which something has failed."""

    title = _("images")
    parameter_name = "failed"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:  # noqa: ARG002
        """The one choice."""
        return [("1", _("Some have failed"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Batch]) -> QuerySet[Batch]:  # noqa: ARG002
        """Asked of the index of items by state, batch after batch."""
        if self.value() != "1":
            return queryset
        failed = Item.objects.filter(batch=OuterRef("pk"), state=ItemState.FAILED)
        return queryset.filter(Exists(failed))


@admin.register(Batch)
class BatchAdmin(ReadOnlyAdmin):
    """Batches, with the same verbs that their owners have."""

    list_display = (
        "name", "owner_link", "tool", "state", "done_of", "failed", "credits", "priority", "age",
    )  # fmt: skip
    list_select_related = ("owner",)
    list_filter = ("state", "tool", WithFailures, ("created_at", BetweenFilter))
    list_filter_submit = True
    search_fields = ("name", "owner__email", "uid")
    search_help_text = _("Name, owner's address, or id")
    fields = (
        "uid", "owner", "name", "tool", "settings", "state", "figures", "items_by_state", "sample",
        "cap", "created_at", "started_at", "finished_at",
    )  # fmt: skip
    actions = (
        "pause",
        "resume",
        "cancel",
        "retry_failed",
        "raise_priority",
        "lower_priority",
        "refund",
        "report",
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        """The list that counts."""
        return CountedChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Batch], search_term: str
    ) -> tuple[QuerySet[Batch], bool]:
        """An id is looked up by itself; words are looked for in names and addresses."""
        if uid := _uuid(search_term):
            return queryset.filter(uid=uid), False
        return super().get_search_results(request, queryset, search_term)

    @admin.display(description=_("owner"), ordering="owner__email")
    def owner_link(self, batch: Batch) -> str:
        """The owner's address, which narrows the list to the owner's batches."""
        query = urlencode({"owner__id__exact": batch.owner_id})
        return format_html('<a href="?{}">{}</a>', query, batch.owner)

    @admin.display(description=_("done"))
    def done_of(self, batch: Any) -> str:
        """How many of how many, and a bar of what is done and what has failed."""
        look = batch.look
        done = 100 * look.done / (look.total or 1)
        failed = done + 100 * look.failed / (look.total or 1)
        return format_html(
            '<span class="studio-done">{}/{}</span> <svg class="studio-bar" viewBox="0 0 100 1" '
            'preserveAspectRatio="none" aria-hidden="true"><rect class="failed" width="{}" '
            'height="1"/><rect class="done" width="{}" height="1"/></svg>',
            look.done,
            look.total,
            f"{failed:.1f}",
            f"{done:.1f}",
        )

    @admin.display(description=_("failed"))
    def failed(self, batch: Any) -> int:
        """How many failed."""
        return int(batch.look.failed)

    @admin.display(description=_("credits"))
    def credits(self, batch: Any) -> str:
        """What was spent, and what is still on hold."""
        held = f" (+{batch.look.held})" if batch.look.held else ""
        return f"{batch.look.used}{held}"

    @admin.display(description=_("age"), ordering="created_at")
    def age(self, batch: Batch) -> str:
        """Since it was made."""
        return timesince(batch.created_at, timezone.now(), depth=1)

    @admin.display(description=_("figures"))
    def figures(self, batch: Batch) -> str:
        """Counts and credits, for one batch."""
        look = progress.of(batch, now=timezone.now())
        return _(
            "{finished} of {total} finished ({percent} %) · {used} credits used, {held} on hold"
        ).format(
            finished=look.finished,
            total=look.total,
            percent=look.percent,
            used=look.used,
            held=look.held,
        )

    @admin.display(description=_("items"))
    def items_by_state(self, batch: Batch) -> str:
        """Links to the items, all and by state."""
        look = progress.of(batch, now=timezone.now())
        found = [
            (_("all"), {}, look.total),
            (_("processing"), {"state__exact": ItemState.RUNNING}, look.processing),
            (_("done"), {"state__exact": ItemState.DONE}, look.done),
            (_("failed"), {"state__exact": ItemState.FAILED}, look.failed),
            (_("cancelled"), {"state__exact": ItemState.CANCELLED}, look.cancelled),
        ]
        address = reverse("admin:batches_item_changelist")
        return format_html_join(
            " · ",
            '<a href="{}?{}">{} {}</a>',
            (
                (address, urlencode({"batch__id__exact": batch.pk, **which}), n, word)
                for word, which, n in found
                if n
            ),
        )

    @admin.action(description=_("Pause"), permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Batch]) -> None:
        """Begin nothing more in these batches."""
        self._act(request, queryset, lifecycle.pause, "pause")

    @admin.action(description=_("Resume"), permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Batch]) -> None:
        """Let these batches go on."""
        self._act(request, queryset, lifecycle.resume, "resume")

    @admin.action(description=_("Cancel…"), permissions=["change"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Batch]) -> HttpResponse | None:
        """Stop these batches, once somebody has said that it is meant."""
        if "confirmed" not in request.POST:
            return self._confirm(
                request,
                queryset,
                action="cancel",
                title=_("Cancel these batches?"),
                effect=_(
                    "Finished images are kept and paid for. Everything else stops at once, costs "
                    "nothing and can't be taken up again."
                ),
                button=_("Cancel the batches"),
            )
        self._act(request, queryset, lifecycle.cancel, "cancel")
        return None

    @admin.action(description=_("Retry failed images…"), permissions=["change"])
    def retry_failed(self, request: HttpRequest, queryset: QuerySet[Batch]) -> HttpResponse | None:
        """Run what failed again, once somebody has said that the owner is to pay for it."""
        if "confirmed" not in request.POST:
            return self._confirm(
                request,
                queryset,
                action="retry_failed",
                title=_("Retry what failed in these batches?"),
                effect=_("What succeeds this time is paid for by the batch's owner."),
                button=_("Retry failed images"),
            )
        self._act(request, queryset, lifecycle.retry, "retry")
        return None

    @admin.action(description=_("Raise priority"), permissions=["change"])
    def raise_priority(self, request: HttpRequest, queryset: QuerySet[Batch]) -> None:
        """Let these batches have twice the window of others."""
        self._act(request, queryset, partial(lifecycle.prioritise, level=1), "raise_priority")

    @admin.action(description=_("Normal priority"), permissions=["change"])
    def lower_priority(self, request: HttpRequest, queryset: QuerySet[Batch]) -> None:
        """Let them have what others have."""
        self._act(request, queryset, partial(lifecycle.prioritise, level=0), "lower_priority")

    @admin.action(description=_("Refund…"), permissions=["refund"])
    def refund(self, request: HttpRequest, queryset: QuerySet[Batch]) -> HttpResponse | None:
        """Give back what the images of these batches have cost, once there is a reason."""
        reason = request.POST.get("reason", "").strip()[:500]
        if "confirmed" not in request.POST or not reason:
            return self._confirm(
                request,
                queryset,
                action="refund",
                title=_("Refund these batches?"),
                effect=_(
                    "Their owners get back what the finished images have cost, as credits that do "
                    "not run out. Images stay. What was given back before is not given again."
                ),
                button=_("Refund"),
                asks_reason=True,
                reason_missing="confirmed" in request.POST,
            )
        actor: Any = request.user
        moved = given = 0
        for batch in queryset.select_related("owner").order_by("pk"):
            paid = batch.items.filter(price__gt=0).values_list("uid", flat=True)
            items, credits = ledger.refund_items(batch.owner, paid, actor=actor, note=reason)
            if items:
                moved, given = moved + items, given + credits
                trail.record(
                    request,
                    "batch.refund",
                    batch,
                    after={"images": items, "credits": credits},
                    reason=reason,
                    rows=items,
                )
        text = ngettext("%(n)d image refunded", "%(n)d images refunded", moved) % {"n": moved}
        text += ", " + ngettext("%(n)d credit.", "%(n)d credits.", given) % {"n": given}
        self.message_user(request, text, messages.SUCCESS if moved else messages.WARNING)
        return None

    def has_refund_permission(self, request: HttpRequest) -> bool:
        """Whoever may add credits by hand may give them back."""
        return bool(request.user.has_perm("credits.adjust_credits"))

    @admin.action(description=_("Export report (CSV)"), permissions=["view"])
    def report(self, request: HttpRequest, queryset: QuerySet[Batch]) -> HttpResponseBase:
        """Every image of these batches, with state, error, credits and time."""
        batches = list(queryset.select_related("owner").order_by("pk"))
        answer = StreamingHttpResponse(_report(batches), content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = 'attachment; filename="batches.csv"'
        trail.record(request, "batch.export", rows=len(batches))
        return answer

    def _confirm(
        self, request: HttpRequest, queryset: QuerySet[Batch], *, action: str, **words: Any
    ) -> HttpResponse:
        """Show which batches it is about, and ask."""
        batches = list(queryset.select_related("owner").order_by("pk"))
        looks = progress.of_many(batches, now=None)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "batches": [(batch, looks[batch.pk]) for batch in batches],
            "action": action,
            "checkbox": ACTION_CHECKBOX_NAME,
            **words,
        }
        return TemplateResponse(request, "admin/batches/batch/confirm.html", context)

    def _act(
        self,
        request: HttpRequest,
        queryset: QuerySet[Batch],
        verb: Callable[[Batch], Batch],
        word: str,
    ) -> None:
        """Call the verb on each, note it, and say how many moved and why the others didn't."""
        moved, refusals = 0, []
        for batch in queryset.order_by("pk"):
            try:
                after = verb(batch)
            except lifecycle.Refused as refused:
                refusals.append((batch, refused.detail))
            except ledger.InsufficientCredits as short:
                refusals.append((batch, wording.text(short.code, short.params)))
            except SettingsInvalid as invalid:
                refusals.append((batch, str(invalid)))
            else:
                moved += 1
                trail.record(
                    request,
                    f"batch.{word}",
                    after,
                    before={"state": batch.state, "priority": batch.priority},
                    after={"state": after.state, "priority": after.priority},
                )
        if moved:
            text = ngettext("%(n)d batch moved.", "%(n)d batches moved.", moved)
            self.message_user(request, text % {"n": moved}, messages.SUCCESS)
        for batch, reason in refusals:
            self.message_user(request, format_html("{}: {}", batch, reason), messages.WARNING)


@admin.register(Item)
class ItemAdmin(ReadOnlyAdmin):
    """Single images: where they stand and why they failed."""

    list_display = (
        "name", "batch", "state", "attempt", "error_code", "price", "worker", "changed_at",
    )  # fmt: skip
    list_select_related = ("batch",)
    list_filter = ("state", ("changed_at", BetweenFilter))
    list_filter_submit = True
    actions = ("requeue",)
    search_fields = ("name",)
    search_help_text = _(
        "How its name begins (upper and lower case count), or a whole id: of an image, of a batch, "
        "or the trace of a log line"
    )
    fields = (
        "uid", "batch", "pictures", "name", "state", "error", "error_code", "error_params",
        "attempts", "position", "external_id", "source_url", "settings", "changed_at", "attempt",
        "generation", "tries", "losses", "worker", "lease_until", "retry_at", "held_price",
        "price", "review", "model_version", "created_at", "started_at", "finished_at",
    )  # fmt: skip

    def get_urls(self) -> list[URLPattern]:
        """The usual ones and the small pictures, which their own pages show to owners only."""
        view = self.admin_site.admin_view(self.picture_view)
        return [
            path("<int:item_id>/<str:which>.webp", view, name="batches_item_picture"),
            *super().get_urls(),
        ]

    @admin.action(description=_("Run again what failed"), permissions=["change"])
    def requeue(self, request: HttpRequest, queryset: QuerySet[Item]) -> None:
        """Retry these images, a verb for each of their batches; their owners pay as for a retry."""
        moved, left = 0, 0
        chosen: dict[int, list[UUID]] = {}
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
                self.message_user(request, format_html("{}: {}", batch, reason), messages.WARNING)
            else:
                moved += failed
                trail.record(request, "item.requeue", batch, after={"images": failed}, rows=failed)
        text = ngettext("%(n)d image runs again", "%(n)d images run again", moved) % {"n": moved}
        text += _(", {left} left as they are.").format(left=left) if left else "."
        self.message_user(request, text, messages.SUCCESS if moved else messages.WARNING)

    def picture_view(self, request: HttpRequest, item_id: int, which: str) -> HttpResponseBase:
        """A small picture of the item's original or of its first result."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        item = Item.objects.select_related("original").filter(pk=item_id).first()
        result = Result.objects.filter(item=item_id, position=0).first()
        if which == "original" and item and item.original:
            alias, key = storage.ORIGINALS, item.original.thumbnail_key
        elif which == "result" and result and result.thumbnail_key:
            alias, key = storage.RESULTS, result.thumbnail_key
        else:
            raise Http404
        return archive.picture_response(alias, key, content_type="image/webp", name="small.webp")

    @admin.display(description=_("pictures"))
    def pictures(self, item: Item) -> str:
        """Original and result, side by side."""
        result = item.results.filter(position=0).first()
        found = [
            (reverse("admin:batches_item_picture", args=[item.pk, which]), label)
            for which, label, there in (
                ("original", _("Original"), item.original),
                ("result", _("Result"), result and result.thumbnail_key),
            )
            if there
        ]
        shown = format_html_join(
            "",
            '<figure class="studio-picture"><img src="{}" alt=""><figcaption>{}</figcaption>'
            "</figure>",
            found,
        )
        return format_html("{}{}", shown, result.text if result else "") or "-"

    @admin.display(description=_("earlier attempts"))
    def attempts(self, item: Item) -> str:
        """What was tried before and came to nothing."""
        rows = [
            (
                past.get("attempt", ""),
                wording.text(past["code"], past.get("params") or {}) if past.get("code") else "-",
                past.get("code", ""),
                _time(past.get("started_at")),
                _time(past.get("ended_at")),
            )
            for past in item.history
        ]
        if not rows:
            return "-"
        head = format_html(
            "<tr><th>{}</th><th>{}</th><th>{}</th><th>{}</th></tr>",
            _("Attempt"), _("Why it came to nothing"), _("Begun"), _("Ended"),
        )  # fmt: skip
        body = format_html_join(
            "",
            "<tr><td>{}</td><td>{} <code>{}</code></td><td>{}</td><td>{}</td></tr>",
            rows,
        )
        return format_html('<table class="studio-attempts">{}{}</table>', head, body)

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
        if uids := [uid for part in term.split("/") if (uid := _uuid(part))]:
            batches = list(Batch.objects.filter(uid__in=uids).values_list("pk", flat=True))
            own = queryset.filter(uid__in=uids)
            return own if own.exists() else queryset.filter(batch__in=batches), False
        wanted = Item.named_like(term)
        if term.isdecimal() and len(term) <= LONGEST_ID:
            wanted |= Q(pk=int(term))
        return queryset.filter(wanted), False

    @admin.display(description=_("error"))
    def error(self, item: Item) -> str:
        """Why it failed, in the words that its owner reads."""
        return item.error


@admin.register(Asset)
class AssetAdmin(ReadOnlyAdmin):
    """What people keep: its figures, not its pictures."""

    list_display = ("name", "owner", "tool", "format", "bytes", "created_at", "trashed_at")
    list_select_related = ("owner",)
    list_filter = ("tool", "format", "created_at", ("trashed_at", admin.EmptyFieldListFilter))
    search_fields = ("name", "owner__email", "uid")
    search_help_text = _("Name, owner's address, or id")
    fields = (
        "uid", "owner", "folder", "name", "alt_text", "favourite", "format", "width", "height",
        "bytes", "sha256", "key", "tool", "source_sha256", "origin", "created_at", "updated_at",
        "trashed_at",
    )  # fmt: skip

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Asset], search_term: str
    ) -> tuple[QuerySet[Asset], bool]:
        """An id is looked up by itself."""
        if uid := _uuid(search_term):
            return queryset.filter(uid=uid), False
        return super().get_search_results(request, queryset, search_term)


def _report(batches: Sequence[Batch]) -> Iterator[str]:
    """A CSV file, line by line: memory stays flat whatever the batches hold."""
    line = io.StringIO()
    writer = csv.writer(line)
    writer.writerow(["batch", "owner", "tool", *report.COLUMNS])
    for batch in batches:
        for item in report.items(batch):
            about = [batch.uid, batch.owner, batch.tool, *report.row(item, lambda _result: "")]
            writer.writerow([report.harmless(str(value)) for value in about])
            yield line.getvalue()
            line.seek(0)
            line.truncate()
    yield line.getvalue()


def _time(text: str | None) -> str:
    """A time that was kept as text, to the second."""
    moment = parse_datetime(text) if text else None
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "-"


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text.strip())
    except ValueError:
        return None
