"""Whether every file is there; more in tests/studio/test_chores.py."""

import tracemalloc

from batches import inventory, storage
from tests.factories import done_batch


def test_files_in_buckets_are_listed_by_pages_and_not_asked_for_one_by_one(alice, fake_tool, on_s3):
    done_batch(alice, 5)
    on_s3.requests.clear()
    found = inventory.take()
    assert (found.wrong, found.named) == ([], 10)
    assert len(on_s3.requests) == 2, "one listing for each bucket"


def test_memory_stays_the_same_however_many_files_there_are(db, monkeypatch):
    def peak(count: int) -> int:
        names = (f"{n:032x}/{n:032x}.png" for n in range(count))
        files = ((name, 1) for name in names)
        monkeypatch.setattr(
            storage, "sizes", lambda alias: files if alias == storage.RESULTS else iter(())
        )
        tracemalloc.start()
        found = inventory.take()
        _now, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (found.files, found.bytes, found.orphans) == (count, count, count)
        return most

    peak(10)
    assert peak(20_000) < peak(2_000) + 100_000
