"""Whether every file is there; more in tests/studio/test_chores.py."""

from batches import inventory
from tests.factories import done_batch


def test_files_in_buckets_are_listed_by_pages_and_not_asked_for_one_by_one(alice, fake_tool, on_s3):
    done_batch(alice, 5)
    on_s3.requests.clear()
    found = inventory.take()
    assert (found.wrong, found.named) == ([], 10)
    assert len(on_s3.requests) == 2, "one listing for each bucket"
