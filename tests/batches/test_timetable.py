"""When schedules come next: in people's own time, also where clocks are changed."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as some

from batches import timetable
from batches.timetable import Times, TimetableInvalid

BERLIN = "Europe/Berlin"
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def told(cron: str, after: str, n: int = 3) -> list[str]:
    start = datetime.fromisoformat(after).replace(tzinfo=ZoneInfo(BERLIN))
    return [f"{at:%m-%d %H:%M %z}" for at in timetable.coming(cron, BERLIN, start, n=n)]


def test_a_time_stays_the_same_on_the_wall_when_clocks_are_changed():
    assert told("0 9 * * *", "2026-10-24T10:00", 2) == ["10-25 09:00 +0100", "10-26 09:00 +0100"]
    assert told("0 9 * * *", "2026-03-28T08:00", 2) == ["03-28 09:00 +0100", "03-29 09:00 +0200"]


def test_a_time_that_comes_twice_counts_once():
    assert told("30 2 * * *", "2026-10-24T12:00", 2) == ["10-25 02:30 +0200", "10-26 02:30 +0100"]


def test_a_time_that_is_left_out_comes_at_the_first_moment_after_the_gap():
    assert told("30 2 * * *", "2026-03-28T12:00", 2) == ["03-29 03:00 +0200", "03-30 02:30 +0200"]


def test_every_hour_is_every_hour():
    assert told("0 * * * *", "2026-10-25T01:30", 3) == [
        *("10-25 02:00 +0200", "10-25 02:00 +0100", "10-25 03:00 +0100")
    ]
    assert told("0 * * * *", "2026-03-29T01:30", 1) == ["03-29 03:00 +0200"]


@given(
    some.datetimes(min_value=datetime(2026, 1, 1), max_value=datetime(2027, 12, 1)),  # noqa: DTZ001
    some.sampled_from(["0 * * * *", "30 2 * * *", "15 2 * * 1-5", "0 6 L * *", "*/20 * * * *"]),
    some.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "UTC"]),
)
def test_times_come_in_their_order_and_always_later(moment, cron, zone):
    after = moment.replace(tzinfo=UTC)
    times = [at.astimezone(UTC) for at in timetable.coming(cron, zone, after, n=5)]
    assert after < times[0]
    assert times == sorted(set(times))
    assert times[0] - after < timedelta(days=32)


@pytest.mark.parametrize(
    ("cron", "zone", "field"),
    [
        ("* * * * *", "UTC", "cron"),
        ("*/10 * * * *", "UTC", "cron"),
        ("0,5 6 * * *", "UTC", "cron"),
        ("0 0 30 2 *", "UTC", "cron"),
        ("0 25 * * *", "UTC", "cron"),
        ("@daily", "UTC", "cron"),
        ("0 6 * * * 0", "UTC", "cron"),
        ("H 6 * * *", "UTC", "cron"),
        ("", "UTC", "cron"),
        ("0 6 * * *", "Europe/Nowhere", "zone"),
        ("0 6 * * *", "../UTC", "zone"),
    ],
)
def test_what_can_not_be_kept_to_is_refused(cron, zone, field):
    with pytest.raises(TimetableInvalid) as refused:
        timetable.check(cron, zone, now=NOW)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("5 * * * *", "Every hour, 5 minutes past"),
        ("0 6 * * *", "Every day at 06:00 (Europe/Berlin)"),
        ("30 18 * * 1-5", "Monday to Friday at 18:30 (Europe/Berlin)"),
        ("0 6 * * 0", "Every week, Sunday at 06:00 (Europe/Berlin)"),
        ("0 6 * * 1", "Every week, Monday at 06:00 (Europe/Berlin)"),
        ("0 6 15 * *", "On day 15 of each month at 06:00 (Europe/Berlin)"),
        ("0 6 L * *", "On the last day of each month at 06:00 (Europe/Berlin)"),
        ("*/20 9-17 * * *", "At times of its own: */20 9-17 * * * (Europe/Berlin)"),
    ],
)
def test_a_timetable_is_said_in_words_and_comes_back_as_it_was_chosen(cron, words):
    timetable.check(cron, BERLIN, now=NOW)
    assert timetable.sentence(cron, BERLIN) == words
    assert Times.of(cron).text == cron
