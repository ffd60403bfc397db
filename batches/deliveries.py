"""Every verb on a delivery: ask for one, retry it, undo it, close it; and how far it is.

A delivery takes a batch's results to one place: result by result, or as one file. Whatever
becomes of it, results, images and credits stay as they are. Who carries the results is in
`couriers`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.db.models import Count, Exists, Min, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework import serializers

from accounts.models import Connection, ConnectionKind, User
from batches import clock, dispatch, lifecycle, messages, outbox, storage
from batches.exports import archive, registry
from batches.exports.base import EachExporter
from batches.models import (
    Batch,
    Delivery,
    DeliveryState,
    Item,
    Parcel,
    ParcelState,
    Result,
)
from batches.models.deliveries import OPEN
from batches.names import Names
from batches.states import ENDED, BatchState, ItemState

MOST_TRIES = 5
"""Times that a passing error may come before a result, or a file, is not delivered."""
GATHERED_AT_ONCE = 1000
"""Results that get their parcels in one transaction."""

UNDOING = "undoing"
"""In a delivery's cursor: what was sent is being taken back."""
GATHERED = "gathered"
"""In a delivery's cursor: each result that was there at the start has its parcel."""

FILES_KEPT_FOR = timedelta(days=30)
"""How long a file that a delivery made can be fetched; another is made in a moment."""

