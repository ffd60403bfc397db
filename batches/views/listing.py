"""The list of batches: found by words, narrowed by state and tool, and alive while one looks."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.paginator import Page, Paginator
from django.db.models import Count, Exists, F, OuterRef, Q, Window
from django.db.models.functions import Lower, RowNumber
from django.http import HttpRequest, HttpResponseBase, QueryDict
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from accounts.models import User
from batches import dispatch, progress
from batches.models import Batch, BatchQuerySet, Item, Result
from batches.states import BatchState, ItemState
from batches.views import wording
from batches.views.asking import htmx_of, signed_in, tool_name, user_of
from batches.views.looks import segments
from tools import registry

BATCHES_PER_PAGE = 25
THUMBNAILS = 4

RUNNING = {BatchState.RUNNING, BatchState.CANCELLING}
WAITING = {BatchState.READY, BatchState.SAMPLED, BatchState.PAUSED}

GROUPS = {
    "": _("All"),
    "running": _("Running"),
    "waiting": _("Waiting for you"),
    "finished": _("Finished"),
    "problems": _("With problems"),
    "cancelled": _("Cancelled"),
}
"""What the list can be narrowed to. Each batch is in one group, so that the counts add up."""

ORDERS: Mapping[str, tuple[Any, tuple[Any, ...]]] = {
    "": (_("Newest first"), ("-created_at", "-pk")),
    "oldest": (_("Oldest first"), ("created_at", "pk")),
    "name": (_("By name"), (Lower("name"), "-created_at", "-pk")),
}


@dataclass(frozen=True)
class Wish:
    """What somebody wants to see: words, a group, a tool, an order. Nonsense means everything."""

    words: str = ""
    group: str = ""
    tool: str = ""
    order: str = ""

    @classmethod
    def of(cls, query: QueryDict) -> "Wish":
        """The wish that an address expresses."""
        group, order = query.get("state", ""), query.get("sort", "")
        return cls(
            words=query.get("q", "").replace("\0", "").strip()[:200],
            group=group if group in GROUPS else "",
            tool=query.get("tool", ""),
            order=order if order in ORDERS else "",
        )

    def address(self, **other: str | int) -> str:
        """The query of the address that expresses it, with some parts changed; "" is left out."""
        parts = {"q": self.words, "state": self.group, "tool": self.tool, "sort": self.order}
        query = QueryDict(mutable=True)
        query.update({name: str(value) for name, value in (parts | other).items() if value})
        return query.urlencode()


@require_GET
@signed_in
def index(request: HttpRequest) -> TemplateResponse:
    """One's own batches, newest first. The same number of queries however many there are."""
    wish = Wish.of(request.GET)
    own = _own(user_of(request), wish)
    counts = _counts(own)
    wanted = _narrowed(own, wish)
    paginator = Paginator(wanted.order_by(*ORDERS[wish.order][1]), BATCHES_PER_PAGE)
    # Counted already, with all the others.
    paginator.count = sum(
        n
        for (group, tool), n in counts.items()
        if group == (wish.group or group) and tool == (wish.tool or tool)
    )
    page = paginator.get_page(request.GET.get("page"))
    rows = _rows(user_of(request), list(page.object_list))
    context = {
        "here": "batches",
        "wish": wish,
        "page": page,
        "place": wish.address(page=page.number if page.number > 1 else ""),
        "pages": _pages(page, wish),
        "rows": rows,
        "live": [row["batch"].uid for row in rows if row["progress"].live],
        "running": any(row["batch"].state in RUNNING for row in rows),
        "groups": _groups(counts, wish),
        "tools": _tools(counts, wish),
        "orders": [(key, label) for key, (label, _fields) in ORDERS.items()],
        "nothing_yet": not counts and not wish.words,
    }
    return TemplateResponse(request, "batches/index.html", context)


@require_GET
@signed_in
def pulse(request: HttpRequest) -> HttpResponseBase:
    """How far the live batches of a list are: one answer for all of them.

    `live` names them. Those that have ended since are shown once more and asked for no longer;
    with the last one the asking ends. Without htmx: the list itself.
    """
    if not htmx_of(request):
        return redirect("batches:index")
    asked = _uuids(request.GET.getlist("live"))[:BATCHES_PER_PAGE]
    wish = Wish.of(request.GET)
    mine = Batch.objects.visible_to(user_of(request))
    rows = _rows(user_of(request), list(mine.filter(uid__in=asked)))
    context = {
        "wish": wish,
        "place": wish.address(),
        "rows": rows,
        "live": [row["batch"].uid for row in rows if row["progress"].live],
        "running": any(row["batch"].state in RUNNING for row in rows),
        "gone": set(asked) - {row["batch"].uid for row in rows},
        "groups": _groups(_counts(_own(user_of(request), wish)), wish),
    }
    return TemplateResponse(request, "batches/_pulse.html", context)


