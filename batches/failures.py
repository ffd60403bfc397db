"""Why images have failed of late, for staff."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from django.db.models import Count, Max

from batches.models import Item
from batches.states import ItemState

LOOK_BACK = timedelta(days=1)


@dataclass(frozen=True)
class Reason:
    """Images that failed with one code; `words` are those of the latest of them."""

    error_code: str
    n: int
    batches: int
    words: str
    query: str
    """What narrows the admin's list of items to these."""


def lately(*, now: datetime) -> list[Reason]:
    """The reasons of the last day, the most frequent first."""
    since = (now - LOOK_BACK).replace(second=0, microsecond=0)
    failed = Item.objects.filter(state=ItemState.FAILED, finished_at__gte=since)
    rows = list(
        failed.values_list("error_code")
        .annotate(n=Count("pk"), batches=Count("batch", distinct=True), latest=Max("pk"))
        .order_by("-n", "error_code")
    )
    latest = Item.objects.in_bulk([pk for *_, pk in rows])
    return [
        Reason(code, n, batches, latest[pk].error if pk in latest else "", _query(code, since))
        for code, n, batches, pk in rows
    ]


def _query(code: str, since: datetime) -> str:
    return urlencode(
        {
            "state__exact": ItemState.FAILED,
            "error_code__exact": code,
            "finished_at__gte": since.isoformat(),
        }
    )
