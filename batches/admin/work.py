"""Batches in the admin: how far they are, what is in them and what they moved, and the verbs."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.timesince import timesince
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts import trail
from accounts.lists import BetweenFilter
from batches import deliveries, lifecycle, progress, stalled
from batches import messages as wording
from batches.admin import contents
from batches.admin.lists import ByTool, OwnerFilter, ReadOnlyAdmin, bare_address, link_to
from batches.exports import report
from batches.models import Batch, Item
from batches.states import BATCH_MOVES, RETRYABLE, BatchState, ItemState
from credits import ledger
from tools.base import SettingsInvalid
from tools.words import name_of, settings_used


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
        "called", "owner_link", "tool_name", "state_in_words", "done_of", "failed", "credits",
        "age",
    )  # fmt: skip
    list_select_related = ("owner",)
    list_filter = ("state", ByTool, OwnerFilter, WithFailures, ("created_at", BetweenFilter))
    list_filter_submit = True
    search_fields = ("name", "owner__email")
    search_help_text = _("Name, owner's address, or id")
    change_form_outer_before_template = "admin/batches/batch/_figures.html"
    change_form_outer_after_template = "admin/batches/batch/_contents.html"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("trace_id", "owner_page"), ("called", "state_in_words"), "stands_still",
                    "tool_name", "in_words",
                ),
            },
        ),
        (
            _("How it runs"),
            {
                "fields": (
                    ("sample_in_words", "cap_in_words"), ("price", "priority_in_words"),
                    ("names", "reuse_in_words"), ("webhook", "sheet_in_words"),
                ),
            },
        ),
        (_("Dates"), {"fields": (("created_at", "started_at"), ("finished_at", "owner_told_at"))}),
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

    @admin.display(description=_("name"), ordering="name")
    def called(self, batch: Batch) -> str:
        """Its name, or the beginning of its id where it has none."""
        return batch.name or _("Without a name, {id}").format(id=str(batch.uid)[:8])

    @admin.display(description=_("state"), ordering="state")
    def state_in_words(self, batch: Batch) -> str:
        """Where it stands, and whether staff have raised its priority."""
        label = str(BatchState(batch.state).label)
        return _("{state}, high priority").format(state=label) if batch.priority else label

    @admin.display(description=_("names of results"))
    def names(self, batch: Batch) -> str:
        """The pattern that they are named by."""
        return batch.pattern or str(_("As the images"))

    @admin.display(description=_("earlier results"))
    def reuse_in_words(self, batch: Batch) -> str:
        """Whether results of the same work serve again."""
        return str(_("Serve again, at no cost") if batch.reuse else _("Are made anew"))

    @admin.display(description=_("owner told at"))
    def owner_told_at(self, batch: Batch) -> Any:
        """When the owner was told by e-mail that it has ended."""
        return batch.told_at

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

    @admin.display(description=_("tool"), ordering="tool")
    def tool_name(self, batch: Batch) -> str:
        """What people call it."""
        return name_of(batch.tool)

    @admin.display(description=_("settings"))
    def in_words(self, batch: Batch) -> str:
        """The settings as the batch's own page names them."""
        return contents.list_of(settings_used(batch.tool, batch.settings))

    @admin.display(description=_("stands still"), empty_value="-")
    def stands_still(self, batch: Batch) -> str | None:
        """Why nothing of it runs, and what helps."""
        return stalled.what_to_do(batch, progress.of(batch, now=None)) or None

    @admin.display(description=_("price"))
    def price(self, batch: Batch) -> str:
        """In hundredths of the tool's, as it was for the owner when the batch was made."""
        return _("{percent} % of the tool's price").format(percent=batch.price_percent)

    @admin.display(description=_("sample"))
    def sample_in_words(self, batch: Batch) -> str:
        """How many run before somebody approves the rest."""
        if not batch.sample:
            return str(_("None: all at once"))
        text = ngettext("%(n)d image first", "%(n)d images first", batch.sample)
        return text % {"n": batch.sample}

    @admin.display(description=_("cap"))
    def cap_in_words(self, batch: Batch) -> str:
        """The most that it may spend."""
        if batch.cap is None:
            return str(_("None"))
        return ngettext("%(n)d credit", "%(n)d credits", batch.cap) % {"n": batch.cap}

    @admin.display(description=_("priority"), ordering="priority")
    def priority_in_words(self, batch: Batch) -> str:
        """Staff's."""
        return str(_("High") if batch.priority else _("Normal"))

    @admin.display(description=_("owner"))
    def owner_page(self, batch: Batch) -> str:
        """The owner, with the way to everything about them."""
        return link_to(batch.owner)

    @admin.display(description=_("sheet"))
    def sheet_in_words(self, batch: Batch) -> str:
        """The sheet that its rows were read from, and how."""
        return contents.sheet_in_words(batch)

    @admin.display(description=_("webhook of its own"))
    def webhook(self, batch: Batch) -> str:
        """The address of its own that is told what happens, without what may be a secret in it."""
        return bare_address(batch.webhook_url) or "-"

    def told(self, request: HttpRequest, obj: Batch) -> dict[str, Any]:
        """What hangs on it."""
        return contents.of(request, obj)

    def fits(self, action: str, obj: Batch) -> bool:
        """Only what may come of something."""
        moves = BATCH_MOVES[BatchState(obj.state)]
        return {
            "pause": obj.state == BatchState.RUNNING,
            "resume": obj.state == BatchState.PAUSED,
            "cancel": BatchState.CANCELLING in moves,
            "retry_failed": obj.state in RETRYABLE,
            "raise_priority": obj.state not in deliveries.OVER and not obj.priority,
            "lower_priority": obj.state not in deliveries.OVER and bool(obj.priority),
        }.get(action, True)

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
        rows = ((batch, _said(batch, looks[batch.pk])) for batch in batches)
        return self.ask(request, rows, action=action, **words)

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
        text = ngettext("%(n)d batch moved.", "%(n)d batches moved.", moved) % {"n": moved}
        self.tell_moved(request, text, moved=moved, refusals=refusals)


def _said(batch: Batch, look: progress.Progress) -> str:
    """Whose it is, how far, and what is on hold for it: for whoever is about to move it."""
    counts = _("{done} of {total} done, {failed} failed, {held} credits on hold").format(
        done=look.done, total=look.total, failed=look.failed, held=look.held
    )
    return f"{batch.owner} · {BatchState(batch.state).label} · {counts}"


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
