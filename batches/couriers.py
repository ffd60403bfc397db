"""Whoever carries a delivery's results: a window at a time, on threads, and then the next's turn.

A parcel is claimed by compare-and-set, like an item, and settled only while its token stands. A
second courier for the same parcel finds what the first one left: exporters are safe to call twice.
"""

import errno
import logging
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import connections
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.utils.dateparse import parse_datetime

from accounts.models import ConnectionKind
from batches import clock, deliveries, dispatch, storage
from batches.deliveries import MOST_TRIES, RECENT, UNDOING
from batches.exports import registry
from batches.exports.base import EachExporter, ExportError, FileExporter, RowsExporter
from batches.models import Delivery, DeliveryState, Item, Parcel, ParcelState
from batches.models.deliveries import OPEN
from batches.names import split_name
from batches.outside import OutsideError

WINDOW = 8
"""Parcels of one delivery that are on their way at the same time."""
LEASE = timedelta(minutes=5)
"""How long one result may take, upload and read-back included."""
LONG_LEASE = timedelta(minutes=15)
"""How long a file, or some hundred rows, may take."""
WAITS = (2.0, 10.0, 60.0, 600.0)
"""Seconds before the second and later tries."""
LIMIT_WAITS = (60.0, 600.0, 3600.0)
"""Seconds before asking again a place that has had enough of us and does not say until when."""
LONGEST_WAIT = 86_400.0
ROWS_AT_ONCE = 500
LINES_NAMED = 10
"""Rows that are gone which a message names."""
PUSH_EVERY = timedelta(seconds=10)
"""Rows of a running batch are collected for so long: places count requests, not rows."""

LIMITS = frozenset({"store_limit", "google_busy"})
"""A place has had enough of us for now: waiting for it is no failed try."""
HOPELESS = frozenset({"store_credentials", "connection_sealed", "account_gone"})
"""What is wrong for one result is wrong for all: the others aren't tried."""

log = logging.getLogger(__name__)


def send(delivery_id: int) -> None:
    """Carry one window of a delivery, and ring for the next. May be called at any time."""
    # From here on somebody else may ring: whatever happens next is theirs to find.
    Delivery.objects.filter(pk=delivery_id).update(rung_at=None)
    found = Delivery.objects.select_related("batch__owner", "connection")
    delivery = found.filter(pk=delivery_id).first()
    now = clock.now()
    if delivery is None or delivery.state not in OPEN:
        return
    if delivery.retry_at and delivery.retry_at > now:
        return
    try:
        exporter = registry.get(delivery.to)
    except registry.UnknownPlace:
        deliveries.fail(delivery, "place_unknown", {"place": delivery.to})
        return
    if delivery.to in ConnectionKind.values and delivery.connection is None:
        deliveries.fail(delivery, "account_gone", {})
        return
    if isinstance(exporter, EachExporter):
        _carry(delivery, exporter)
    elif isinstance(exporter, FileExporter):
        _make(delivery, exporter)
    else:
        _push(delivery, exporter)


# --- One by one -----------------------------------------------------------------------


def _carry(delivery: Delivery, exporter: EachExporter) -> None:
    """Send, or take back, as many results as the window has room for."""
    this = Delivery.objects.filter(pk=delivery.pk)
    this.filter(state=DeliveryState.WAITING).update(
        state=DeliveryState.RUNNING, started_at=clock.now()
    )
    undoing = bool(delivery.cursor.get(UNDOING))
    if not undoing:
        deliveries.gather(delivery)
    work = _take_back if undoing else _send_one
    claimed = _claim(delivery, undoing=undoing)
    _side_by_side([partial(work, delivery, parcel, exporter) for parcel in claimed])
    if not deliveries.close_if_over(delivery.pk) and _due(delivery, undoing=undoing).exists():
        dispatch.ring_deliveries(this, now=clock.now())


