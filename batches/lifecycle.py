"""Every verb on a batch: create, start, approve, pause, resume, cancel, retry, close, delete.

Whoever asks (page, API, admin, command), this is what happens. A batch's row is locked while
many of its items are read and decided on; money moves under the account's lock; the order of
locks is batch, account, items. Rings go out after the commit.
"""

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings as site
from django.db import transaction
from django.db.models import F, Max, Min, Q, Sum
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts import plans
from accounts.models import User
from batches import (
    clock,
    dispatch,
    fetch,
    intake,
    messages,
    outbox,
    pricing,
    progress,
    reuse,
    setting_images,
    sheets,
    storage,
)
from batches.models import Batch, Delivery, Item, ItemQuerySet, Original, Result, Sheet
from batches.models.deliveries import OPEN, DeliveryState
from batches.patterns import PatternInvalid
from batches.sources.base import Row
from batches.states import DELETABLE, IN_HAND, ON_HOLD, RETRYABLE, BatchState, ItemState
from credits import ledger
from tools import abilities
from tools.base import Tool

CANCEL_SECONDS = 10.0
"""How long one call cancels; a batch of 100,000 images takes some minutes."""
RELEASE_CHUNK = 100
"""Items cancelled in one transaction: short enough that nobody waits long for the account."""
MOVE_CHUNK = 5000
"""Items that one statement moves when a batch starts."""
PRIORITIES = (0, 1)
"""Of batches: normal, and raised."""
MOST_LOSSES = 5
"""Workers that one item may lose before it fails."""
GIVEN_BACK_WAITS = timedelta(seconds=4)
"""Before an item that a worker gave back is rung for again: by then all know what it can't run."""
MOST_REMEMBERED = 50
"""Tries that an item's history keeps."""

log = logging.getLogger(__name__)


