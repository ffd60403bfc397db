"""Files under names that we choose, whole or not at all."""

import os
import stat
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile

from batches import storage
from batches.storage import ORIGINALS, RESULTS, DurableFileSystemStorage

pytestmark = pytest.mark.usefixtures("media")


def files(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_is_saved_is_read_back_and_lies_where_it_was_said(media):
    storage.save(RESULTS, "batch/item.png", b"pixels")

    assert storage.read(RESULTS, "batch/item.png") == b"pixels"
    with storage.open_file(RESULTS, "batch/item.png") as file:
        assert file.read() == b"pixels"
    assert files(media) == ["results/batch/item.png"]


def test_the_two_storages_do_not_share_names():
    storage.save(RESULTS, "a.png", b"result")
    storage.save(ORIGINALS, "a.png", b"original")

    assert storage.read(RESULTS, "a.png") == b"result"
    assert storage.read(ORIGINALS, "a.png") == b"original"


def test_a_name_appears_only_when_all_of_its_bytes_are_there(media, monkeypatch):
    seen = []

    def look(handle: int) -> None:
        seen.append(files(media))

    monkeypatch.setattr(os, "fsync", look)

    storage.save(RESULTS, "a.png", b"pixels")

    (drafts,) = seen
    assert [name.endswith(".part") for name in drafts] == [True]
    assert files(media) == ["results/a.png"]


def test_a_disk_that_is_full_leaves_nothing_behind(media, monkeypatch):
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space left"):
        storage.save(RESULTS, "a.png", b"pixels")

    assert files(media) == []


def test_saving_the_same_name_again_replaces_the_bytes_and_keeps_the_name(media):
    storage.save(RESULTS, "a.png", b"first")
    storage.save(RESULTS, "a.png", b"second")

    assert storage.read(RESULTS, "a.png") == b"second"
    assert files(media) == ["results/a.png"]


def test_a_storage_that_renames_is_not_put_up_with(settings, tmp_path):
    settings.STORAGES = {
        **settings.STORAGES,
        RESULTS: {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(tmp_path / "plain")},
        },
    }
    storage.save(RESULTS, "a.png", b"first")

    with pytest.raises(RuntimeError, match="under another name"):
        storage.save(RESULTS, "a.png", b"second")


@pytest.mark.parametrize("name", ["../outside.png", "/etc/passwd", "a/../../outside.png"])
def test_no_name_leads_out_of_the_storage(tmp_path, name):
    inside = DurableFileSystemStorage(location=tmp_path / "inside")

    with pytest.raises(SuspiciousFileOperation):
        inside.save(name, ContentFile(b"x"))

    assert files(tmp_path) == []


def test_only_the_owner_of_the_process_can_read_what_is_stored(media):
    storage.save(ORIGINALS, "a.png", b"private")

    assert stat.S_IMODE((media / "originals/a.png").stat().st_mode) == 0o600


def test_deleting_what_is_not_there_is_no_error(media):
    storage.save(RESULTS, "a.png", b"pixels")

    storage.delete(RESULTS, "a.png", "", "never-there.png")

    assert files(media) == []


def test_old_files_are_found_in_all_folders_and_young_ones_are_not(media):
    now = datetime.now(UTC)
    for name in ("a.png", "x/b.png", "x/y/c.png", "x/young.png"):
        storage.save(RESULTS, name, b"pixels")
    old = (now - timedelta(hours=2)).timestamp()
    for name in ("a.png", "x/b.png", "x/y/c.png"):
        os.utime(media / "results" / name, (old, old))

    found = sorted(storage.walk(RESULTS, older_than=now - timedelta(hours=1)))

    assert found == ["a.png", "x/b.png", "x/y/c.png"]


def test_a_storage_that_holds_nothing_yet_is_walked_all_the_same():
    assert list(storage.walk(ORIGINALS, older_than=datetime.now(UTC))) == []


def test_a_file_that_goes_while_we_look_is_passed_over(media):
    now = datetime.now(UTC) + timedelta(hours=1)
    for name in ("a.png", "b.png"):
        storage.save(RESULTS, name, b"pixels")

    walk = storage.walk(RESULTS, older_than=now)
    first = next(walk)
    storage.delete(RESULTS, "a.png", "b.png")

    assert list(walk) == []
    assert first in {"a.png", "b.png"}


def test_two_claims_of_one_item_never_share_a_name():
    batch, item = uuid.uuid4(), uuid.uuid4()

    keys = {storage.result_key(batch, item, uuid.uuid4(), 0, ".png") for _ in range(2)}

    assert len(keys) == 2
    assert all(key.startswith(f"{batch}/{item}.") and key.endswith(".0.png") for key in keys)


def test_an_original_is_named_after_owner_and_id_alone():
    owner, uid = uuid.uuid4(), uuid.uuid4()

    assert storage.original_key(owner, uid, ".jpg") == f"{owner}/{uid}.jpg"
