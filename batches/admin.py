"""Batches and items in the admin: everything can be read, and the verbs can be called.

Lists stay cheap however big the tables grow: a page of batches is counted in one query, and a
batch's page links to its items instead of holding 500 rows.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.timesince import timesince
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from batches import lifecycle, progress
from batches import messages as wording
from batches.models import Batch, Item
from batches.states import ItemState
from credits import ledger
from tools.base import SettingsInvalid


class ReadOnlyAdmin(admin.ModelAdmin):
    """Rows that staff look at and move by actions, but never write."""

    ordering = ("-pk",)
    list_per_page = 50
    view_on_site = False  # those pages are for their owners alone
    show_full_result_count = False
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


@admin.register(Batch)
class BatchAdmin(ReadOnlyAdmin):
    """Batches, with the same verbs that their owners have."""

    list_display = ("name", "owner", "tool", "state", "done_of", "failed", "credits", "age")
    list_select_related = ("owner",)
    list_filter = ("state", "tool", "created_at")
    date_hierarchy = "created_at"
    search_fields = ("name", "owner__email", "uid")
    search_help_text = _("Name, owner's address, or id")
    fields = (
        "uid", "owner", "name", "tool", "settings", "state", "figures", "items_by_state", "sample",
        "cap", "created_at", "started_at", "finished_at",
    )  # fmt: skip
    actions = ("pause", "resume", "cancel", "retry_failed")

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

    @admin.display(description=_("done"))
    def done_of(self, batch: Any) -> str:
        """How many of how many."""
        return f"{batch.look.done}/{batch.look.total}"

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
        self._act(request, queryset, lifecycle.pause, "paused")

    @admin.action(description=_("Resume"), permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Batch]) -> None:
        """Let these batches go on."""
        self._act(request, queryset, lifecycle.resume, "resumed")

    @admin.action(description=_("Cancel: keep what is finished"), permissions=["change"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Batch]) -> None:
        """Stop these batches."""
        self._act(request, queryset, lifecycle.cancel, "cancelled")

    @admin.action(
        description=_("Retry failed images, at the owner's expense"), permissions=["change"]
    )
    def retry_failed(self, request: HttpRequest, queryset: QuerySet[Batch]) -> None:
        """Run what failed again."""
        self._act(request, queryset, lifecycle.retry, "retried")

    def _act(
        self,
        request: HttpRequest,
        queryset: QuerySet[Batch],
        verb: Callable[[Batch], Batch],
        word: str,
    ) -> None:
        """Call the verb on each, log it, and say how many moved and why the others didn't."""
        moved, refusals = 0, []
        for batch in queryset.order_by("pk"):
            try:
                verb(batch)
            except lifecycle.Refused as refused:
                refusals.append((batch, refused.detail))
            except ledger.InsufficientCredits as short:
                refusals.append((batch, wording.text(short.code, short.params)))
            except SettingsInvalid as invalid:
                refusals.append((batch, str(invalid)))
            else:
                moved += 1
                self.log_change(request, batch, f"{word} by staff")
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
    list_filter = ("state", "changed_at")
    search_fields = ("name", "source_url", "error_code")
    search_help_text = _("Name, address, error code, or the id of an image or a batch")
    fields = (
        "uid", "batch", "position", "external_id", "name", "source_url", "original", "settings",
        "state", "changed_at", "attempt", "generation", "tries", "losses", "worker", "lease_until",
        "retry_at", "held_price", "price", "error_code", "error", "error_params", "review",
        "model_version", "created_at", "started_at", "finished_at",
    )  # fmt: skip

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Item], search_term: str
    ) -> tuple[QuerySet[Item], bool]:
        """An id is looked up by itself, of an image or a batch."""
        if uid := _uuid(search_term):
            return queryset.filter(Q(uid=uid) | Q(batch__uid=uid)), False
        return super().get_search_results(request, queryset, search_term)

    @admin.display(description=_("error"))
    def error(self, item: Item) -> str:
        """Why it failed, in the words that its owner reads."""
        return item.error


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text.strip())
    except ValueError:
        return None