class Refused(Exception):
    """A verb that can't be carried out. Nothing was changed and nothing was charged."""

    code = "refused"

    def __init__(self, detail: str, **params: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.params = params


class StateConflict(Refused):
    """The batch is in a state from which this is not possible."""

    code = "state_conflict"


class BatchTooLarge(Refused):
    """More images than the owner's plan takes in one batch."""

    code = "batch_limit_exceeded"


class CapExceeded(Refused):
    """The quote is above the most that the batch may spend."""

    code = "cap_exceeded"


class PatternRefused(Refused):
    """Nothing can be named by this pattern."""

    code = PatternInvalid.code


class ToolUnavailable(Refused):
    """The tool, or the model that was chosen, can't run here."""

    code = "tool_unavailable"


class PriceRaised(Refused):
    """An image costs more by now than whoever asks was shown."""

    code = "price_raised"


class AddressRefused(Refused):
    """An address that can't be used; `code` is the one that a failed item would carry."""

    def __init__(self, item: Item, error: fetch.FetchError) -> None:
        super().__init__(f"{item.name}: {messages.text(error.code, error.params)}")
        self.code = error.code


@dataclass(frozen=True, kw_only=True)
class Repair:
    """What a failed item is to be run on instead: another address, or another original."""

    url: str = ""
    original: Original | None = None


def refuse_too_many(owner: User, count: int) -> None:
    """Raise `BatchTooLarge` for more images than the owner's plan takes in one batch."""
    limit = plans.plan_for(owner).batch_images
    if count > limit:
        raise BatchTooLarge(
            _("{count} images are more than one batch takes ({limit}). Split them.").format(
                count=count, limit=limit
            ),
            limit=limit,
            count=count,
        )


def create(
    owner: User,
    tool: Tool,
    rows: Sequence[Row],
    *,
    settings: Mapping[str, Any] | None = None,
    name: str = "",
    sample: int = 0,
    cap: int | None = None,
    skip_invalid: bool = False,
    refuse_clashes: bool = False,
    single: bool = False,
    uid: UUID | None = None,
    reuse: bool = True,
    pattern: str = "",
    sheet: Sheet | None = None,
    webhook_url: str = "",
    shown_percent: int | None = None,
) -> Batch:
    """Make a batch that is ready to start, with everything validated and quoted.

    `single` marks the one image of a tool's *Single* tab; all else is as for many. With a `uid`
    that is used already it raises `IntegrityError`: who wants a batch once gives one.
    Without `reuse` everything runs, also what has been done before and what is given twice.
    `shown_percent` is the share of the tool's price that whoever asks has seen, if they have seen
    any: where it is higher by now, `PriceRaised` says so.
    Raises `SettingsInvalid`, `intake.RowsInvalid` or a `Refused`; then nothing is stored.
    """
    refuse_too_many(owner, len(rows))
    tool = pricing.offered(tool, owner)
    if not rows:
        raise Refused(_("A batch needs at least one image."))
    with transaction.atomic():
        batch = _make(
            owner,
            tool,
            settings,
            uid=uid or uuid4(),
            name=name,
            sample=sample,
            cap=cap,
            single=single,
            reuse=reuse,
            pattern=pattern,
            sheet=sheet,
            webhook_url=webhook_url,
            shown_percent=shown_percent,
        )
        try:
            items = intake.add_items(
                batch, tool, rows, skip_invalid=skip_invalid, refuse_clashes=refuse_clashes
            )
        except PatternInvalid as invalid:
            raise PatternRefused(invalid.detail) from invalid
        _refuse_over_cap(batch, sum(item.held_price for item in items if not item.error_code))
    return batch


def open_import(
    owner: User,
    tool: Tool,
    first: Sequence[Row],
    *,
    sheet: Sheet,
    plan: Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
    uid: UUID | None = None,
    **fields: Any,
) -> Batch:
    """Make a batch whose sheet's rows are still to come; `batches.imports` brings them in.

    `first` stand before them and are its items at once; those that can't be used fail. What
    `create` says of a `uid`, of `shown_percent` and of errors holds here, too.
    """
    tool = pricing.offered(tool, owner)
    with transaction.atomic():
        batch = _make(
            owner,
            tool,
            settings,
            uid=uid or uuid4(),
            state=BatchState.IMPORTING,
            sheet=sheet,
            plan=dict(plan),
            **fields,
        )
        try:
            intake.add_items(batch, tool, first, skip_invalid=True)
        except PatternInvalid as invalid:
            raise PatternRefused(invalid.detail) from invalid
    return batch


def _make(
    owner: User,
    tool: Tool,
    settings: Mapping[str, Any] | None,
    *,
    name: str = "",
    shown_percent: int | None = None,
    **fields: Any,
) -> Batch:
    """The row of a new batch, with settings that can run here, at the price of the tool."""
    cleaned = tool.clean(settings or {})
    _refuse_unavailable(tool, cleaned)
    percent = pricing.percent_of(tool)
    if shown_percent is not None and percent > shown_percent:
        raise PriceRaised(_price_raised(tool, cleaned))
    batch = Batch.objects.create(
        owner=owner,
        tool=tool.slug,
        settings=cleaned,
        price_percent=percent,
        name=name or f"{tool.name}, {timezone.now():%Y-%m-%d %H:%M}",
        **fields,
    )
    setting_images.keep_or_refuse(batch, tool, [cleaned])
    return batch


def _price_raised(tool: Tool, settings: Mapping[str, Any]) -> str:
    price = tool.max_price(settings)
    return ngettext(
        "{tool} costs more now than this page has shown: {price} credit for an image with these "
        "settings. Nothing was started. Start it again to go on at that price.",
        "{tool} costs more now than this page has shown: {price} credits for an image with these "
        "settings. Nothing was started. Start it again to go on at that price.",
        price,
    ).format(tool=tool.name, price=price)


def start(batch: Batch, *, sample: int | None = None) -> Batch:
    """Take the hold and let the items run: all of them, or the first `sample`.

    Raises `ledger.InsufficientCredits`, `StateConflict` or `ToolUnavailable`; then the batch
    stays as it was. Two at once: one starts it, the other is told that it is running.
    """
    with transaction.atomic():
        batch = _lock(batch, {BatchState.READY}, _("It has been started already."))
        _refuse_unavailable(_tool_now(batch), batch.settings)
        if sample is not None:
            batch.sample = sample
            Batch.objects.filter(pk=batch.pk).update(sample=sample)
        pending = batch.items.filter(state=ItemState.PENDING)
        if batch.sample:
            after = pending.order_by("position")[batch.sample : batch.sample + 1]
            if end := after.first():
                pending = pending.filter(position__lt=end.position)
        _hold_and_move(batch, pending, key=f"start:{batch.uid}", attempt=1)
        Batch.objects.filter(pk=batch.pk).advance(BatchState.RUNNING, started_at=clock.now())
    return _after(batch)


def approve(batch: Batch, *, settings: Mapping[str, Any] | None = None) -> Batch:
    """Let the rest run after a sample, on a second hold.

    `settings` take the place of the batch's for the rest; what single images have of their own
    stays on top. Raises `ledger.InsufficientCredits`, and with `settings` also
    `SettingsInvalid` or `ToolUnavailable`; then the batch stays `sampled` as it was.
    """
    with transaction.atomic():
        batch = _lock(batch, {BatchState.SAMPLED}, _("There is no finished sample to approve."))
        if settings is not None:
            _change_settings(batch, settings)
        pending = batch.items.filter(state=ItemState.PENDING)
        _hold_and_move(batch, pending, key=f"approve:{batch.uid}", attempt=1)
        Batch.objects.filter(pk=batch.pk).advance(BatchState.RUNNING)
    return _after(batch)


def pause(batch: Batch) -> Batch:
    """Begin nothing more. What a worker has in hand finishes, and is kept and paid for."""
    if not Batch.objects.filter(pk=batch.pk).advance(BatchState.PAUSED):
        raise StateConflict(_("Only a running batch can be paused."))
    paused = _fresh(batch)
    dispatch.begin_waiting(paused.owner, now=clock.now())
    return paused


def resume(batch: Batch) -> Batch:
    """Go on after a pause."""
    with transaction.atomic():
        batch = _lock(batch, {BatchState.PAUSED}, _("Only a paused batch can be resumed."))
        # Workers that met a paused batch have dropped their rings.
        dispatch.forget_rings(batch.items.all())
        Batch.objects.filter(pk=batch.pk).advance(BatchState.RUNNING)
    return _after(batch)


def cancel(batch: Batch) -> Batch:
    """Stop at once. Finished images are kept; nothing else is paid for.

    A worker that has an image in hand loses its claim: its output is thrown away.
    """
    with transaction.atomic():
        batch = _lock(
            batch,
            {
                *(BatchState.IMPORTING, BatchState.READY, BatchState.RUNNING),
                *(BatchState.SAMPLED, BatchState.PAUSED),
            },
            _("It has ended already."),
        )
        Batch.objects.filter(pk=batch.pk).advance(BatchState.CANCELLING)
    dispatch.begin_waiting(batch.owner, now=clock.now())
    return finish_cancelling(batch)


def finish_cancelling(batch: Batch) -> Batch:
    """Release what is open, in chunks, what workers have in hand first.

    Also goes on where a process died half way. What takes longer than somebody waits for stays
    `cancelling`, and `reconcile` goes on.
    """
    until = time.monotonic() + CANCEL_SECONDS
    # Nothing is held for these and nobody has them in hand: no account is needed.
    unpaid = batch.items.filter(state=ItemState.PENDING, hold=None)
    while (first := unpaid.aggregate(n=Min("position"))["n"]) is not None:
        unpaid.filter(position__lt=first + MOVE_CHUNK).advance(
            ItemState.CANCELLED, finished_at=clock.now()
        )
    for states in (IN_HAND, {ItemState.PENDING, *ON_HOLD}):
        while _cancel_some(batch, states):
            if time.monotonic() > until:
                return _fresh(batch)
    with transaction.atomic():
        this = Batch.objects.filter(pk=batch.pk)
        if this.advance(BatchState.CANCELLED, finished_at=clock.now()):
            _tell(batch, outbox.BATCH_FINISHED)
    dispatch.ring_followers(batch.pk, now=clock.now())
    return _fresh(batch)


def _cancel_some(batch: Batch, states: Collection[ItemState]) -> int:
    """Cancel a chunk of the items in these states; how many there were."""
    with transaction.atomic():
        # Nothing can settle while we have the account, so what we read is what we move.
        ledger.lock(batch.owner_id)
        chunk = list(batch.items.filter(state__in=states).order_by("pk")[:RELEASE_CHUNK])
        if not chunk:
            return 0
        Item.objects.filter(pk__in=[item.pk for item in chunk]).advance(
            ItemState.CANCELLED,
            token=None,
            lease_until=None,
            rung_at=None,
            finished_at=clock.now(),
        )
        release_items(chunk)
    return len(chunk)


def _change_settings(batch: Batch, settings: Mapping[str, Any]) -> None:
    """Give the batch and all that waits in it other settings, at their price."""
    tool = _tool_now(batch)
    before, batch.settings = batch.settings, tool.clean(settings)
    pending = batch.items.filter(state=ItemState.PENDING).select_related("original")
    waiting = list(pending.order_by("position"))
    for item in waiting:
        own = {name: value for name, value in item.settings.items() if before.get(name) != value}
        item.settings = tool.clean(own, base=batch.settings)
        _refuse_unavailable(tool, item.settings)
        item.held_price = tool.max_price(item.settings)
    setting_images.keep_or_refuse(batch, tool, [item.settings for item in waiting])
    reuse.Plan(batch, tool).add(waiting)
    batch.save(update_fields=["settings"])
    Item.objects.bulk_update(waiting, ["settings", *reuse.FIELDS], batch_size=100)


def retry(
    batch: Batch,
    *,
    items: Collection[UUID] | None = None,
    settings: Mapping[str, Any] | None = None,
    repairs: Mapping[UUID, Repair] | None = None,
    shrink: bool = False,
) -> Batch:
    """Run failed items again, in their own rows, on a new hold at the batch's own price.

    `items` limits it to some; `settings` go on top of each item's own; `repairs` give single
    items another address or original; with `shrink` pictures beyond the limits are made smaller
    this time. All is judged before anything moves. Raises `SettingsInvalid`, `ToolUnavailable`,
    `AddressRefused`, `ledger.InsufficientCredits`, or `StateConflict` when there is nothing to
    retry.
    """
    repairs = repairs or {}
    with transaction.atomic():
        batch = _lock(batch, RETRYABLE, _("Nothing can be retried in this state."))
        ledger.lock(batch.owner_id)  # before the items, as everywhere
        failed = batch.items.filter(state=ItemState.FAILED)
        # What was turned away has nothing to be run on until somebody gives it something.
        failed = failed.exclude(~Q(uid__in=list(repairs)), source_url="", original=None)
        if items is not None:
            failed = failed.filter(uid__in=items)
        chosen = list(failed.select_related("original").order_by("position"))
        if not chosen:
            raise StateConflict(_("Nothing has failed that could be retried."))
        tool = _tool_now(batch)
        for item in chosen:
            if repair := repairs.get(item.uid):
                _mend(item, repair, owner=batch.owner)
            item.shrink = item.shrink or shrink
            item.settings = tool.clean(settings or {}, base={**batch.settings, **item.settings})
            _refuse_unavailable(tool, item.settings)
            item.held_price = tool.max_price(item.settings)
            item.history = _history(
                item,
                item.error_code,
                item.error_params,
                started_at=item.started_at,
                ended_at=item.finished_at,
            )
            item.generation += 1
            item.attempt += 1
            item.tries = item.losses = 0
            item.error_code, item.error_params = "", {}
            item.started_at = item.finished_at = item.retry_at = item.rung_at = None
        setting_images.keep_or_refuse(batch, tool, [item.settings for item in chosen])
        reuse.Plan(batch, tool).add(chosen)
        # Under the batch's lock nobody else retries, and failed items move in no other way.
        Item.objects.bulk_update(
            chosen,
            [
                "source_url",
                "connection",
                "original",
                "shrink",
                "settings",
                *reuse.FIELDS,
                "history",
                "generation",
                "attempt",
                "tries",
                "losses",
                "error_code",
                "error_params",
                "started_at",
                "finished_at",
                "retry_at",
                "rung_at",
            ],
            batch_size=100,
        )
        # Those have no error any more; all others that have failed have one.
        _hold_and_move(
            batch,
            batch.items.filter(state=ItemState.FAILED, error_code=""),
            key=f"retry:{batch.uid}:{chosen[0].uid}:{chosen[0].generation}",
        )
        if batch.state in {BatchState.FINISHED, BatchState.SAMPLED}:
            Batch.objects.filter(pk=batch.pk).advance(BatchState.RUNNING, finished_at=None)
        _follow_again(batch)
    return _after(batch)


def _follow_again(batch: Batch) -> None:
    """Open the deliveries again that follow a batch: there will be new results for them."""
    over = Delivery.objects.filter(batch=batch, follows=True).exclude(state__in=OPEN)
    over.update(state=DeliveryState.RUNNING, error_code="", error_params={}, finished_at=None)


def _mend(item: Item, repair: Repair, *, owner: User) -> None:
    """Point an item at what it is to be run on now. Raises a `Refused`."""
    if repair.original:
        if repair.original.owner_id != owner.pk:
            raise Refused(_("There is no such upload. Upload the file again."))
        item.original, item.source_url, item.connection = repair.original, "", None
        return
    try:
        item.source_url = fetch.check_url(repair.url, allow=site.FETCH_ALLOW)
    except fetch.FetchError as error:
        raise AddressRefused(item, error) from error
    item.original = item.connection = None


def _history(
    item: Item,
    code: str,
    params: Mapping[str, Any],
    *,
    started_at: datetime | None,
    ended_at: datetime | None,
) -> list[dict[str, Any]]:
    """The item's history with a try that came to nothing."""
    last = item.history[-1]["ended_at"] if item.history else None
    begun = started_at.isoformat() if started_at else None
    entry = {
        "attempt": item.attempt,
        "code": code,
        "params": dict(params),
        # An item's own start is that of its first try since the last retry.
        "started_at": max(begun, last) if begun and last else begun,
        "ended_at": ended_at.isoformat() if ended_at else None,
    }
    return [*item.history, entry][-MOST_REMEMBERED:]


def prioritise(batch: Batch, level: int) -> Batch:
    """Raise the batch (1), or let it be as others are (0), in whatever state before its end.

    Raised, it has twice the window in the queues, and its turns come at once instead of behind
    all that waits already. Others are served less often, and still by turns. Raises
    `StateConflict` once it has ended, `ValueError` for any other level.
    """
    if level not in PRIORITIES:
        raise ValueError(f"There is no priority {level}.")
    ended = [BatchState.FINISHED, BatchState.CANCELLED]
    if not Batch.objects.filter(pk=batch.pk).exclude(state__in=ended).update(priority=level):
        raise StateConflict(_("It has ended already."))
    return _after(batch)


def rename(batch: Batch, name: str) -> Batch:
    """Call it something else, in whatever state it is."""
    if not Batch.objects.filter(pk=batch.pk).update(name=name):
        raise StateConflict(_("It has been deleted."))
    return _fresh(batch)


def delete(batch: Batch) -> bool:
    """Remove the batch, its items, its results, and the originals and sheet that nothing else uses.

    The ledger stays as it is: what was used stays used. Raises `StateConflict` while something
    may still run. False: somebody else has deleted it already.

    Rows go in one transaction, files after its commit: whoever dies in between leaves files that
    no row names, and the sweeper removes them. A download that is on its way breaks off at the
    first file that is gone; it never looks complete.
    """
    with transaction.atomic():
        found = Batch.objects.select_for_update().filter(pk=batch.pk).first()
        if found is None:
            return False
        if found.state not in DELETABLE:
            raise StateConflict(
                _("It has not ended yet. Cancel it first, then delete it."), state=found.state
            )
        results = Result.objects.filter(item__batch=found)
        result_keys = list(results.values_list("key", "thumbnail_key"))
        made = list(found.deliveries.values_list("key", flat=True))
        # Locked, in one order for everybody: whoever makes a batch of the same pictures has them
        # before us, and then we see its items, or after us, and then it is told that they are gone.
        used = found.items.filter(original__isnull=False).values("original")
        named = found.setting_images.filter(original__isnull=False).values("original")
        locked = Original.objects.select_for_update().filter(Q(pk__in=used) | Q(pk__in=named))
        originals = list(locked.order_by("pk"))
        found.delete()
        unused = Original.objects.filter(
            pk__in=[original.pk for original in originals],
            items=None,
            drafts=None,
            setting_images=None,
        )
        original_keys = list(unused.values_list("key", "thumbnail_key"))
        unused.delete()
        if found.sheet:
            sheets.forget_unused(found.sheet)

        def remove_files() -> None:
            storage.delete(storage.RESULTS, *chain(*result_keys), *made)
            storage.delete(storage.ORIGINALS, *chain(*original_keys))

        transaction.on_commit(remove_files, robust=True)
    return True


def close_if_finished(batch_id: int) -> bool:
    """End the batch when its last item has ended; True for whoever did it.

    Call it in a transaction of its own, after the commit that settled an item: two workers that
    each settle one of the last two items don't see each other's before.
    """
    still_open = Item.objects.filter(batch_id=batch_id, state__in=ON_HOLD)
    if still_open.exists():
        return False
    with transaction.atomic():
        batch = Batch.objects.select_for_update().filter(pk=batch_id).first()
        if batch is None:  # a rival closed it, and it has been deleted since
            return False
        if batch.state not in {BatchState.RUNNING, BatchState.PAUSED} or still_open.exists():
            return False
        waits = batch.items.filter(state=ItemState.PENDING).exists()
        this = Batch.objects.filter(pk=batch_id)
        if waits:
            moved = this.advance(BatchState.SAMPLED)
            _tell(batch, outbox.BATCH_SAMPLED)
        else:
            moved = this.advance(BatchState.FINISHED, finished_at=clock.now())
            _tell(batch, outbox.BATCH_FINISHED)
    if moved and not batch.single:
        dispatch.begin_waiting(batch.owner, now=clock.now())
    return bool(moved)


def _tell(batch: Batch, event: str) -> None:
    """Write the event down for those who want to be told, as the batch stands now."""
    if batch.single:
        return

    def data() -> dict[str, Any]:
        now = _fresh(batch)
        counts = progress.of(now, now=None)
        return {
            "batch_id": str(now.uid),
            "name": now.name,
            "tool": now.tool,
            "status": now.state,
            "total": counts.total,
            "done": counts.done,
            "failed": counts.failed,
            "cancelled": counts.cancelled,
            "credits_used": counts.used,
            "url": f"{site.SITE_URL.rstrip('/')}{reverse('api:batch', args=[now.uid])}",
        }

    outbox.record(batch.owner, event, data, batch=batch)


def end_leases(*, now: datetime, worker: str | None = None, host: str | None = None) -> int:
    """Take items away from workers that are gone, and let them run again.

    By default from all whose lease ran out; with `worker` from this one, with `host` from all of
    this host, which are known to be dead. An item that has lost too many workers fails and
    costs nothing. Returns how many items were taken; what went wrong with one is raised when
    the others are done.
    """
    lost = Item.objects.filter(state__in=IN_HAND)
    if worker is not None:
        lost = lost.filter(worker=worker)
    elif host is not None:
        lost = lost.filter(worker__startswith=f"{host}:")
    else:
        lost = lost.filter(lease_until__lt=now)
    taken = 0
    failures: list[Exception] = []
    for item in lost.select_related("batch").order_by("pk"):
        try:
            taken += _take_away(item, now=now)
        except Exception as error:
            log.exception("Item %s could not be taken from its worker", item.uid)
            failures.append(error)
    if failures:
        raise failures[0]
    return taken


def _take_away(item: Item, *, now: datetime) -> bool:
    if item.losses + 1 >= MOST_LOSSES:
        moved = fail_item(item, "worker_lost", {"n": item.losses + 1}, token=item.token)
    else:
        moved = bool(put_back(item, "worker_lost", {"n": 1}, losses=F("losses") + 1))
    if moved:
        settled(item.batch_id, now=now)
    return moved


def give_back(item: Item, code: str) -> bool:
    """Let another worker run an item that its worker can't; after `MOST_LOSSES` of them it fails.

    False when the claim was lost.
    """
    if item.losses + 1 >= MOST_LOSSES:
        return fail_item(item, code, {}, token=item.token)
    later = clock.now() + GIVEN_BACK_WAITS
    return bool(put_back(item, code, {}, losses=F("losses") + 1, retry_at=later))


def hand_over(worker: str, *, now: datetime) -> int:
    """Let others run at once what a worker has in hand that is to end now; returns how many.

    That is no loss: however often workers are stopped, no image fails for it.
    """
    held = Item.objects.filter(state__in=IN_HAND, worker=worker).select_related("batch")
    moved = 0
    for item in held.order_by("pk"):
        if put_back(item, "worker_stopped", {}):
            moved += 1
            settled(item.batch_id, now=now)
    return moved


def turn_away(item: Item) -> bool:
    """Put an item in hand back untried: this worker lacks what it needs, and another one has it.

    It waits for a moment, or the same worker would have it again at once. False when the claim
    was lost.
    """
    mine = Item.objects.filter(pk=item.pk, token=item.token)
    later = clock.now() + GIVEN_BACK_WAITS
    fields: dict[str, Any] = {"token": None, "lease_until": None, "rung_at": None}
    return bool(mine.advance(ItemState.FETCHED, retry_at=later, **fields))


def put_back(item: Item, code: str, params: Mapping[str, Any], **fields: Any) -> int:
    """Give an item in hand back to its queue, if its claim still holds, and remember why."""
    to = ItemState.QUEUED if item.state == ItemState.FETCHING else ItemState.FETCHED
    return Item.objects.filter(pk=item.pk, token=item.token).advance(
        to,
        token=None,
        lease_until=None,
        rung_at=None,
        attempt=F("attempt") + 1,
        # Nobody but the claim's holder writes it; the claim itself was the last change of state,
        # or a hold after all, moments later.
        history=_history(item, code, params, started_at=item.changed_at, ended_at=clock.now()),
        **fields,
    )


def fail_item(item: Item, code: str, params: Mapping[str, Any], *, token: UUID | None) -> bool:
    """End an item without a charge, if the claim still holds; True for whoever did it."""
    with transaction.atomic():
        ledger.lock(item.batch.owner_id)
        moved = Item.objects.filter(pk=item.pk, token=token).advance(
            ItemState.FAILED,
            error_code=code,
            error_params=dict(params),
            token=None,
            lease_until=None,
            rung_at=None,
            finished_at=clock.now(),
        )
        if moved:
            release_items([item])
    return bool(moved)


def hold_after_all(item: Item, price: int) -> bool:
    """Set credits aside for an item in hand that was to cost nothing, and now has to run.

    What it was to be served from is gone, or has been changed. False when the claim was lost.
    Raises `ledger.InsufficientCredits` or `CapExceeded`; then nothing is set aside.
    """
    with transaction.atomic():
        ledger.lock(item.batch.owner_id)
        _refuse_over_cap(item.batch, price)
        mine = Item.objects.filter(pk=item.pk, token=item.token)
        fields = {"held_price": price, "twin_of": None, "reused_from": None}
        if not mine.update(changed_at=Now(), **fields):
            return False
        hold = ledger.hold(
            item.batch.owner,
            price,
            key=f"after-all:{item.uid}:{item.generation}",
            reference=item.batch.reference,
        )
        mine.update(hold_id=hold.pk)
    item.held_price, item.hold_id = price, hold.pk
    item.twin_of = item.reused_from = None
    return True


def wait_for_first(item: Item) -> bool:
    """Put a twin in hand back: its first has been retried just now. False: the claim was lost."""
    to = ItemState.QUEUED if item.state == ItemState.FETCHING else ItemState.FETCHED
    mine = Item.objects.filter(pk=item.pk, token=item.token)
    return bool(mine.advance(to, token=None, lease_until=None, rung_at=None))


def release_items(items: Sequence[Item]) -> None:
    """Give the held credits of these items back. The account's lock is held by the caller."""
    by_hold: dict[int, list[ledger.Share]] = {}
    for item in items:
        if item.hold_id and item.held_price:
            share = ledger.Share(
                item_uid=item.uid, generation=item.generation, held=item.held_price
            )
            by_hold.setdefault(item.hold_id, []).append(share)
    for hold_id, shares in by_hold.items():
        ledger.release_many(hold_id, shares)


def settled(batch_id: int, *, now: datetime) -> None:
    """What follows each settlement, after its commit: close the batch, or ring for the next.

    And for whoever takes its results elsewhere.
    """
    if not close_if_finished(batch_id):
        dispatch.top_up(batch_id, now=now)
    dispatch.ring_followers(batch_id, now=now)


def _lock(batch: Batch, states: Collection[BatchState], otherwise: str) -> Batch:
    """The batch's row, locked, in one of these states; else `StateConflict`."""
    batches = Batch.objects.select_for_update(of=("self",)).select_related("owner")
    locked = batches.filter(pk=batch.pk).first()
    if locked is None:
        raise StateConflict(_("It has been deleted."))
    if locked.state not in states:
        raise StateConflict(otherwise, state=locked.state)
    return locked


def _hold_and_move(batch: Batch, items: ItemQuerySet, *, key: str, **fields: Any) -> None:
    """Hold the items' prices, then let them wait for downloads or, if all is here, an engine.

    Works by stretches of positions, so that no statement takes long however many there are.
    """
    found = items.aggregate(n=Sum("held_price"), first=Min("position"), last=Max("position"))
    total = found["n"] or 0
    _refuse_over_cap(batch, total)
    if found["first"] is None:
        return
    hold_id = None
    if total:
        hold_id = ledger.hold(batch.owner, total, key=key, reference=batch.reference).pk
    ready = not setting_images.unfetched(batch)
    for first in range(found["first"], found["last"] + 1, MOVE_CHUNK):
        stretch = items.filter(position__gte=first, position__lt=first + MOVE_CHUNK)
        if ready:
            has_original = stretch.filter(original__isnull=False)
            has_original.advance(ItemState.FETCHED, hold_id=hold_id, **fields)
        # What has moved to `fetched` is none of these any more: these are the others.
        stretch.advance(ItemState.QUEUED, hold_id=hold_id, **fields)


def _refuse_over_cap(batch: Batch, total: int) -> None:
    if batch.cap is None:
        return
    sums = batch.items.aggregate(
        spent=Sum("price"), held=Sum("held_price", filter=Q(state__in=ON_HOLD))
    )
    total += (sums["spent"] or 0) + (sums["held"] or 0)
    if total > batch.cap:
        raise CapExceeded(
            _("{total} credits are needed; this batch may spend {cap}.").format(
                total=total, cap=batch.cap
            ),
            total=total,
            cap=batch.cap,
        )


def _tool_now(batch: Batch) -> Tool:
    """The batch's tool at the batch's price. Raises `ToolUnavailable` where it is off by now."""
    if reason := pricing.off(batch.owner, batch.tool):
        raise ToolUnavailable(reason)
    return pricing.of_batch(batch)


def _refuse_unavailable(tool: Tool, settings: Mapping[str, Any]) -> None:
    if reason := abilities.unavailable_reason(tool, dict(settings)):
        raise ToolUnavailable(reason)
    try:
        dispatch.queue_for(tool.slug)
    except dispatch.NoEngine:
        raise ToolUnavailable(
            _(
                "No engine of this site can run it. Add one of {kinds} to STUDIO_ENGINE_QUEUES."
            ).format(kinds=", ".join(tool.engines))
        ) from None


def _after(batch: Batch) -> Batch:
    """Ring, or close a batch in which nothing was left to do."""
    settled(batch.pk, now=clock.now())
    return _fresh(batch)


def _fresh(batch: Batch) -> Batch:
    return Batch.objects.select_related("owner").get(pk=batch.pk)
