"""What the page of a batch shows beside its row: a page of its images, and what hangs on it.

Each part is a fixed number of questions, however many images, deliveries and entries there are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, Max, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as now_
from django.utils.translation import gettext_lazy as _

from accounts.models import Connection, StaffAction
from batches import deliveries, progress
from batches import messages as wording
from batches.exports import registry
from batches.models import Batch, Delivery, Item, Parcel, Result
from batches.progress import Progress
from batches.states import ItemState
from credits import statement
from credits.statement import Moved

PAGE = 25
"""Images on the page of a batch; the list of items has all of them."""
LATEST = 10
"""Deliveries, entries and actions."""
MOST_REASONS = 10

SHOWN: Mapping[str, tuple[str | Promise, Sequence[ItemState]]] = {
    "": (_("All"), ()),
    "waiting": (
        _("Waiting"),
        (ItemState.PENDING, ItemState.QUEUED, ItemState.FETCHING, ItemState.FETCHED),
    ),
    "running": (_("Processing"), (ItemState.RUNNING,)),
    "done": (_("Done"), (ItemState.DONE,)),
    "failed": (_("Failed"), (ItemState.FAILED,)),
    "cancelled": (_("Cancelled"), (ItemState.CANCELLED,)),
}
"""Which images the page can be narrowed to; `?show=` names one."""


@dataclass(frozen=True)
class Tab:
    """One way to narrow the images: its name, how many they are, and whether it is chosen."""

    name: str
    count: int
    query: str
    is_chosen: bool


@dataclass(frozen=True)
class Row:
    """An image of the page."""

    item: Item
    result: Result | None

    @property
    def pictures(self) -> list[tuple[str, str]]:
        """Addresses of small pictures, each with what it is."""
        return small_pictures(self.item, self.result)


@dataclass(frozen=True)
class Reason:
    """Images of the batch that failed with one code, in the words of one of them."""

    code: str
    words: str
    count: int
    url: str


@dataclass(frozen=True)
class Sent:
    """A delivery, how far it is, how often it was tried at most, and what went wrong."""

    delivery: Delivery
    place: str
    progress: deliveries.Progress
    tries: int
    causes: Sequence[deliveries.Cause]


@dataclass(frozen=True)
class Origin:
    """Where images came from, and how many."""

    words: str
    count: int


def of(request: HttpRequest, batch: Batch) -> dict[str, Any]:
    """All of it, as far as whoever asks may see it."""
    may = request.user.has_perm
    look = progress.of(batch, now=timezone.now())
    told: dict[str, Any] = {
        "look": look,
        "origins": origins(batch),
        "import_problems": import_problems(batch),
    }
    if may("batches.view_item"):
        told |= images(request, batch, look) | {"reasons": reasons(batch)}
    if may("batches.view_delivery"):
        newest = batch.deliveries.select_related("connection").order_by("-pk")
        told |= {"sent": sent(newest[:LATEST]), "sent_url": _list("delivery", batch)}
    if may("credits.view_ledgerentry"):
        told |= money(batch)
    if may("accounts.view_staffaction"):
        told |= actions(batch)
    return told


def images(request: HttpRequest, batch: Batch, look: Progress) -> dict[str, Any]:
    """A page of images in their order, narrowed by `?show=`, from the place `?from=` on."""
    show = request.GET.get("show", "")
    show = show if show in SHOWN else ""
    first = int(text) if (text := request.GET.get("from", ""))[:9].isdecimal() and text else 0
    states = SHOWN[show][1]
    found = batch.items.filter(position__gte=min(first, 2**31 - 1))
    if states:
        found = found.filter(state__in=states)
    page = list(found.select_related("original").order_by("position")[: PAGE + 1])
    items, more = page[:PAGE], page[PAGE:]
    results = {
        result.item_id: result for result in Result.objects.filter(item__in=items, position=0)
    }
    counts = {
        "": look.total,
        "waiting": look.waiting,
        "running": look.processing,
        "done": look.done,
        "failed": look.failed,
        "cancelled": look.cancelled,
    }
    narrowed = {"state__in": ",".join(states)} if states else {}
    return {
        "rows": [Row(item, results.get(item.pk)) for item in items],
        "tabs": [
            Tab(str(name), counts[key], f"?{urlencode({'show': key})}#images", key == show)
            for key, (name, _states) in SHOWN.items()
            if counts[key] or key == show
        ],
        "next_page": f"?{urlencode({'show': show, 'from': more[0].position})}#images"
        if more
        else "",
        "first_page": f"?{urlencode({'show': show})}#images" if first else "",
        "items_url": _list("item", batch, **narrowed),
    }


def reasons(batch: Batch) -> list[Reason]:
    """Why images failed, the most frequent reason first."""
    failed = batch.items.filter(state=ItemState.FAILED)
    rows = list(
        failed.values_list("error_code")
        .annotate(n=Count("pk"), latest=Max("pk"))
        .order_by("-n", "error_code")[:MOST_REASONS]
    )
    latest = Item.objects.in_bulk([pk for *_n, pk in rows])
    return [
        Reason(
            code,
            latest[pk].error if pk in latest else "",
            n,
            _list("item", batch, state__exact=ItemState.FAILED, error_code__exact=code),
        )
        for code, n, pk in rows
    ]


def sent(found: QuerySet[Delivery]) -> list[Sent]:
    """These deliveries as the admin tells of them: a fixed number of questions for all."""
    rows = list(found)
    looks, causes, tries = deliveries.progress_of(rows), deliveries.causes_of(rows), tries_of(rows)
    return [
        Sent(one, registry.place_of(one), looks[one.pk], tries[one.pk], causes[one.pk])
        for one in rows
    ]


def tries_of(rows: Sequence[Delivery]) -> dict[int, int]:
    """How often each delivery, or one of its results, was tried at most."""
    parcels = Parcel.objects.filter(delivery__in=rows).values_list("delivery").order_by()
    most = dict(parcels.annotate(n=Max("attempt")))
    return {one.pk: max(one.attempt, most.get(one.pk, 0)) for one in rows}


def money(batch: Batch) -> dict[str, Any]:
    """What the batch moved, by kind, and the latest entries."""
    moved: list[Moved] = statement.moved_by(batch.reference)
    query = urlencode({"q": batch.reference})
    return {
        "moved": moved,
        "entries": statement.entries_about(batch.reference)[:LATEST],
        "entries_url": f"{reverse('admin:credits_ledgerentry_changelist')}?{query}",
    }


def actions(batch: Batch) -> dict[str, Any]:
    """What staff did with it, the newest first."""
    uid = str(batch.uid)
    found = StaffAction.objects.filter(target_kind="batches.batch", target_id=uid).order_by("-at")
    address = reverse("admin:accounts_staffaction_changelist")
    return {
        "done_by_staff": list(found[:LATEST]),
        "done_by_staff_url": f"{address}?{urlencode({'q': uid})}",
    }


def origins(batch: Batch) -> list[Origin]:
    """Where its images came from, in one question."""
    rows = (
        batch.items.order_by()
        .values_list("connection")
        .annotate(
            uploaded=Count("pk", filter=Q(source_url="")),
            named=Count("pk", filter=~Q(source_url="")),
        )
    )
    counts = list(rows)
    ids = [pk for pk, _uploaded, _named in counts if pk]
    accounts = Connection.objects.in_bulk(ids) if ids else {}
    found = []
    for pk, uploaded, named in counts:
        if account := accounts.get(pk):
            found.append(Origin(f"{account.name} ({account.get_kind_display()})", named + uploaded))
            continue
        if named:
            found.append(Origin(now_("Addresses"), named))
        if uploaded:
            found.append(Origin(now_("Uploads and the library"), uploaded))
    return sorted(found, key=lambda origin: -origin.count)


def sheet_in_words(batch: Batch) -> str:
    """Which sheet its rows were read from, how its columns were read, and what is wrong."""
    sheet = batch.sheet
    if sheet is None:
        return "-"
    lines = [f"{sheet.name} ({sheet.get_kind_display()})"]
    if sheet.tab:
        lines.append(now_("Tab: {name}").format(name=sheet.tab))
    lines += [f"{column} → {meaning}" for column, meaning in sheet.mapping.items()]
    if rows := batch.plan.get("rows"):
        lines.append(now_("{n} rows are being imported.").format(n=f"{rows:,}"))
    return format_html_join(mark_safe("<br>"), "{}", ((line,) for line in lines))


def list_of(pairs: Iterable[tuple[str, Any]]) -> str:
    """Names and values, a line for each; a dash for none."""
    rows = format_html_join("", "<dt>{}</dt><dd>{}</dd>", pairs)
    return format_html('<dl class="studio-pairs">{}</dl>', rows) if rows else "-"


def import_problems(batch: Batch) -> list[str]:
    """What is wrong with rows of its sheet while it is being imported, line by line."""
    return [
        now_("Line {line}, “{column}”: {detail}").format(
            line=one["line"], column=one["column"], detail=one["detail"]
        )
        for one in batch.plan.get("errors", [])[:LATEST]
    ]


def small_pictures(item: Item, result: Result | None) -> list[tuple[str, str]]:
    """Where the admin has small pictures of an image, before and after."""
    there = (
        ("original", now_("Original"), item.original and item.original.thumbnail_key),
        ("result", now_("Result"), result and result.thumbnail_key),
    )
    return [
        (reverse("admin:batches_item_picture", args=[item.pk, which]), label)
        for which, label, key in there
        if key
    ]


def error_of(row: Delivery | Parcel) -> str:
    """What went wrong, in the words that its owner reads; empty where nothing did."""
    return wording.text(row.error_code, row.error_params) if row.error_code else ""


def options_of(delivery: Delivery) -> list[tuple[str, str]]:
    """What the place was told, as the forms name it."""
    if not delivery.options:
        return []
    try:
        fields: Mapping[str, Any] = registry.get(delivery.to).Options().fields
    except registry.UnknownPlace:
        fields = {}
    shown = []
    for name, value in delivery.options.items():
        field = fields.get(name)
        words = ", ".join(map(str, value)) if isinstance(value, list) else value
        words = dict(getattr(field, "choices", {})).get(words, words)
        shown.append((str(field.label if field is not None else name), str(words) or "-"))
    return shown


def _list(model: str, batch: Batch, **narrowed: str) -> str:
    query = urlencode({"batch__id__exact": batch.pk, **narrowed})
    return f"{reverse(f'admin:batches_{model}_changelist')}?{query}"
