"""The only writer of credits.

Every function that moves credits has the same four steps, inside one transaction: lock the
account's row; if the key has been used, return what it wrote then; check; write the entry
and the cached figures together. So whatever is called twice moves credits once, and
callers who lose a race are answered quietly.

All of them may be called with the account already locked by ``lock`` in the same
transaction. They take that lock before they look at anything else, so callers who also lock
rows of their own keep one order: their batch, the account, their items.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.db.models import BigIntegerField, Case, Count, F, Q, QuerySet, Sum, When
from django.db.models.functions import Coalesce, Least
from django.utils import timezone

from accounts.models import User
from credits.models import (
    CreditAccount,
    EntryKind,
    Grant,
    GrantKind,
    Hold,
    HoldPart,
    LedgerEntry,
)

PRIORITIES: Mapping[str, int] = {
    GrantKind.ROLLOVER: 5,
    GrantKind.MONTHLY: 10,
    GrantKind.PROMO: 20,
    GrantKind.WELCOME: 30,
    GrantKind.ADMIN: 40,
    GrantKind.REFUND: 40,
    GrantKind.PURCHASE: 50,
}
"""What is drawn first: credits that were given and run out go before credits that were paid for."""

KEYS_PER_QUERY = 500
"""How many keys one query asks for: databases limit the parameters of a statement."""


class LedgerError(Exception):
    """A move of credits that was refused; nothing has been written.

    ``code`` is stable, ``params`` are the figures that a message needs.
    """

    code = "ledger_error"

    def __init__(self, message: str, **params: Any) -> None:
        super().__init__(message)
        self.params = params


class InsufficientCredits(LedgerError):
    """There are fewer credits available than asked for."""

    code = "insufficient_credits"

    def __init__(self, *, required: int, available: int) -> None:
        super().__init__(
            f"{required} credits needed, {available} available.",
            required=required,
            available=available,
        )
        self.required = required
        self.available = available


class HoldExhausted(LedgerError):
    """More was to be settled than the hold still has: the caller's sums are wrong."""

    code = "hold_exhausted"


class KeyConflict(LedgerError):
    """The key already stands for something else, or for somebody else's credits."""

    code = "key_conflict"


class NotRefundable(LedgerError):
    """Only captured credits can be refunded."""

    code = "not_refundable"


@dataclass(frozen=True, kw_only=True)
class Expired:
    """Credits that ran out, those of them that were carried over, and of how many accounts."""

    credits: int = 0
    carried_over: int = 0
    accounts: int = 0

    def __add__(self, other: "Expired") -> "Expired":
        return Expired(
            credits=self.credits + other.credits,
            carried_over=self.carried_over + other.carried_over,
            accounts=self.accounts + other.accounts,
        )


class Balance(NamedTuple):
    """What a user has, in credits."""

    available: int
    held: int


@dataclass(frozen=True, kw_only=True)
class Share:
    """The part of a hold that belongs to one item in one generation."""

    item_uid: uuid.UUID
    generation: int
    held: int

    @property
    def key(self) -> str:
        """The key of this share's one settlement."""
        return f"settle:{self.item_uid}:{self.generation}"


# --- Accounts -------------------------------------------------------------------------


def account_for(user: User) -> CreditAccount:
    """The user's credit account, opened the first time that somebody looks.

    Whoever has proved an address finds the welcome credits in it; others get them by `welcome`.
    """
    return _account_of(user.pk)


