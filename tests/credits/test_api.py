"""``GET me`` and ``GET credits/entries``."""

import re
import uuid

import pytest

from accounts.models import create_key
from credits import ledger

pytestmark = pytest.mark.django_db

ME = "/api/v1/me"
ENTRIES = "/api/v1/credits/entries"


@pytest.fixture
def alices(api, alice):
    """Alice's client."""
    secret = create_key(alice, name="Laptop")[1]
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    return api


def test_me_says_who_is_asking_and_what_they_may(alices, alice, fund):
    fund(alice, 100)
    ledger.hold(alice, 40, key="work")

    answer = alices.get(ME)

    assert answer.status_code == 200
    assert answer.json() == {
        "id": str(alice.uid),
        "email": "alice@example.com",
        "plan": "standard",
        "credits": {"available": 60, "held": 40},
        "limits": {
            "batch_images": 500,
            "image_bytes": 20_971_520,
            "image_pixels": 50_000_000,
            "direct_uploads": False,
        },
    }


def test_the_first_me_of_somebody_new_has_the_welcome_credits(alices, settings):
    settings.WELCOME_CREDITS = 25

    assert alices.get(ME).json()["credits"] == {"available": 25, "held": 0}


@pytest.mark.parametrize("address", [ME, ENTRIES])
def test_strangers_are_not_let_in(api, address):
    answer = api.get(address)

    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")


@pytest.mark.parametrize("address", [ME, ENTRIES])
def test_nothing_can_be_posted(alices, address):
    assert alices.post(address, {}, format="json").status_code == 405


def test_the_statement_tells_each_move_newest_first(alices, alice, fund):
    fund(alice, 100)
    hold = ledger.hold(alice, 40, key="work", reference="batch:1")
    ledger.capture(hold.pk, item_uid=uuid.uuid4(), generation=1, held=3, price=2)

    answer = alices.get(ENTRIES).json()

    assert set(answer) == {"next", "previous", "results"}
    told = [
        (row["kind"], row["available_delta"], row["held_delta"], row["available_after"])
        for row in answer["results"]
    ]
    assert told == [
        ("release", 1, -1, 61),
        ("capture", 0, -2, 60),
        ("hold", -40, 40, 60),
        ("grant", 100, 0, 100),
    ]
    assert [row["reference"] for row in answer["results"]] == ["batch:1"] * 3 + [""]


def test_a_line_has_these_fields_and_no_others(alices, alice, fund):
    entry = fund(alice, 100, note="Between us")

    [row] = alices.get(ENTRIES).json()["results"]

    assert set(row) == {
        "id",
        "kind",
        "available_delta",
        "held_delta",
        "available_after",
        "reference",
        "created_at",
    }
    assert row["id"] == str(entry.uid)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", row["created_at"])


def test_times_are_utc_wherever_the_site_is(alices, alice, fund, settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    entry = fund(alice, 100)

    [row] = alices.get(ENTRIES).json()["results"]

    assert row["created_at"] == entry.created_at.isoformat().replace("+00:00", "Z")


def test_a_statement_is_its_owners_alone(alices, alice, bob, fund):
    fund(alice, 1)
    fund(bob, 2)

    assert [row["available_delta"] for row in alices.get(ENTRIES).json()["results"]] == [1]


def test_pages_follow_one_another_without_gap_or_repetition(alices, alice, fund):
    for amount in range(1, 8):
        fund(alice, amount)
    amounts, pages, address = [], 0, f"{ENTRIES}?page_size=3"

    while address:
        answer = alices.get(address).json()
        amounts += [row["available_delta"] for row in answer["results"]]
        address, pages = answer["next"], pages + 1
        fund(alice, 1000)  # what comes in meanwhile stays out of the pages that are left

    assert amounts == [7, 6, 5, 4, 3, 2, 1]
    assert pages == 3
    assert answer["previous"].startswith("http://testserver/api/v1/credits/entries?")


@pytest.mark.parametrize(("asked", "given"), [("2", 2), ("501", 500), ("0007", 7)])
def test_a_page_has_what_was_asked_for_within_limits(alices, alice, fund, asked, given):
    fund(alice, 1000)
    hold = ledger.hold(alice, 510, key="work")
    shares = [ledger.Share(item_uid=uuid.uuid4(), generation=1, held=1) for _ in range(510)]
    ledger.release_many(hold.pk, shares)

    answer = alices.get(ENTRIES, {"page_size": asked})

    assert len(answer.json()["results"]) == given


@pytest.mark.parametrize("asked", ["", "x", "0", "-1", "1.5", "null", "٣", "9" * 20])
def test_a_page_of_no_size_is_refused(alices, asked):
    answer = alices.get(ENTRIES, {"page_size": asked})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/page_size"


def test_the_statement_asks_as_much_for_a_long_page_as_for_a_short_one(
    alices, alice, fund, django_assert_num_queries
):
    for _ in range(40):
        fund(alice, 1)
    alices.get(ME)  # the key's use is noted now

    with django_assert_num_queries(2):  # the key, the entries
        assert len(alices.get(ENTRIES).json()["results"]) == 40