OVER = {BatchState.FINISHED, BatchState.CANCELLED}
"""States of a batch that gives no more results by itself."""
_ERROR = {"error_code": "", "error_params": {}}


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A delivery that was asked for, and found to make sense."""

    to: str
    options: Mapping[str, Any]
    connection: Connection | None = None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a delivery is, in results; a file counts as one."""

    total: int
    done: int = 0
    """What lies there, also where something was left as it was."""
    skipped: int = 0
    failed: int = 0
    undone: int = 0

    @property
    def percent(self) -> int:
        """0 to 100, failures and what was undone included."""
        over = self.done + self.failed + self.undone
        return min(100, 100 * over // self.total) if self.total else 0


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Why some results of a delivery are not where they should be."""

    code: str
    message: str
    count: int


def judged(
    owner: User,
    *,
    to: str,
    options: Mapping[str, Any] | None = None,
    connection: str = "",
    tool: str = "",
) -> Wish:
    """What was asked for, validated, with what is left out filled in. Nothing is stored.

    `connection` is the uid of an account elsewhere; without it the only one of its kind is
    meant. Raises `serializers.ValidationError` by field.
    """
    if to == registry.ARCHIVE:
        if connection:
            raise _invalid("connection", _("This place needs no account."), "not_allowed")
        _refuse_unknown(options or {}, ())
        return Wish(to=to, options={})
    try:
        exporter = registry.get(to)
    except registry.UnknownPlace:
        text = _("Results can't go there. Use one of: {known}.")
        raise _invalid(
            "to", text.format(known=", ".join(registry.PLACES)), "invalid_choice"
        ) from None
    account = _account(owner, to, connection)
    context = {"owner": owner, "connection": account, "tool": tool}
    form = exporter.Options(data=dict(options or {}), context=context)
    _refuse_unknown(options or {}, form.fields)
    form.is_valid(raise_exception=True)
    plain = json.loads(json.dumps(form.validated_data, cls=DjangoJSONEncoder))
    return Wish(to=to, options=plain, connection=account)


def ask(
    batch: Batch,
    *,
    to: str,
    options: Mapping[str, Any] | None = None,
    connection: str = "",
    follows: bool = False,
) -> Delivery:
    """Have a batch's results taken somewhere: see `judged` and `begin`."""
    wish = judged(batch.owner, to=to, options=options, connection=connection, tool=batch.tool)
    return begin(batch, wish, follows=follows)


def begin(batch: Batch, wish: Wish, *, follows: bool = False) -> Delivery:
    """Make the delivery and ring for it.

    With `follows` each result goes out as its image finishes, and a file is made at the end;
    else what is there now is all.
    """
    now = clock.now()
    with transaction.atomic():
        delivery = Delivery.objects.create(
            batch=batch,
            to=wish.to,
            options=dict(wish.options),
            connection=wish.connection,
            follows=follows,
        )
        if wish.to == registry.ARCHIVE:
            _end(delivery, DeliveryState.FINISHED, started_at=now)
    dispatch.ring_deliveries(Delivery.objects.filter(pk=delivery.pk), now=now)
    return _fresh(delivery)


def retry(delivery: Delivery) -> Delivery:
    """Send again what failed: some results, or the whole file.

    Raises `lifecycle.StateConflict` when nothing has failed.
    """
    with transaction.atomic():
        found = _lock(delivery)
        failed = found.parcels.filter(state=ParcelState.FAILED)
        moved = failed.update(
            state=ParcelState.WAITING, attempt=0, retry_at=None, changed_at=timezone.now(), **_ERROR
        )
        if not moved and found.state != DeliveryState.FAILED:
            raise lifecycle.StateConflict(_("Nothing has failed that could be sent again."))
        _open(found, {name: value for name, value in found.cursor.items() if name != UNDOING})
    return _rung(delivery)


def undo(delivery: Delivery) -> Delivery:
    """Put the place back as it was, result by result; what still waits is not sent any more.

    Something that other people have changed there since is left alone, and its parcel says so.
    Raises `lifecycle.StateConflict` where there is nothing to take back.
    """
    now = timezone.now()
    with transaction.atomic():
        found = _lock(delivery)
        if not goes_one_by_one(found.to):
            raise lifecycle.StateConflict(_("A file or a sheet can't be taken back from here."))
        parcels = found.parcels.exclude(state=ParcelState.SENDING)
        begun = ~Q(place="") & Q(
            state__in=[ParcelState.WAITING, ParcelState.FAILED, ParcelState.SENT]
        )
        back = parcels.filter(begun)
        moved = back.update(
            state=ParcelState.SENT, attempt=0, retry_at=None, changed_at=now, **_ERROR
        )
        moved += parcels.filter(place="", state=ParcelState.WAITING).update(
            state=ParcelState.UNDONE, changed_at=now, **_ERROR
        )
        if not moved and found.state not in OPEN:
            raise lifecycle.StateConflict(_("Nothing lies there that could be taken back."))
        _open(found, {**found.cursor, GATHERED: True, UNDOING: True}, follows=False)
    return _rung(delivery)


def gather(delivery: Delivery) -> None:
    """Make a parcel for each result that has none, under a name of its own.

    Call it for open deliveries that take results one by one.
    """
    while True:
        with transaction.atomic():
            found = _lock(delivery)
            if found.state not in OPEN or found.cursor.get(GATHERED):
                return
            news = list(_unsent(found).select_related("item")[:GATHERED_AT_ONCE])
            names = _names(found, [archive.result_path(result) for result in news])
            Parcel.objects.bulk_create(
                [
                    Parcel(delivery=found, result=result, name=name)
                    for result, name in zip(news, names, strict=True)
                ],
                batch_size=500,
            )
            if len(news) < GATHERED_AT_ONCE:
                if not found.follows:
                    Delivery.objects.filter(pk=found.pk).update(
                        cursor={**found.cursor, GATHERED: True}
                    )
                return


def close_if_over(delivery_id: int) -> bool:
    """End a delivery whose last parcel is over; True for whoever did it.

    Like a batch, in a transaction of its own after the commit that settled a parcel.
    """
    with transaction.atomic():
        found = Delivery.objects.select_for_update().filter(pk=delivery_id).first()
        if found is None or found.state not in OPEN:
            return False
        in_hand = [ParcelState.SENDING]
        if found.cursor.get(UNDOING):
            still = found.parcels.filter(
                Q(state__in=in_hand) | Q(state=ParcelState.SENT, error_code="")
            )
        else:
            still = found.parcels.filter(state__in=[ParcelState.WAITING, *in_hand])
        if still.exists():
            return False
        if found.follows and (not is_over(found) or _unsent(found).exists()):
            return False
        if not found.follows and not found.cursor.get(GATHERED):
            return False
        states = set(found.parcels.values_list("state", flat=True).distinct())
        arrived = {ParcelState.SENT, ParcelState.SKIPPED} & states
        none = ParcelState.FAILED in states and not arrived
        return _end(found, DeliveryState.FAILED if none else DeliveryState.FINISHED)


def finish(delivery: Delivery, **fields: Any) -> bool:
    """End a delivery that was one piece of work, if its claim still holds; True for who did it."""
    return _end(delivery, DeliveryState.FINISHED, claim=True, **_ERROR, **fields)


def fail(delivery: Delivery, code: str, params: Mapping[str, Any]) -> bool:
    """End a delivery that can't be carried out; what was not sent yet fails with it."""
    error = {"error_code": code, "error_params": dict(params)}
    with transaction.atomic():
        delivery.parcels.filter(state=ParcelState.WAITING).update(
            state=ParcelState.FAILED, changed_at=timezone.now(), **error
        )
        return _end(delivery, DeliveryState.FAILED, claim=True, **error)


def end_leases(*, now: datetime) -> int:
    """Take parcels and files away from workers that are gone; how many that were."""
    lost = Parcel.objects.filter(state=ParcelState.SENDING, lease_until__lt=now)
    undoing = Exists(Delivery.objects.filter(pk=OuterRef("delivery"), cursor__has_key=UNDOING))
    taken = 0
    for parcel in lost.annotate(undoing=undoing).order_by("pk"):
        mine = Parcel.objects.filter(pk=parcel.pk, token=parcel.token)
        fields: dict[str, Any] = {"token": None, "lease_until": None, "changed_at": now}
        if parcel.attempt >= MOST_TRIES:
            failed = ParcelState.SENT if parcel.undoing else ParcelState.FAILED
            params = {"n": parcel.attempt}
            fields |= {"state": failed, "error_code": "courier_lost", "error_params": params}
        else:
            fields["state"] = ParcelState.SENT if parcel.undoing else ParcelState.WAITING
        taken += mine.update(**fields)
    hung = Delivery.objects.open().filter(lease_until__lt=now)
    return taken + hung.update(token=None, lease_until=None)


def goes_one_by_one(to: str) -> bool:
    """Whether results go to this place one by one, and can be taken back."""
    try:
        return isinstance(registry.get(to), EachExporter)
    except registry.UnknownPlace:
        return False


def is_over(delivery: Delivery) -> bool:
    """Whether its batch gives no more results by itself."""
    return Batch.objects.filter(pk=delivery.batch_id, state__in=OVER).exists()


def progress_of(deliveries: Sequence[Delivery]) -> dict[int, Progress]:
    """How far each of them is, by its primary key, in two queries."""
    counts: dict[int, dict[str, int]] = {delivery.pk: {} for delivery in deliveries}
    by_state = Parcel.objects.filter(delivery__in=counts).values("delivery", "state")
    for row in by_state.annotate(n=Count("pk")):
        counts[row["delivery"]][row["state"]] = row["n"]
    items = Item.objects.filter(batch__in={delivery.batch_id for delivery in deliveries})
    alive = Count("pk", filter=~Q(state__in=[ItemState.FAILED, ItemState.CANCELLED]))
    images: dict[int, Mapping[str, int]] = {
        row["batch"]: {"n": row["n"], "alive": row["alive"]}
        for row in items.values("batch").annotate(n=Count("pk"), alive=alive)
    }
    return {
        delivery.pk: _progress(
            delivery, counts[delivery.pk], images.get(delivery.batch_id, {"n": 0, "alive": 0})
        )
        for delivery in deliveries
    }


def causes(delivery: Delivery) -> list[Cause]:
    """Why results are not where they should be, the most frequent cause first."""
    return causes_of([delivery])[delivery.pk]


def causes_of(deliveries: Sequence[Delivery]) -> dict[int, list[Cause]]:
    """The same for each of them, by its primary key, in three queries at most."""
    found: dict[int, list[Cause]] = {delivery.pk: [] for delivery in deliveries}
    parcels = Parcel.objects.filter(delivery__in=found)
    whole = {
        delivery.pk: delivery
        for delivery in deliveries
        if delivery.error_code and delivery.state == DeliveryState.FAILED
    }
    if whole:  # those of which single results failed say which
        failed = parcels.filter(delivery__in=whole, state=ParcelState.FAILED)
        for pk in failed.values_list("delivery", flat=True).distinct():
            whole.pop(pk)
    wrong = parcels.exclude(error_code="").exclude(state=ParcelState.WAITING)
    rows = wrong.values("delivery", "error_code").annotate(n=Count("pk"), example=Min("pk"))
    examples = Parcel.objects.filter(pk__in=[row["example"] for row in rows])
    params = dict(examples.values_list("pk", "error_params"))
    for row in rows:
        code, figures = row["error_code"], params.get(row["example"], {})
        cause = Cause(code=code, message=messages.text(code, figures), count=row["n"])
        found[row["delivery"]].append(cause)
    for delivery in whole.values():
        message = messages.text(delivery.error_code, delivery.error_params)
        found[delivery.pk] = [Cause(code=delivery.error_code, message=message, count=1)]
    return {
        pk: sorted(one, key=lambda cause: (-cause.count, cause.code)) for pk, one in found.items()
    }


# --- Small things ---------------------------------------------------------------------


def _account(owner: User, to: str, connection: str) -> Connection | None:
    """The account that results go to. Raises what is wrong with the choice."""
    if to not in ConnectionKind.values:
        if connection:
            raise _invalid("connection", _("This place needs no account."), "not_allowed")
        return None
    own = Connection.objects.visible_to(owner).filter(kind=to)
    if connection:
        try:
            return own.get(uid=connection)
        except (Connection.DoesNotExist, ValidationError):
            raise _invalid(
                "connection", _("You have no such account of this kind."), "not_found"
            ) from None
    found = list(own.order_by("pk")[:2])
    if not found:
        text = _("No account of this kind is connected. Connect one in your settings first.")
        raise _invalid("connection", text, "connection_missing")
    if len(found) > 1:
        text = _("There are several accounts of this kind. Say which: name its id.")
        raise _invalid("connection", text, "required")
    return found[0]


def _invalid(field: str, text: str, code: str) -> serializers.ValidationError:
    return serializers.ValidationError({field: [serializers.ErrorDetail(text, code=code)]})


def _refuse_unknown(options: Mapping[str, Any], known: Any) -> None:
    text = str(_("There is no such field."))
    errors = {
        name: [serializers.ErrorDetail(text, code="unknown_field")]
        for name in options
        if name not in known
    }
    if errors:
        raise serializers.ValidationError(errors)


def _unsent(delivery: Delivery) -> QuerySet[Result]:
    """Results that have no parcel yet, in their order."""
    parcels = Parcel.objects.filter(delivery=delivery, result=OuterRef("pk"))
    made = Result.objects.filter(item__batch=delivery.batch_id, item__state=ItemState.DONE)
    return made.filter(~Exists(parcels)).order_by("item__position", "position")


def _names(delivery: Delivery, paths: Sequence[str]) -> list[str]:
    """These paths, numbered where the delivery has one of the same name already."""
    taken: set[str] = set()
    while True:
        names = Names(*taken)
        proposed = [names.unique_path(path) for path in paths]
        there = set(delivery.parcels.filter(name__in=proposed).values_list("name", flat=True))
        if not there:
            return proposed
        taken |= there


def _progress(
    delivery: Delivery, parcels: Mapping[str, int], images: Mapping[str, int]
) -> Progress:
    if not goes_one_by_one(delivery.to):
        return _progress_of_one(delivery, images["n"])
    total = sum(parcels.values())
    if delivery.follows and delivery.state in OPEN:
        total = max(total, images["alive"])
    skipped = parcels.get(ParcelState.SKIPPED, 0)
    return Progress(
        total=total,
        done=parcels.get(ParcelState.SENT, 0) + skipped,
        skipped=skipped,
        failed=parcels.get(ParcelState.FAILED, 0),
        undone=parcels.get(ParcelState.UNDONE, 0),
    )


def _progress_of_one(delivery: Delivery, images: int) -> Progress:
    """Of a file, or of rows that go many at once."""
    failed = delivery.state == DeliveryState.FAILED
    if "rows" in delivery.cursor:
        rows = delivery.cursor["rows"]
        return Progress(total=images, done=rows, failed=images - rows if failed else 0)
    done = delivery.state == DeliveryState.FINISHED
    return Progress(total=1, done=int(done), failed=int(failed))


def _end(delivery: Delivery, state: DeliveryState, *, claim: bool = False, **fields: Any) -> bool:
    """The last move of a delivery, and word of it to whoever asked for that."""
    with transaction.atomic():
        open_ = Delivery.objects.open().filter(pk=delivery.pk)
        if claim:
            open_ = open_.filter(token=delivery.token)
        moved = open_.update(
            state=state,
            token=None,
            lease_until=None,
            rung_at=None,
            retry_at=None,
            finished_at=timezone.now(),
            **fields,
        )
        if moved:
            ended = Delivery.objects.select_related("batch__owner").get(pk=delivery.pk)
            count = progress_of([ended])[ended.pk]
            outbox.record(
                ended.batch.owner,
                outbox.DELIVERY_FINISHED,
                {
                    "delivery_id": str(ended.uid),
                    "batch_id": str(ended.batch.uid),
                    "to": ended.to,
                    "status": ended.state,
                    "done": count.done,
                    "failed": count.failed,
                    "total": count.total,
                },
                batch=ended.batch,
            )
    return bool(moved)


def _open(delivery: Delivery, cursor: Mapping[str, Any], **fields: Any) -> None:
    """Have a delivery go on, its row being locked."""
    Delivery.objects.filter(pk=delivery.pk).update(
        state=DeliveryState.RUNNING,
        cursor=dict(cursor),
        attempt=0,
        retry_at=None,
        finished_at=None,
        **_ERROR,
        **fields,
    )


def _lock(delivery: Delivery) -> Delivery:
    """The delivery's row, locked. Raises `lifecycle.StateConflict` when it is gone."""
    found = Delivery.objects.select_for_update(of=("self",)).filter(pk=delivery.pk).first()
    if found is None:
        raise lifecycle.StateConflict(_("It has been deleted."))
    return found


def _rung(delivery: Delivery) -> Delivery:
    dispatch.ring_deliveries(Delivery.objects.filter(pk=delivery.pk), now=clock.now())
    return _fresh(delivery)


def _fresh(delivery: Delivery) -> Delivery:
    return Delivery.objects.select_related("batch__owner", "connection").get(pk=delivery.pk)


def ended_items(delivery: Delivery) -> QuerySet[Item]:
    """The images of its batch that have ended, the longest ago first."""
    ended = Item.objects.filter(batch=delivery.batch_id, state__in=ENDED)
    return ended.order_by("changed_at", "pk")


RECENT = timedelta(minutes=1)
"""No transaction takes longer: what has changed before can't turn up any more."""


def forget_files(*, now: datetime, dry_run: bool = False) -> int:
    """Delete files that deliveries made long ago; returns how many. With `dry_run` just count.

    The deliveries stay, and what they say.
    """
    old = Delivery.objects.filter(finished_at__lt=now - FILES_KEPT_FOR).exclude(key="")
    if dry_run:
        return old.count()
    removed = 0
    for pk, key in list(old.values_list("pk", "key")):
        # The row first: a file that no row names is swept, a name without a file is a riddle.
        if Delivery.objects.filter(pk=pk, key=key).update(key="", bytes=0):
            storage.delete(storage.RESULTS, key)
            removed += 1
    return removed
