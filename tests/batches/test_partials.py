"""Pieces of files: kept in order, joined once, and gone when nobody wants them any more."""

import io
from copy import copy
from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from batches import drafts, intake, partials, storage
from batches.models import DraftImage, Original, PartialUpload
from batches.reconcile import ORPHAN_AGE, sweep_orphans
from tests.batches.races import at_once
from tests.factories import picture

pytestmark = pytest.mark.usefixtures("media", "fake_tool")

MUG = picture(1)


class Broken(io.BytesIO):
    """A connection that breaks after what it has brought."""

    def read(self, size: int = -1, /) -> bytes:
        data = super().read(size)
        if not data:
            raise OSError("connection reset")
        return data


def opened(owner, length: int = len(MUG), **options) -> PartialUpload:
    made = partials.create(owner, length=length, name="mug.png", **options)
    assert isinstance(made, PartialUpload)
    return made


def append(upload: PartialUpload, data: bytes, *, offset: int = 0) -> str:
    """What one request does with the row that it has read."""
    mine = copy(upload)  # each web thread has its own
    try:
        partials.append(mine, io.BytesIO(data), offset=offset, announced=len(data))
        partials.finish(mine)
    except (partials.OffsetConflict, partials.Gone) as refused:
        return type(refused).__name__
    return "kept"


def read(upload: PartialUpload) -> PartialUpload:
    return PartialUpload.objects.select_related("owner").get(pk=upload.pk)


def pieces(folder) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.piece"))


def test_a_connection_that_breaks_leaves_what_it_has_brought(alice, media):
    upload = opened(alice)

    partials.append(upload, Broken(MUG[:50]), offset=0, announced=len(MUG))

    upload.refresh_from_db()
    assert upload.offset == 50
    assert [storage.read(storage.ORIGINALS, key) for key in upload.pieces] == [MUG[:50]]


def test_a_connection_that_brings_nothing_leaves_nothing(alice, media):
    upload = opened(alice)

    partials.append(upload, Broken(b""), offset=0, announced=len(MUG))

    upload.refresh_from_db()
    assert (upload.offset, upload.pieces, pieces(media)) == (0, [], [])


def test_a_piece_that_waits_on_the_disk_is_whole(alice, monkeypatch):
    monkeypatch.setattr(partials, "IN_MEMORY", 100)
    monkeypatch.setattr(partials, "CHUNK", 64)
    upload = opened(alice)

    append(upload, MUG)

    assert Original.objects.get().bytes == len(MUG)


def test_pieces_whose_original_was_made_by_somebody_else_are_not_missed(alice):
    upload = opened(alice)
    partials.append(upload, io.BytesIO(MUG), offset=0, announced=len(MUG))
    late = read(upload)
    partials.finish(upload)

    partials.finish(late)

    assert late.outcome == upload.outcome == {"upload": str(Original.objects.get().uid)}


def test_forgotten_uploads_take_their_pieces_along(alice, media):
    old, young = opened(alice), opened(alice)
    append(old, MUG[:10])
    append(young, MUG[:10])
    now = timezone.now()
    PartialUpload.objects.filter(pk=old.pk).update(updated_at=now - timedelta(hours=25))

    removed = partials.prune(now=now)

    assert removed == 1
    assert PartialUpload.objects.get() == young
    assert pieces(media)[0].startswith(str(young.uid))


def test_pieces_of_open_uploads_are_no_orphans(alice, media):
    upload = opened(alice)
    append(upload, MUG[:10])
    stray = storage.piece_key(alice.uid, PartialUpload().uid, 0)
    storage.save(storage.ORIGINALS, stray, b"whose?")
    storage.save(storage.ORIGINALS, f"{alice.uid}/nonsense.piece", b"what?")

    removed = sweep_orphans(now=timezone.now() + 2 * ORPHAN_AGE)

    assert removed == 2
    upload.refresh_from_db()
    assert pieces(media) == [key.rsplit("/", 1)[-1] for key in upload.pieces]


def test_removing_what_somebody_else_has_open_does_nothing(alice, bob):
    upload = opened(alice)

    assert not partials.remove(upload.uid, owner=bob)
    assert PartialUpload.objects.exists()


# --- At once --------------------------------------------------------------------------


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_two_requests_for_the_same_bytes_leave_them_once(alice, media):
    for number in range(8):
        data = picture(number)
        upload = opened(alice, len(data))

        answers = at_once(*[partial(append, upload, data[:99])] * 3)

        upload = read(upload)
        assert sorted(answers) == ["OffsetConflict", "OffsetConflict", "kept"]
        assert upload.offset == 99
        assert pieces(media) == [key.rsplit("/", 1)[-1] for key in upload.pieces]
        append(upload, data[99:], offset=99)
        assert pieces(media) == []
    assert Original.objects.count() == 8


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_two_who_finish_at_once_finish_it_once(alice, media):
    for number in range(8):
        data = picture(number) if number % 2 else b"words, words"
        upload = opened(alice, len(data), tool="fake")
        partials.append(upload, io.BytesIO(data), offset=0, announced=len(data))
        twins = [read(upload) for _ in range(3)]

        at_once(*[partial(partials.finish, twin) for twin in twins])

        outcomes = [twin.outcome for twin in twins]
        assert outcomes[0]
        assert outcomes == [outcomes[0]] * 3
        assert pieces(media) == []
        assert DraftImage.objects.count() == number + 1
    assert len(drafts.contents(alice, "fake").refused) == 4


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_an_upload_that_is_ended_while_bytes_come_leaves_no_piece(alice, media):
    for _ in range(10):
        upload = opened(alice)

        kept, removed = at_once(
            partial(append, upload, MUG[:50]), partial(partials.remove, upload.uid, owner=alice)
        )

        assert removed
        assert kept in {"kept", "Gone"}
        assert pieces(media) == []
        assert not PartialUpload.objects.exists()


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_one_that_is_gone_on_with_while_it_expires_is_whole_or_gone(alice, media):
    for _ in range(10):
        upload = opened(alice)
        append(upload, MUG[:50])
        PartialUpload.objects.update(updated_at=timezone.now() - timedelta(hours=25))

        kept, _removed = at_once(
            partial(append, read(upload), MUG[50:99], offset=50),
            partial(partials.prune, now=timezone.now()),
        )

        left = PartialUpload.objects.first()
        assert (kept == "kept") == (left is not None)
        assert len(pieces(media)) == (2 if left else 0)
        PartialUpload.objects.all().delete()
        for path in media.rglob("*.piece"):
            path.unlink()


def test_the_same_file_from_two_uploads_is_one_original(alice):
    for upload in (opened(alice), opened(alice)):
        append(upload, MUG)

    assert Original.objects.count() == 1
    assert intake.receive(alice, MUG, name="mug.png")[1] is False