def _due(delivery: Delivery, *, undoing: bool) -> Any:
    """Parcels that somebody may take now."""
    now = clock.now()
    if undoing:
        waiting = delivery.parcels.filter(state=ParcelState.SENT, error_code="")
    else:
        waiting = delivery.parcels.filter(state=ParcelState.WAITING)
    return waiting.filter(Q(retry_at=None) | Q(retry_at__lte=now))


def _claim(delivery: Delivery, *, undoing: bool) -> list[Parcel]:
    """Win parcels until the window is full. Two at once may overshoot it, which is harmless."""
    room = WINDOW - delivery.parcels.filter(state=ParcelState.SENDING).count()
    if room <= 0:
        return []
    ids = list(_due(delivery, undoing=undoing).order_by("pk").values_list("pk", flat=True)[:room])
    now, won = clock.now(), []
    before = ParcelState.SENT if undoing else ParcelState.WAITING
    for pk in ids:
        token = uuid.uuid4()
        if Parcel.objects.filter(pk=pk, state=before).update(
            state=ParcelState.SENDING,
            token=token,
            lease_until=now + LEASE,
            attempt=F("attempt") + 1,
            changed_at=now,
        ):
            won.append(token)
    mine = Parcel.objects.filter(pk__in=ids, token__in=won)
    return list(mine.select_related("result__item", "delivery").order_by("pk"))


def _send_one(delivery: Delivery, parcel: Parcel, exporter: EachExporter) -> None:
    """One result to its place, and what became of it."""
    try:
        sent = exporter.send(delivery, parcel.result, name=parcel.name)
    except OutsideError as error:
        _stop(delivery, parcel, error, back=ParcelState.WAITING)
    except Exception:
        log.exception("Parcel %s of delivery %s failed", parcel.pk, delivery.uid)
        unknown = ExportError("delivery_failed", transient=True)
        _stop(delivery, parcel, unknown, back=ParcelState.WAITING)
    else:
        _settle(
            parcel,
            state=ParcelState.SKIPPED if sent.is_skipped else ParcelState.SENT,
            place=sent.place,
            url=sent.url,
            undo=sent.undo,
            retry_at=None,
            error_code="",
            error_params={},
        )
        _went_well(delivery)


def _take_back(delivery: Delivery, parcel: Parcel, exporter: EachExporter) -> None:
    """One place as it was before, and what became of that."""
    try:
        exporter.undo(delivery, parcel)
    except OutsideError as error:
        _stop(delivery, parcel, error, back=ParcelState.SENT)
    except Exception:
        log.exception("Parcel %s of delivery %s could not be undone", parcel.pk, delivery.uid)
        _stop(
            delivery,
            parcel,
            ExportError("delivery_failed", transient=True),
            back=ParcelState.SENT,
        )
    else:
        _settle(parcel, state=ParcelState.UNDONE, place="", url="", undo={}, retry_at=None)
        _went_well(delivery)


def _stop(delivery: Delivery, parcel: Parcel, error: OutsideError, *, back: ParcelState) -> None:
    """End a try that went wrong: later again where that can help, else it has failed."""
    now = clock.now()
    if error.code in LIMITS:
        # The place has had enough of all of us: nobody asks again before it is time.
        _settle(parcel, state=back, attempt=F("attempt") - 1)
        _wait_for_reset(delivery, error, now=now)
        return
    if error.transient and parcel.attempt < MOST_TRIES:
        _settle(parcel, state=back, retry_at=now + _wait(parcel.attempt, error))
        return
    failed = ParcelState.FAILED if back == ParcelState.WAITING else ParcelState.SENT
    params = _plain(error.params)
    _settle(parcel, state=failed, error_code=error.code, error_params=params)
    if error.code in HOPELESS:
        delivery.parcels.filter(state=back, error_code="").update(
            state=failed, error_code=error.code, error_params=params, changed_at=now
        )


def _settle(parcel: Parcel, **fields: Any) -> bool:
    """Write down what became of a parcel, if the claim still holds."""
    mine = Parcel.objects.filter(pk=parcel.pk, token=parcel.token, state=ParcelState.SENDING)
    return bool(mine.update(token=None, lease_until=None, changed_at=clock.now(), **fields))


