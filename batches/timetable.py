"""When something comes that is done again and again: cron's five fields, in somebody's own time.

Where clocks are put back, a time that comes twice counts once, unless the hour is left open: what
is done every hour is done every hour. Where they are put forward, a time that does not come counts
at the first moment after the gap.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo, available_timezones

from croniter import croniter
from django.utils.dates import WEEKDAYS
from django.utils.translation import gettext as _

CLOSEST = timedelta(minutes=15)
"""Two times of one timetable lie at least so far apart."""
LOOKED_AT = 100
"""Times that are looked at to see how far apart they lie."""
LAST = "L"
"""Stands for the last day of a month."""

HOURLY, DAILY, WEEKDAYS_ONLY, WEEKLY, MONTHLY = "hourly", "daily", "weekdays", "weekly", "monthly"
CUSTOM = "custom"

_FIELDS = re.compile(r"[0-9A-Za-z*,/-]+(?: [0-9A-Za-z*,/-]+){4}")
_SHAPES: Mapping[str, re.Pattern[str]] = {
    HOURLY: re.compile(r"(?P<minute>\d+) \* \* \* \*"),
    DAILY: re.compile(r"(?P<minute>\d+) (?P<hour>\d+) \* \* \*"),
    WEEKDAYS_ONLY: re.compile(r"(?P<minute>\d+) (?P<hour>\d+) \* \* 1-5"),
    WEEKLY: re.compile(r"(?P<minute>\d+) (?P<hour>\d+) \* \* (?P<weekday>[0-7])"),
    MONTHLY: re.compile(r"(?P<minute>\d+) (?P<hour>\d+) (?P<day>\d+|L) \* \*"),
}


class TimetableInvalid(Exception):
    """A timetable that makes no sense; ``detail`` says why, for people."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field
        """`cron` or `zone`."""
        self.detail = detail


@dataclass(frozen=True, kw_only=True)
class Times:
    """A timetable as people choose one; of a custom one, `cron` says it all."""

    preset: str = DAILY
    minute: int = 0
    hour: int = 6
    weekday: int = 1
    """0 is Sunday, as cron has it."""
    day: str = "1"
    """Of the month, or `L` for its last."""
    cron: str = ""

    @property
    def text(self) -> str:
        """The five fields."""
        at = f"{self.minute} {self.hour}"
        return {
            HOURLY: f"{self.minute} * * * *",
            DAILY: f"{at} * * *",
            WEEKDAYS_ONLY: f"{at} * * 1-5",
            WEEKLY: f"{at} * * {self.weekday}",
            MONTHLY: f"{at} {self.day} * *",
        }.get(self.preset, " ".join(self.cron.split()))

    @classmethod
    def of(cls, text: str) -> "Times":
        """What five fields mean, where it is something that can be chosen; else a custom one."""
        for preset, shape in _SHAPES.items():
            if found := shape.fullmatch(text):
                parts = found.groupdict()
                return cls(
                    preset=preset,
                    minute=int(parts["minute"]),
                    hour=int(parts.get("hour", 6)),
                    weekday=int(parts.get("weekday", 1)) % 7,
                    day=parts.get("day", "1"),
                    cron=text,
                )
        return cls(preset=CUSTOM, cron=text)


def check(cron: str, zone: str, *, now: datetime) -> None:
    """Raise `TimetableInvalid` for what can't be kept to."""
    if zone not in available_timezones():
        raise TimetableInvalid("zone", _("There is no such time zone. Choose one of the list."))
    if not _FIELDS.fullmatch(cron):
        detail = _("Write five fields: minute, hour, day of the month, month, day of the week.")
        raise TimetableInvalid("cron", detail)
    try:
        times = list(islice(_times(cron, zone, now), LOOKED_AT))
    except (ValueError, KeyError) as error:
        detail = _("These five fields name no time that ever comes. Check each of them.")
        raise TimetableInvalid("cron", detail) from error
    if any(later - earlier < CLOSEST for earlier, later in pairwise(times)):
        detail = _("The times must lie at least {n} minutes apart.")
        raise TimetableInvalid("cron", detail.format(n=CLOSEST // timedelta(minutes=1)))


def following(cron: str, zone: str, after: datetime) -> datetime:
    """The first time after this moment."""
    return next(_times(cron, zone, after))


def coming(cron: str, zone: str, after: datetime, *, n: int = 3) -> list[datetime]:
    """The next times, in the zone's own time."""
    return list(islice(_times(cron, zone, after), n))


def sentence(cron: str, zone: str) -> str:
    """A timetable in words: "Every day at 06:00 (Europe/Berlin)"."""
    times = Times.of(cron)
    clock = f"{times.hour:02}:{times.minute:02}"
    place = zone.replace("_", " ")
    if times.preset == HOURLY:
        return _("Every hour, {minute} minutes past").format(minute=times.minute)
    if times.preset == DAILY:
        said = _("Every day at {time}").format(time=clock)
    elif times.preset == WEEKDAYS_ONLY:
        said = _("Monday to Friday at {time}").format(time=clock)
    elif times.preset == WEEKLY:
        day = WEEKDAYS[(times.weekday - 1) % 7]
        said = _("Every week, {day} at {time}").format(day=day, time=clock)
    elif times.preset == MONTHLY and times.day == LAST:
        said = _("On the last day of each month at {time}").format(time=clock)
    elif times.preset == MONTHLY:
        said = _("On day {day} of each month at {time}").format(day=times.day, time=clock)
    else:
        said = _("At times of its own: {cron}").format(cron=cron)
    return _("{when} ({zone})").format(when=said, zone=place)


def _times(cron: str, zone: str, after: datetime) -> Iterator[datetime]:
    """All that come after this moment. Raises `ValueError` or `KeyError` where none does."""
    own = ZoneInfo(zone)
    every_hour = cron.split()[1].startswith("*")
    for time in croniter(cron, after.astimezone(own), ret_type=datetime).all_next():
        if time.replace(tzinfo=own, fold=time.fold).fold and not every_hour:
            continue  # the same time has been an hour ago
        yield time