def lock(owner_id: int) -> CreditAccount:
    """Lock the account's row until the transaction ends; must be called inside one.

    On SQLite the transaction itself is the lock: it began as a writer (IMMEDIATE).
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("ledger.lock needs a transaction.")
    accounts = CreditAccount.objects.select_for_update()
    account = accounts.filter(owner_id=owner_id).first()
    if account is None:
        account = accounts.get(pk=_account_of(owner_id).pk)
    return account


def balance(user: User) -> Balance:
    """What the user can spend and what is on hold."""
    account = account_for(user)
    return Balance(account.available, account.held)


# --- Credits in -----------------------------------------------------------------------


def welcome(user: User) -> LedgerEntry | None:
    """Give the welcome credits, now that an address is proved; once, however often it is called.

    None when this site gives none.
    """
    if settings.WELCOME_CREDITS <= 0:
        return None
    with transaction.atomic():
        account = lock(user.pk)  # may have just opened it, with them
        if earlier := _entry(_welcome_key(user.pk), account=account, kinds=[EntryKind.GRANT]):
            return earlier
        return _welcome(account)


def grant(
    user: User,
    amount: int,
    *,
    kind: str,
    key: str,
    priority: int | None = None,
    expires_at: datetime | None = None,
    carry_over: int = 0,
    carry_until: datetime | None = None,
    actor: User | None = None,
    note: str = "",
) -> LedgerEntry:
    """Give credits. Without a priority the kind's own decides when they are drawn.

    Of what is left when they run out, at most `carry_over` lasts on, until `carry_until`.
    """
    _must_be_positive(amount)
    with transaction.atomic():
        account = lock(user.pk)
        if earlier := _entry(key, account=account, kinds=[EntryKind.GRANT]):
            return earlier
        return _give(
            account,
            amount,
            entry_kind=EntryKind.GRANT,
            kind=GrantKind(kind),
            key=key,
            priority=priority,
            expires_at=expires_at,
            carry_over=carry_over,
            carry_until=carry_until,
            actor=actor,
            note=note,
        )


def refund(entry: LedgerEntry, *, actor: User | None = None, note: str = "") -> LedgerEntry:
    """Give back what a capture took, as a new grant that does not run out."""
    if entry.kind != EntryKind.CAPTURE:
        raise NotRefundable(f"Only captures can be refunded, not a {entry.kind}.", kind=entry.kind)
    key = f"refund:{entry.uid}"
    with transaction.atomic():
        account = _lock_account(entry.account_id)
        if earlier := _entry(key, account=account, kinds=[EntryKind.REFUND]):
            return earlier
        return _give(
            account,
            -entry.held_delta,
            entry_kind=EntryKind.REFUND,
            kind=GrantKind.REFUND,
            key=key,
            item_uid=entry.item_uid,
            hold_id=entry.hold_id,
            reference=entry.reference,
            actor=actor,
            note=note,
        )


def refund_items(
    owner: User, item_uids: Iterable[uuid.UUID], *, actor: User, note: str
) -> tuple[int, int]:
    """Give back what was captured for these items of the owner; how many items and credits.

    Items that were given back before, or cost nothing, count for nothing. Each is a step of its
    own: broken off half way, it can be called again for all of them.
    """
    if not note.strip():
        raise ValueError("A refund needs a reason.")
    items = credits = 0
    for some in _chunks(list(item_uids)):
        captured = LedgerEntry.objects.filter(
            kind=EntryKind.CAPTURE, item_uid__in=some, account__owner=owner
        )
        entries_ = list(captured.order_by("pk"))
        done = _used(f"refund:{entry.uid}" for entry in entries_)
        for entry in entries_:
            if f"refund:{entry.uid}" not in done:
                given = refund(entry, actor=actor, note=note)
                items, credits = items + 1, credits + given.available_delta
    return items, credits


def adjust(
    user: User,
    delta: int,
    *,
    actor: User,
    note: str,
    key: str,
    now: datetime | None = None,
) -> LedgerEntry:
    """Add or take credits by hand; never takes more than there is, never without a reason."""
    if delta == 0:
        raise ValueError("An adjustment of nothing.")
    if not note.strip():
        raise ValueError("An adjustment needs a reason.")
    with transaction.atomic():
        account = lock(user.pk)
        if earlier := _entry(key, account=account, kinds=[EntryKind.ADJUST]):
            return earlier
        if delta > 0:
            return _give(
                account,
                delta,
                entry_kind=EntryKind.ADJUST,
                kind=GrantKind.ADMIN,
                key=key,
                actor=actor,
                note=note,
            )
        _expire(account, now=now or timezone.now())
        _draw(account, -delta)
        return _write(account, EntryKind.ADJUST, available=delta, key=key, actor=actor, note=note)


# --- Credits on hold ------------------------------------------------------------------


def hold(
    user: User, amount: int, *, key: str, reference: str = "", now: datetime | None = None
) -> Hold:
    """Set credits aside, or raise ``InsufficientCredits`` and touch nothing.

    Grants that ran out by ``now`` are expired first, so that they can't be drawn.
    """
    _must_be_positive(amount)
    with transaction.atomic():
        account = lock(user.pk)
        if _entry(key, account=account, kinds=[EntryKind.HOLD]):
            return Hold.objects.get(key=key)
        _expire(account, now=now or timezone.now())
        drawn = _draw(account, amount)
        made = Hold.objects.create(account=account, key=key, reference=reference)
        HoldPart.objects.bulk_create(
            HoldPart(hold=made, grant_id=grant_id, amount=taken) for grant_id, taken in drawn
        )
        _write(
            account,
            EntryKind.HOLD,
            available=-amount,
            held=amount,
            key=key,
            hold_id=made.pk,
            reference=reference,
        )
        return made


def capture(
    hold_id: int,
    *,
    item_uid: uuid.UUID,
    generation: int,
    held: int,
    price: int,
    reference: str = "",
) -> LedgerEntry | None:
    """Settle one item's share of a hold: ``price`` is charged, the rest goes home.

    An item is settled once per generation: a later call, whatever its price, moves nothing
    and returns the first entry. None when the item held nothing. A price of 0 releases.
    """
    if not 0 <= price <= held:
        raise ValueError(f"A price of {price} for an item that holds {held}.")
    share = Share(item_uid=item_uid, generation=generation, held=held)
    if held == 0:
        return None
    with transaction.atomic():
        account, source = _lock_hold(hold_id)
        if earlier := _entry(share.key, account=account, kinds=SETTLEMENTS):
            return earlier
        reference = reference or source.reference
        parts = _open_parts(source, at_least=held)
        entries = []
        if price:
            _capture_from(parts, price)
            entries.append(
                _next_entry(
                    account,
                    EntryKind.CAPTURE,
                    held=-price,
                    key=share.key,
                    item_uid=item_uid,
                    hold_id=hold_id,
                    reference=reference,
                )
            )
        if rest := held - price:
            _release_to_grants(parts, rest)
            entries.append(
                _next_entry(
                    account,
                    EntryKind.RELEASE,
                    available=rest,
                    held=-rest,
                    key=f"{share.key}:rest" if price else share.key,
                    item_uid=item_uid,
                    hold_id=hold_id,
                    reference=reference,
                )
            )
        _store(account, entries)
        return entries[0]


def release(hold_id: int, *, item_uid: uuid.UUID, generation: int, held: int) -> LedgerEntry | None:
    """Give one item's share back; None when it held nothing. See ``capture``."""
    return capture(hold_id, item_uid=item_uid, generation=generation, held=held, price=0)


