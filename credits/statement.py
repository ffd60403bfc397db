"""The statement: a user's journal as people read it, and what was used day by day.

Five hundred images make five hundred captures, and nobody wants to read those. So what one
piece of work moved on one day is one line: set aside, used, given back. Everything else is a
line of its own. Balances are counted down from what is there now, line by line, so that they
add up in the order in which the lines are shown.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import BigIntegerField, Case, Count, F, Max, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Coalesce, TruncDate
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import User
from credits import ledger, references
from credits.models import EntryKind, Grant, GrantKind, Hold, LedgerEntry

LINES_PER_PAGE = 25
ENTRIES_PER_PAGE = 100
CHART_DAYS = 30

OF_WORK = [EntryKind.HOLD, EntryKind.CAPTURE, EntryKind.RELEASE]

GRANTS = {
    GrantKind.WELCOME: gettext_lazy("Welcome credits"),
    GrantKind.PURCHASE: gettext_lazy("Credits bought"),
    GrantKind.MONTHLY: gettext_lazy("Monthly credits"),
    GrantKind.ROLLOVER: gettext_lazy("Carried over from last month"),
    GrantKind.PROMO: gettext_lazy("A present"),
    GrantKind.ADMIN: gettext_lazy("Added by staff"),
    GrantKind.REFUND: gettext_lazy("Refund"),
}
KINDS = {
    EntryKind.GRANT: gettext_lazy("Credits added"),
    EntryKind.HOLD: gettext_lazy("Set aside"),
    EntryKind.CAPTURE: gettext_lazy("Used"),
    EntryKind.RELEASE: gettext_lazy("Given back"),
    EntryKind.EXPIRE: gettext_lazy("Credits ran out"),
    EntryKind.ADJUST: gettext_lazy("Adjusted by staff"),
    EntryKind.REFUND: gettext_lazy("Refund"),
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the statement."""

    at: datetime
    title: str
    of: references.Named | None
    """What it was for, where that is known and still there."""
    reference: str
    """Of the piece of work that the line sums up; empty for a line of its own."""
    delta: int
    after: int
    set_aside: int
    used: int
    images: int
    back: int


@dataclass(frozen=True)
class Moved:
    """Entries of one kind about one piece of work: how many, and what they moved in all."""

    name: str
    count: int
    available: int
    held: int


@dataclass(frozen=True, kw_only=True)
class Day:
    """One bar of the chart. `height` is of 100, and at least 2 for a day with any use."""

    day: date
    used: int
    height: int
    x: int


def lines(user: User, *, page: str | int | None) -> tuple[Page, list[Line]]:
    """One page of lines, newest first. The number of queries is the same for any history."""
    groups = _groups(user)
    found = Paginator(groups, LINES_PER_PAGE).get_page(page)
    rows: list[dict[str, Any]] = list(found.object_list)
    above = found.start_index() - 1
    newer = groups[:above].aggregate(total=Sum("delta"))["total"] if above > 0 else 0
    after = ledger.balance(user).available - (newer or 0)
    names = references.named(user, {row["reference"] for row in rows if row["reference"]})
    keys = [row["only_key"] for row in rows if row["alone"]]
    grants = dict(Grant.objects.filter(key__in=keys).values_list("key", "kind"))
    shown = []
    for row in rows:
        shown.append(_line(row, after=after, names=names, grants=grants))
        after -= row["delta"]
    return found, shown


def entries_of(user: User, reference: str, *, page: str | int | None) -> Page:
    """Each single entry of one piece of work, newest first."""
    own = ledger.entries(user).filter(reference=reference).order_by("-pk")
    return Paginator(own, ENTRIES_PER_PAGE).get_page(page)


def entries_about(reference: str) -> QuerySet[LedgerEntry]:
    """Everybody's entries of one piece of work, for staff, newest first.

    Asked of its holds, which an index finds: what it moved hangs on one, refunds included.
    """
    held = Hold.objects.filter(reference=reference)
    return LedgerEntry.objects.filter(hold__in=held.values("pk")).order_by("-pk")