def _wait_for_reset(delivery: Delivery, error: OutsideError, *, now: datetime) -> None:
    wait = error.retry_after or LIMIT_WAITS[min(delivery.attempt, len(LIMIT_WAITS) - 1)]
    until = now + timedelta(seconds=min(max(wait, 1.0), LONGEST_WAIT))
    # Several are told at the same time: one of them writes it down.
    first = Delivery.objects.filter(pk=delivery.pk).filter(Q(retry_at=None) | Q(retry_at__lte=now))
    first.update(retry_at=until, attempt=F("attempt") + 1)


def _went_well(delivery: Delivery) -> None:
    if delivery.attempt:
        Delivery.objects.filter(pk=delivery.pk, attempt__gt=0).update(attempt=0)


def _wait(attempt: int, error: OutsideError) -> timedelta:
    """Before the next try, if this was number `attempt`, from 1."""
    own = WAITS[min(attempt, len(WAITS)) - 1]
    return timedelta(seconds=min(max(own, error.retry_after or 0.0), LONGEST_WAIT))


def _side_by_side(calls: Sequence[Callable[[], None]]) -> None:
    """Most of an upload is waiting: each on a thread of its own."""
    if len(calls) == 1:
        calls[0]()
        return

    def call_in_thread(call: Callable[[], None]) -> None:
        try:
            call()
        finally:
            connections.close_all()  # the thread's own

    if calls:
        with ThreadPoolExecutor(len(calls)) as pool:
            for done in [pool.submit(call_in_thread, call) for call in calls]:
                done.result()


# --- Files and rows -------------------------------------------------------------------


def _make(delivery: Delivery, exporter: FileExporter) -> None:
    """The file of a delivery, once there is nothing more to come."""
    if delivery.follows and not deliveries.is_over(delivery):
        return
    if not _claim_whole(delivery):
        return
    before, key = delivery.key, ""
    try:
        with tempfile.TemporaryFile() as file:
            made = exporter.make(delivery, file)
            size = file.seek(0, 2)
            file.seek(0)
            ending = split_name(made.filename)[1]
            token = delivery.token or uuid.uuid4()
            key = storage.delivery_key(delivery.batch.uid, delivery.uid, token, ending)
            storage.save(storage.RESULTS, key, file)
    except OutsideError as error:
        _stop_whole(delivery, error)
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        log.exception("The file of delivery %s could not be written", delivery.uid)
        code = "disk_full" if full else "delivery_failed"
        _stop_whole(delivery, ExportError(code, transient=True))
    except Exception:
        log.exception("The file of delivery %s could not be made", delivery.uid)
        _stop_whole(delivery, ExportError("delivery_failed", transient=True))
    else:
        won = deliveries.finish(
            delivery,
            key=key,
            filename=made.filename,
            content_type=made.content_type,
            bytes=size,
        )
        storage.delete(storage.RESULTS, before if won else key)


def _push(delivery: Delivery, exporter: RowsExporter) -> None:
    """The rows of images that have ended since the last time, and the end after the last one."""
    over = deliveries.is_over(delivery)  # asked before: what ends later is for the next time
    if not _claim_whole(delivery):
        return
    cursor = dict(delivery.cursor)
    try:
        while news := _news(delivery, cursor):
            lost = exporter.push(delivery, news)
            cursor = _remembered(delivery, cursor, news, lost)
            lease = clock.now() + LONG_LEASE
            if not _mine(delivery).update(cursor=cursor, lease_until=lease, attempt=1):
                return  # somebody else has it
    except OutsideError as error:
        _stop_whole(delivery, error)
    except Exception:
        log.exception("The rows of delivery %s could not be written", delivery.uid)
        _stop_whole(delivery, ExportError("delivery_failed", transient=True))
    else:
        if over or not delivery.follows:
            _end_of_rows(delivery, cursor)
        else:
            later = clock.now() + PUSH_EVERY
            _mine(delivery).update(token=None, lease_until=None, retry_at=later, attempt=0)