def release_many(hold_id: int, shares: Sequence[Share]) -> list[LedgerEntry]:
    """Give many items' shares of one hold back, with one entry each.

    Shares that have been settled before, or that hold nothing, are passed over quietly.
    Returns the entries that were written.
    """
    wanted = {share.key: share for share in shares if share.held}
    if not wanted:
        return []
    with transaction.atomic():
        account, source = _lock_hold(hold_id)
        for key in _used(wanted):
            del wanted[key]
        if not wanted:
            return []
        total = sum(share.held for share in wanted.values())
        parts = _open_parts(source, at_least=total)
        _release_to_grants(parts, total)
        entries = [
            _next_entry(
                account,
                EntryKind.RELEASE,
                available=share.held,
                held=-share.held,
                key=key,
                item_uid=share.item_uid,
                hold_id=hold_id,
                reference=source.reference,
            )
            for key, share in wanted.items()
        ]
        _store(account, entries)
        return entries


def close(hold_id: int) -> LedgerEntry | None:
    """Release whatever a hold still has; None, as a rule, because its items took it all."""
    with transaction.atomic():
        account, source = _lock_hold(hold_id)
        parts = _open_parts(source)
        left = sum(part.open for part in parts)
        if not left:
            return None
        _release_to_grants(parts, left)
        entry = _next_entry(
            account,
            EntryKind.RELEASE,
            available=left,
            held=-left,
            key=_next_key(f"close:{source.key}"),
            hold_id=hold_id,
            reference=source.reference,
        )
        _store(account, [entry])
        return entry


# --- Credits that run out -------------------------------------------------------------