def _own(user: User, wish: Wish) -> BatchQuerySet:
    """One's own batches in which the words occur: in the name, the tool, or an image's name."""
    own = Batch.objects.visible_to(user).many()
    if not wish.words:
        return own
    tools = [tool.slug for tool in registry.all() if wish.words.lower() in str(tool.name).lower()]
    named = Item.objects.filter(batch=OuterRef("pk"), name__icontains=wish.words)
    return own.filter(Q(name__icontains=wish.words) | Q(tool__in=tools) | Exists(named))


def _failed() -> Exists:
    return Exists(Item.objects.filter(batch=OuterRef("pk"), state=ItemState.FAILED))


def _narrowed(own: BatchQuerySet, wish: Wish) -> BatchQuerySet:
    """Those in the group and of the tool that were wished for."""
    if wish.tool:
        own = own.filter(tool=wish.tool)
    if wish.group == "running":
        return own.filter(state__in=RUNNING)
    if wish.group == "waiting":
        return own.filter(state__in=WAITING)
    if wish.group == "cancelled":
        return own.filter(state=BatchState.CANCELLED)
    if wish.group == "problems":
        return own.filter(_failed(), state=BatchState.FINISHED)
    if wish.group == "finished":
        return own.filter(~_failed(), state=BatchState.FINISHED)
    return own


def _group(state: str, *, failed: bool) -> str:
    """The group of a batch; drafts belong to none."""
    if state in RUNNING:
        return "running"
    if state in WAITING:
        return "waiting"
    if state == BatchState.FINISHED:
        return "problems" if failed else "finished"
    return "cancelled" if state == BatchState.CANCELLED else "draft"


def _counts(own: BatchQuerySet) -> Counter[tuple[str, str]]:
    """How many batches there are, by group and tool. One query."""
    found: Counter[tuple[str, str]] = Counter()
    rows = own.annotate(failed=_failed()).values_list("state", "failed", "tool")
    for state, failed, tool, n in rows.annotate(n=Count("pk")).order_by():
        found[_group(state, failed=failed), tool] += n
    return found


def _groups(counts: Counter[tuple[str, str]], wish: Wish) -> list[dict[str, Any]]:
    """The groups, how many of the wished tool are in each, and where each is listed."""
    inside: Counter[str] = Counter()
    for (group, tool), n in counts.items():
        if tool == (wish.tool or tool):
            inside[group] += n
            inside[""] += n
    return [
        {
            "key": key,
            "label": label,
            "n": inside[key],
            "address": wish.address(state=key),
            "chosen": key == wish.group,
        }
        for key, label in GROUPS.items()
    ]


def _tools(counts: Counter[tuple[str, str]], wish: Wish) -> list[tuple[str, str, int]]:
    """Slug, name and number of batches of each tool that occurs, in the wished group."""
    inside: Counter[str] = Counter({wish.tool: 0} if wish.tool else {})
    for (group, tool), n in counts.items():
        inside[tool] += n if group == (wish.group or group) else 0
    named = [(slug, tool_name(Batch(tool=slug)), n) for slug, n in inside.items()]
    return sorted(named, key=lambda tool: tool[1].lower())


def _pages(page: Page, wish: Wish) -> list[tuple[int | None, str]]:
    """Number and address of the pages to choose from; None for pages that are passed over."""
    paginator = page.paginator
    numbers = paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1)
    return [
        (number, wish.address(page=number if number > 1 else ""))
        if isinstance(number, int)
        else (None, "")
        for number in numbers
    ]


def _rows(owner: User, batches: Sequence[Batch]) -> list[dict[str, Any]]:
    """What the list shows of these batches: two queries, and one more where a plan bounds them."""
    now = timezone.now()
    looks = progress.of_many(batches, now=None)
    pictures = _pictures(batches)
    waiting = dispatch.waiting(owner, batches)
    rows = []
    for batch in batches:
        look = looks[batch.pk]
        rows.append(
            {
                "batch": batch,
                "age": wording.age(batch, now=now),
                "tool": tool_name(batch),
                "icon": _icon(batch),
                "headline": wording.headline(batch, look, waits=batch.pk in waiting),
                "progress": look,
                "segments": segments(look),
                "group": _group(batch.state, failed=bool(look.failed)),
                "pictures": pictures.get(batch.pk, []),
            }
        )
    return rows


def _pictures(batches: Iterable[Batch]) -> dict[int, list[UUID]]:
    """The items whose results stand for each batch: its first few that have a picture."""
    number = Window(RowNumber(), partition_by=F("item__batch"), order_by=F("item__position").asc())
    first = (
        Result.objects.filter(item__batch__in=batches, position=0)
        .exclude(thumbnail_key="")
        .annotate(number=number)
        .filter(number__lte=THUMBNAILS)
        .order_by("number")
    )
    found: dict[int, list[UUID]] = {}
    for batch, item in first.values_list("item__batch", "item__uid"):
        found.setdefault(batch, []).append(item)
    return found


def _icon(batch: Batch) -> str:
    """The icon of the batch's tool; a plain one, and no "same settings", when the tool is gone."""
    try:
        return registry.get(batch.tool).icon
    except registry.UnknownTool:
        return ""


def _uuids(texts: Iterable[str]) -> list[UUID]:
    found = []
    for text in texts:
        try:
            found.append(UUID(text))
        except ValueError:
            continue
    return found
