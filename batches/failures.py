"""Why images have failed of late, for staff."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from django.db.models import Count, Max

from batches.models import Item
from batches.states import ItemState

LOOK_BACK = timedelta(days=1)
MOST = 10_000
"""So many failures are looked at: what breaks for everybody shows in the latest of them."""


@dataclass(frozen=True)
class Reason:
    """Images that failed with one code; `words` are those of the latest of them."""

    error_code: str
    n: int
    batches: int
    words: str
    query: str
    """What narrows the admin's list of items to these."""


@dataclass(frozen=True)
class Lately:
    """What has failed since a moment, which is a day ago or, of very many, later."""

    since: datetime
    is_cut: bool
    """Whether there was more in that day."""
    reasons: list[Reason]
    """The most frequent first."""


def lately(*, now: datetime) -> Lately:
    """The reasons of the last day's failures, and of the latest `MOST` where there were more.

    Both questions are answered by the index of failures alone.
    """
    since = (now - LOOK_BACK).replace(second=0, microsecond=0)
    all_failed = Item.objects.filter(state=ItemState.FAILED, finished_at__gte=since)
    ends = all_failed.order_by("-finished_at").values_list("finished_at", flat=True)
    oldest = list(ends[MOST - 1 : MOST + 1])
    is_cut = len(oldest) > 1
    if is_cut and oldest[0]:
        since = oldest[0]
    failed = all_failed.filter(finished_at__gte=since)
    rows = list(
        failed.values_list("error_code")
        .annotate(n=Count("pk"), batches=Count("batch", distinct=True), latest=Max("pk"))
        .order_by("-n", "error_code")
    )
    latest = Item.objects.in_bulk([pk for *_, pk in rows])
    reasons = [
        Reason(code, n, batches, latest[pk].error if pk in latest else "", _query(code, since))
        for code, n, batches, pk in rows
    ]
    return Lately(since, is_cut, reasons)


def _query(code: str, since: datetime) -> str:
    return urlencode(
        {
            "state__exact": ItemState.FAILED,
            "error_code__exact": code,
            "finished_at__gte": since.isoformat(),
        }
    )