def moved_by(reference: str) -> list[Moved]:
    """What one piece of work moved, a line for each kind, in the order of `KINDS`."""
    sums = entries_about(reference).order_by().values("kind")
    rows = sums.annotate(n=Count("pk"), available=Sum("available_delta"), held=Sum("held_delta"))
    order = list(KINDS)
    return [
        Moved(str(KINDS[EntryKind(row["kind"])]), row["n"], row["available"], row["held"])
        for row in sorted(rows, key=lambda row: order.index(EntryKind(row["kind"])))
    ]


def kind_of(entry: LedgerEntry) -> str:
    """What an entry is, in words."""
    return str(KINDS[EntryKind(entry.kind)])


def days(user: User, *, today: date) -> list[Day]:
    """What was used on each of the last days, the last of them today."""
    first = today - timedelta(days=CHART_DAYS - 1)
    used = ledger.entries(user).filter(kind=EntryKind.CAPTURE, created_at__date__gte=first)
    sums = used.annotate(day=TruncDate("created_at")).values_list("day").order_by()
    by_day = {day: -int(total) for day, total in sums.annotate(total=Sum("held_delta"))}
    most = max(by_day.values(), default=0)
    found = []
    for number in range(CHART_DAYS):
        day = first + timedelta(days=number)
        credits = by_day.get(day, 0)
        height = max(2, round(100 * credits / most)) if credits else 0
        found.append(Day(day=day, used=credits, height=height, x=number * 10))
    return found


CSV_HEAD = (
    "date",
    "kind",
    "credits",
    "on hold",
    "credits after",
    "on hold after",
    "reference",
    "image",
)


def csv_rows(user: User) -> Iterator[tuple[Any, ...]]:
    """Each entry, oldest first, as a spreadsheet or a program wants it; nothing is summed up."""
    yield CSV_HEAD
    for entry in ledger.entries(user).order_by("pk").iterator(chunk_size=2000):
        yield (
            entry.created_at.isoformat(timespec="seconds"),
            entry.kind,
            entry.available_delta,
            entry.held_delta,
            entry.available_after,
            entry.held_after,
            entry.reference,
            entry.item_uid or "",
        )


def _groups(user: User) -> QuerySet[Any, Any]:
    def total(field: str, *kinds: str) -> Coalesce:
        return Coalesce(Sum(field, filter=Q(kind__in=kinds)), 0, output_field=BigIntegerField())

    of_work = ~Q(reference="") & Q(kind__in=OF_WORK)
    return (
        ledger.entries(user)
        .annotate(
            day=TruncDate("created_at"),
            alone=Case(
                When(of_work, then=Value(0)), default=F("pk"), output_field=BigIntegerField()
            ),
        )
        .values("day", "reference", "alone")
        .annotate(
            last=Max("pk"),
            at=Max("created_at"),
            only_kind=Max("kind"),  # of a line of its own: there is one
            only_key=Max("key"),
            delta=Sum("available_delta"),
            set_aside=total("held_delta", EntryKind.HOLD),
            captured=total("held_delta", EntryKind.CAPTURE),
            images=Count("pk", filter=Q(kind=EntryKind.CAPTURE)),
            back=total("available_delta", EntryKind.RELEASE),
        )
        .order_by("-last")
    )


def _line(
    row: dict[str, Any],
    *,
    after: int,
    names: dict[str, references.Named],
    grants: dict[str, str],
) -> Line:
    of = names.get(row["reference"])
    used = -row["captured"]
    if row["alone"]:
        grant = grants.get(row["only_key"]) if row["only_kind"] == EntryKind.GRANT else None
        title = str(GRANTS[GrantKind(grant)] if grant else KINDS[EntryKind(row["only_kind"])])
    elif used:
        title = _("Used for") if of else _("Used for a deleted batch")
    elif row["set_aside"]:
        title = _("Set aside for") if of else _("Set aside for a deleted batch")
    else:
        title = _("Given back from") if of else _("Given back from a deleted batch")
    return Line(
        at=row["at"],
        title=title,
        of=of,
        reference="" if row["alone"] else row["reference"],
        delta=row["delta"],
        after=after,
        set_aside=row["set_aside"],
        used=used,
        images=row["images"],
        back=row["back"],
    )
