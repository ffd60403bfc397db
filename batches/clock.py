"""The time that leases, rings and waits go by: the database's, because hosts may disagree."""

import time
from datetime import UTC, datetime, timedelta

from django.db import connection
from django.utils import timezone

ASK_AGAIN_SECONDS = 60.0
"""How long a process goes by what it knows of the difference."""
TOLERANCE = timedelta(seconds=1)
"""A smaller difference does no harm, and without it the times of one host keep their order."""


class _Known:
    """By how much the database's clock is ahead of this host's, and until when that will do."""

    ahead = timedelta(0)
    until = 0.0


_known = _Known()


def now() -> datetime:
    """The time by the database's clock; one short query a minute.

    Where the database is a file of this host's, the host's own.
    """
    if connection.vendor != "postgresql":
        return timezone.now()
    if time.monotonic() >= _known.until:
        before = datetime.now(UTC)
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            theirs: datetime = cursor.fetchone()[0]
        ahead = theirs - before
        _known.ahead = ahead if abs(ahead) > TOLERANCE else timedelta(0)
        _known.until = time.monotonic() + ASK_AGAIN_SECONDS
    return timezone.now() + _known.ahead