def expire(now: datetime, *, dry_run: bool = False) -> Expired:
    """Take what is left of grants that ran out, and carry over what may be; how much that was.

    Credits on hold are left alone. Those that come home later to a grant that has run out
    are taken by the next run. With `dry_run` it is only counted what would be taken.
    """
    due = Grant.objects.filter(remaining__gt=0, expires_at__lte=now)
    if dry_run:
        return _expirable(due, now=now)
    total = Expired()
    # In primary-key order, so that two runs meet the accounts in the same order.
    for account_id in due.order_by("account_id").values_list("account_id", flat=True).distinct():
        with transaction.atomic():
            total += _expire(_lock_account(account_id), now=now)
    return total


def expire_of(user: User, *, now: datetime, dry_run: bool = False) -> Expired:
    """`expire` for one person."""
    if dry_run:
        own = Grant.objects.filter(account__owner=user, remaining__gt=0, expires_at__lte=now)
        return _expirable(own, now=now)
    with transaction.atomic():
        return _expire(lock(user.pk), now=now)


# --- Reading --------------------------------------------------------------------------


def entries(user: User) -> QuerySet[LedgerEntry]:
    """The user's journal, in no order of its own."""
    return LedgerEntry.objects.filter(account__owner=user)


def moved(*, since: datetime, until: datetime, user: User | None = None) -> tuple[int, int]:
    """Credits that were captured, and credits that were granted, in this time.

    What was carried over was granted before. Of everybody: one question to an index of each kind.
    """
    lines = LedgerEntry.objects.filter(created_at__gte=since, created_at__lt=until)
    if user is not None:
        lines = lines.filter(account__owner=user)
    captures = lines.filter(kind=EntryKind.CAPTURE)
    grants = lines.filter(kind=EntryKind.GRANT).exclude(key__startswith=_CARRIED)
    captured = captures.aggregate(sum=Sum("held_delta", default=0))["sum"]
    return -captured, grants.aggregate(sum=Sum("available_delta", default=0))["sum"]


def captured_by_reference(
    *, since: datetime, until: datetime, user: User | None = None
) -> Iterator[tuple[str, str, int, int]]:
    """What was captured in this time: owner's address, reference, how many items, credits."""
    lines = LedgerEntry.objects.filter(
        kind=EntryKind.CAPTURE, created_at__gte=since, created_at__lt=until
    )
    if user is not None:
        lines = lines.filter(account__owner=user)
    groups = lines.order_by().values_list("account__owner__email", "reference")
    sums = groups.annotate(_items=Count("pk"), _credits=-Sum("held_delta"))
    for email, reference, items, captured in sums.iterator():
        yield email, reference, items, int(captured)


def held_by_all() -> int:
    """Credits that are on hold, of all accounts."""
    return int(CreditAccount.objects.aggregate(n=Sum("held", default=0))["n"])


def captures_for(item_uids: Iterable[uuid.UUID]) -> dict[uuid.UUID, int]:
    """What was charged for each of these items; items that cost nothing are left out."""
    charged: dict[uuid.UUID, int] = {}
    for some in _chunks(list(item_uids)):
        rows = LedgerEntry.objects.filter(kind=EntryKind.CAPTURE, item_uid__in=some)
        pairs = rows.values_list("item_uid", "held_delta")
        charged |= {item_uid: -delta for item_uid, delta in pairs if item_uid}
    return charged


def captured_by_item() -> dict[uuid.UUID, int]:
    """What was charged, by item, for every item that was ever charged for."""
    rows = LedgerEntry.objects.filter(kind=EntryKind.CAPTURE).order_by()
    charged = rows.values_list("item_uid", "held_delta").iterator()
    return {item_uid: -delta for item_uid, delta in charged if item_uid}


def open_references() -> dict[str, int]:
    """Credits on hold by reference, of all holds that have something left."""
    sums = HoldPart.objects.filter(_OPEN).values_list("hold__reference").order_by()
    return {name: int(credit) for name, credit in sums.annotate(_open=Sum(_OPEN_CREDITS))}


# --- Inside ---------------------------------------------------------------------------

SETTLEMENTS = [EntryKind.CAPTURE, EntryKind.RELEASE]
_CARRIED = "rollover:"
"""How the keys of what was carried over begin."""
_OPEN = Q(amount__gt=F("captured") + F("released"))
_OPEN_CREDITS = F("amount") - F("captured") - F("released")


def _must_be_positive(amount: int) -> None:
    if amount <= 0:
        raise ValueError(f"{amount} is not an amount of credits.")


