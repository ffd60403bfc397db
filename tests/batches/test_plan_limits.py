"""What staff write into a plan counts wherever something is limited."""

import pytest

from accounts.models import Plan
from batches import intake, library, lifecycle
from batches.sources.base import Row
from tests import clients
from tests.factories import picture

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]


@pytest.fixture
def small(alice):
    """Alice is on the smallest plan there could be."""
    alice.plan = Plan.objects.create(
        slug="small",
        name="Small",
        batch_images=1,
        library_bytes=10,
        api_reads_per_hour=2,
        api_writes_per_hour=1,
    )
    alice.save()
    return alice.plan


def change(plan, **fields):
    """As the admin stores it: the process knows at once."""
    for name, value in fields.items():
        setattr(plan, name, value)
    plan.save()


def test_images_in_a_batch(alice, small, fake_tool):
    rows = [Row(url=f"https://a.io/{n}.png") for n in range(2)]

    with pytest.raises(lifecycle.BatchTooLarge):
        lifecycle.create(alice, fake_tool, rows, settings={})
    change(small, batch_images=2)

    assert lifecycle.create(alice, fake_tool, rows, settings={}).items.count() == 2


def test_bytes_in_the_library(alice, small):
    mug = intake.receive(alice, picture(), name="mug.png")[0]

    with pytest.raises(library.LibraryRefused, match="library_full"):
        library.add(alice, mug)
    change(small, library_bytes=10**6)

    assert library.add(alice, mug).bytes > 10


def test_the_api_and_how_often_it_is_asked(alice, small):
    client = clients.with_key(alice)

    answers = [client.get("/api/v1/me").status_code for _n in range(3)]
    change(small, api=False, api_reads_per_hour=100)
    closed = client.get("/api/v1/me")

    assert answers == [200, 200, 429]
    assert (closed.status_code, closed.json()["code"]) == (403, "api_not_enabled")