def _end_of_rows(delivery: Delivery, cursor: Mapping[str, Any]) -> None:
    """All rows have been written, or some have no place any more: then people must know which."""
    lost = cursor.get("lost", [])
    if not lost:
        deliveries.finish(delivery)
        return
    # A retry writes every row anew: those that somebody has put back are among them.
    _mine(delivery).update(cursor={"rows": cursor["rows"] - len(lost)})
    lines = Item.objects.filter(pk__in=lost).order_by("line").values_list("line", flat=True)
    named = ", ".join(str(line) for line in lines[:LINES_NAMED])
    more = " …" if len(lost) > LINES_NAMED else ""
    count = {"count": len(lost)} if len(lost) > 1 else {}
    deliveries.fail(delivery, "rows_lost", {"rows": named + more, **count})


def _claim_whole(delivery: Delivery) -> bool:
    """Win a delivery that is one piece of work."""
    now = clock.now()
    token = uuid.uuid4()
    free = Delivery.objects.open().filter(pk=delivery.pk, token=None)
    won = free.update(
        state=DeliveryState.RUNNING,
        token=token,
        lease_until=now + LONG_LEASE,
        attempt=F("attempt") + 1,
        started_at=Coalesce("started_at", now),
    )
    if won:
        delivery.refresh_from_db(fields=["state", "token", "attempt", "cursor"])
    return bool(won)


def _stop_whole(delivery: Delivery, error: OutsideError) -> None:
    now = clock.now()
    if error.code in LIMITS:
        later = timedelta(seconds=min(error.retry_after or LIMIT_WAITS[0], LONGEST_WAIT))
        _mine(delivery).update(
            token=None, lease_until=None, retry_at=now + later, attempt=F("attempt") - 1
        )
    elif error.transient and delivery.attempt < MOST_TRIES:
        later = _wait(delivery.attempt, error)
        _mine(delivery).update(token=None, lease_until=None, retry_at=now + later)
    else:
        deliveries.fail(delivery, error.code, _plain(error.params))


def _mine(delivery: Delivery) -> Any:
    return Delivery.objects.filter(pk=delivery.pk, token=delivery.token)


def _news(delivery: Delivery, cursor: Mapping[str, Any]) -> list[Item]:
    """Images that have ended and whose rows don't say so yet."""
    ended = deliveries.ended_items(delivery)
    if after := cursor.get("after"):
        ended = ended.filter(changed_at__gt=parse_datetime(after))
    pushed = cursor.get("pushed", {})
    same = [
        pk
        for pk, changed_at in ended.filter(pk__in=pushed).values_list("pk", "changed_at")
        if pushed[str(pk)] == changed_at.isoformat()
    ]
    news = ended.exclude(pk__in=same).prefetch_related("results")
    return list(news[:ROWS_AT_ONCE])


def _remembered(
    delivery: Delivery, cursor: Mapping[str, Any], news: Sequence[Item], lost: Sequence[Item]
) -> dict[str, Any]:
    """The cursor after these rows.

    What ended just now may still get elder siblings: a commit can come later than the time that
    it writes. So it stays behind, and remembers what it has told since.
    """
    last = news[-1].changed_at
    after = min(last, clock.now() - RECENT)
    known = dict(cursor.get("pushed", {})) | {
        str(item.pk): item.changed_at.isoformat() for item in news
    }
    gone = set(cursor.get("lost", ())) - {item.pk for item in news} | {item.pk for item in lost}
    return {
        **cursor,
        "lost": sorted(gone),
        "after": after.isoformat(),
        "pushed": {pk: at for pk, at in known.items() if (parse_datetime(at) or last) > after},
        "rows": deliveries.ended_items(delivery).filter(changed_at__lte=last).count(),
    }


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """Figures of an error as the database can keep them."""
    return {
        name: value if isinstance(value, str | int | float | bool | None) else str(value)
        for name, value in params.items()
    }