def _account_of(owner_id: int) -> CreditAccount:
    account = CreditAccount.objects.filter(owner_id=owner_id).first()
    if account is not None:
        return account
    with transaction.atomic():
        # A rival's insert waits for ours to commit, then finds our row: nobody ever sees
        # an account without its welcome credits.
        account, made = CreditAccount.objects.get_or_create(owner_id=owner_id)
        if made and settings.WELCOME_CREDITS > 0 and _is_proved(owner_id):
            _welcome(account)
    return account


def _is_proved(owner_id: int) -> bool:
    """Addresses are cheap to invent: credits wait until one is known to be read by somebody."""
    return User.objects.filter(pk=owner_id, email_verified_at__isnull=False).exists()


def _welcome_key(owner_id: int) -> str:
    return f"welcome:{owner_id}"


def _welcome(account: CreditAccount) -> LedgerEntry:
    return _give(
        account,
        settings.WELCOME_CREDITS,
        entry_kind=EntryKind.GRANT,
        kind=GrantKind.WELCOME,
        key=_welcome_key(account.owner_id),
    )


def _lock_account(account_id: int) -> CreditAccount:
    return CreditAccount.objects.select_for_update().get(pk=account_id)


def _lock_hold(hold_id: int) -> tuple[CreditAccount, Hold]:
    """Lock the account that a hold belongs to. A hold's own row never changes."""
    found = Hold.objects.get(pk=hold_id)
    return _lock_account(found.account_id), found


def _entry(key: str, *, account: CreditAccount, kinds: Sequence[str]) -> LedgerEntry | None:
    """What the key wrote before, if anything; raises when that was something else."""
    entry = LedgerEntry.objects.filter(key=key).first()
    if entry and (entry.account_id != account.pk or entry.kind not in kinds):
        raise KeyConflict(f"The key {key} stands for another entry.", key=key)
    return entry


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), KEYS_PER_QUERY):
        yield values[start : start + KEYS_PER_QUERY]


def _used(keys: Iterable[str]) -> set[str]:
    return {
        key
        for some in _chunks(list(keys))
        for key in LedgerEntry.objects.filter(key__in=some).values_list("key", flat=True)
    }


def _next_key(start: str) -> str:
    """The first free of start:1, start:2, …: for what may happen again to one row."""
    number = 1
    while LedgerEntry.objects.filter(key=f"{start}:{number}").exists():
        number += 1
    return f"{start}:{number}"


def _free_key(key: str) -> str:
    """The key itself, or the first of key:2, key:3 and so on that is free."""
    number, free = 1, key
    while LedgerEntry.objects.filter(key=free).exists():
        number += 1
        free = f"{key}:{number}"
    return free


def _next_entry(
    account: CreditAccount, kind: str, *, available: int = 0, held: int = 0, **fields: Any
) -> LedgerEntry:
    """Move the account's figures in memory and make the line that says so; stores nothing."""
    account.available += available
    account.held += held
    return LedgerEntry(
        account=account,
        kind=kind,
        available_delta=available,
        held_delta=held,
        available_after=account.available,
        held_after=account.held,
        **fields,
    )


def _write(account: CreditAccount, kind: str, **fields: Any) -> LedgerEntry:
    """Write one entry and the account's figures."""
    entry = _next_entry(account, kind, **fields)
    _store(account, [entry])
    return entry


def _store(account: CreditAccount, entries: Sequence[LedgerEntry]) -> None:
    """Write entries, in this order, and the account's figures after the last of them."""
    if len(entries) == 1:
        entries[0].save(force_insert=True)
    else:
        LedgerEntry.objects.bulk_create(entries)
    account.save(update_fields=["available", "held"])


def _give(
    account: CreditAccount,
    amount: int,
    *,
    entry_kind: str,
    kind: str,
    key: str,
    priority: int | None = None,
    expires_at: datetime | None = None,
    carry_over: int = 0,
    carry_until: datetime | None = None,
    **fields: Any,
) -> LedgerEntry:
    Grant.objects.create(
        account=account,
        kind=kind,
        amount=amount,
        remaining=amount,
        priority=PRIORITIES[kind] if priority is None else priority,
        expires_at=expires_at,
        carry_over=carry_over,
        carry_until=carry_until,
        key=key,
    )
    return _write(account, entry_kind, available=amount, key=key, **fields)


