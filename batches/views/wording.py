"""A batch's state, age and pace in words."""

from datetime import datetime, timedelta
from math import ceil

from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from batches.models import Batch
from batches.progress import Progress
from batches.states import BatchState


def headline(batch: Batch, counts: Progress, *, waits: bool = False) -> str:
    """The state of a batch in words; how it ended is read from the counts.

    `waits`: its owner's earlier batches have to end first.
    """
    if waits and not counts.processing:
        return _("Waits for your other batches")
    if batch.state != BatchState.FINISHED:
        return str(BatchState(batch.state).label)
    if not counts.failed:
        return _("Finished")
    return _("Finished with problems") if counts.done else _("All failed")


def time_left(seconds: tuple[int, int] | None) -> str:
    """A range that is honest about what is known; empty when nothing is."""
    if seconds is None:
        return ""
    low, high = seconds
    if high < 100:  # in steps of five seconds: figures that dance are read by nobody
        low, high = max(5, low // 5 * 5), ceil(high / 5) * 5
        about = (low + high) // 10 * 5
        return _("about {n} s left ({low} to {high})").format(n=about, low=low, high=high)
    low, high = max(1, low // 60), ceil(high / 60)
    about = (low + high + 1) // 2
    return _("about {n} min left ({low} to {high})").format(n=about, low=low, high=high)


def age(batch: Batch, *, now: datetime) -> str:
    """How long ago it was made."""
    if now - batch.created_at < timedelta(minutes=1):
        return _("just now")
    return _("{age} ago").format(age=timesince(batch.created_at, now, depth=1))


def took(batch: Batch) -> str:
    """From start to end; empty before that."""
    if batch.started_at is None or batch.finished_at is None:
        return ""
    minutes, seconds = divmod(
        max(1, round((batch.finished_at - batch.started_at).total_seconds())), 60
    )
    if not minutes:
        return _("{seconds} s").format(seconds=seconds)
    return _("{minutes} min {seconds} s").format(minutes=minutes, seconds=seconds)