def _draw(account: CreditAccount, amount: int) -> list[tuple[int, int]]:
    """Take credits out of the account's grants, in order; (grant id, credits) of each."""
    if account.available < amount:
        raise InsufficientCredits(required=amount, available=account.available)
    drawn, touched, missing = [], [], amount
    grants = Grant.objects.filter(account=account, remaining__gt=0)
    ordered = grants.order_by("priority", F("expires_at").asc(nulls_last=True), "pk")
    for source in ordered.iterator(chunk_size=100):
        taken = min(source.remaining, missing)
        source.remaining -= taken
        missing -= taken
        drawn.append((source.pk, taken))
        touched.append(source)
        if not missing:
            break
    if missing:
        raise RuntimeError(f"{account} has {missing} credits that no grant accounts for.")
    Grant.objects.bulk_update(touched, ["remaining"], batch_size=100)
    return drawn


def _open_parts(source: Hold, *, at_least: int = 0) -> list[HoldPart]:
    """The parts with something left, in the order they were drawn."""
    parts = list(source.parts.filter(_OPEN).order_by("pk"))
    if sum(part.open for part in parts) < at_least:
        raise HoldExhausted(
            f"The hold {source.key} has less than {at_least} credits left.",
            hold=source.pk,
            required=at_least,
        )
    return parts


def _capture_from(parts: Sequence[HoldPart], amount: int) -> None:
    """Charge open credits, first drawn first."""
    for part in parts:
        if not amount:
            break
        taken = min(part.open, amount)
        part.captured += taken
        part.save(update_fields=["captured"])
        amount -= taken


def _release_to_grants(parts: Sequence[HoldPart], amount: int) -> None:
    """Send open credits home to the grants they came from, last drawn first.

    From the far end, because that leaves the grants as if the hold had been smaller from
    the start: what was paid for, and what runs out last, comes home first.
    """
    for part in reversed(parts):
        freed = min(part.open, amount)
        if freed:
            part.released += freed
            part.save(update_fields=["released"])
            Grant.objects.filter(pk=part.grant_id).update(remaining=F("remaining") + freed)
            amount -= freed


def _expire(account: CreditAccount, *, now: datetime) -> Expired:
    """Take what is left of this (locked) account's grants that ran out, and carry it over.

    Nothing else takes credits out of such a grant, so whichever comes first (a hold, a command,
    the next month's grant), each credit is carried over or lost, once. What comes home from a
    hold later is carried over too, up to the same bound.
    """
    lost = carried = 0
    due = Grant.objects.filter(account=account, remaining__gt=0, expires_at__lte=now)
    for source in due.order_by("pk"):
        left, source.remaining = source.remaining, 0
        over = _may_be_carried(source, left, now=now)
        source.carry_over -= over
        source.save(update_fields=["remaining", "carry_over"])
        _write(account, EntryKind.EXPIRE, available=-left, key=_next_key(f"expire:{source.pk}"))
        if over:
            _carry_over(account, source, over)
        lost, carried = lost + left, carried + over
    return Expired(credits=lost, carried_over=carried, accounts=1 if lost else 0)


def _may_be_carried(source: Grant, left: int, *, now: datetime) -> int:
    """How much of what is left of a grant goes on; nothing once that would have run out, too."""
    if source.carry_until is None or source.carry_until <= now:
        return 0
    return min(left, source.carry_over)


def _carry_over(account: CreditAccount, source: Grant, amount: int) -> None:
    """Give what a grant leaves to its successor."""
    month = source.expires_at.astimezone(UTC) if source.expires_at else source.created_at
    _give(
        account,
        amount,
        entry_kind=EntryKind.GRANT,
        kind=GrantKind.ROLLOVER,
        key=_free_key(f"{_CARRIED}{account.owner_id}:{month:%Y-%m}"),
        expires_at=source.carry_until,
    )


def _expirable(due: QuerySet[Grant], *, now: datetime) -> Expired:
    """What `expire` would take."""
    may_be = Least("remaining", "carry_over")
    over = Case(When(carry_until__gt=now, then=may_be), default=0, output_field=BigIntegerField())
    found = due.aggregate(
        credits=Coalesce(Sum("remaining"), 0),
        carried_over=Coalesce(Sum(over), 0),
        accounts=Count("account", distinct=True),
    )
    return Expired(**{name: int(figure) for name, figure in found.items()})
