"""The form of a new batch."""

import pytest
from django.core import signing
from django.core.files.uploadedfile import SimpleUploadedFile

from batches import intake, lifecycle
from batches.forms import NewBatchForm, receive
from batches.models import Original
from batches.refusals import Refusal
from batches.sources.base import Row
from batches.states import ItemState
from tests.factories import make_original, picture


def form(**data: str) -> NewBatchForm:
    bound = NewBatchForm(data)
    assert bound.is_valid(), bound.errors
    return bound


def test_a_good_file_becomes_an_original(alice):
    file = SimpleUploadedFile("../../mug.png", picture())

    taken = receive(alice, file)

    assert taken == Original.objects.get(owner=alice)
    assert taken.name == "mug.png"


def test_a_file_that_is_too_long_is_turned_away_unread(alice):
    file = SimpleUploadedFile("huge.png", picture())
    file.size = 20 * 2**20 + 1
    file.file = None

    taken = receive(alice, file)

    assert isinstance(taken, Refusal)
    assert taken.code == "file_too_large"
    assert taken.message.startswith("20.1 MB; the limit is 20 MB.")


@pytest.mark.parametrize(
    ("data", "code"), [(b"", "file_empty"), (b"words, words, words", "format_unsupported")]
)
def test_a_file_that_is_no_image_is_turned_away_with_a_reason(alice, data, code):
    taken = receive(alice, SimpleUploadedFile("mug.png", data))

    assert isinstance(taken, Refusal)
    assert (taken.name, taken.code) == ("mug.png", code)
    assert not Original.objects.exists()


def test_a_refusal_survives_the_form():
    refusal = Refusal("mug, “blue”.png", "dimensions_too_large", {"w": 9000, "h": 9000, "max": 50})

    assert Refusal.from_token(refusal.token) == refusal
    assert len(refusal.token.split()) == 1


@pytest.mark.parametrize(
    "token",
    ["", "nonsense", signing.dumps(["a", "file_empty", {}])],
    ids=["nothing", "nonsense", "signed for something else"],  # a signature holds the time
)
def test_a_refusal_that_we_did_not_sign_is_ignored(token):
    assert Refusal.from_token(token) is None
    assert form(refused=token).cleaned_data["refused"] == []


def test_uploads_are_kept_once_each_in_their_order(alice):
    first, second = make_original(alice, 1), make_original(alice, 2)

    found = form(uploads=f"{second.uid} {first.uid} {second.uid} not-an-id")

    assert found.cleaned_data["uploads"] == [str(second.uid), str(first.uid)]


def test_rows_are_uploads_then_refused_files_then_addresses_with_their_lines():
    refusal = Refusal("bad.png", "file_empty")
    uid = "6a1f9f5e-7a52-4c1c-8f3f-7f1f1f1f1f1f"

    rows = form(
        uploads=uid,
        refused=refusal.token,
        urls="\n https://a.example.com/1.png \n\nhttps://b.example.com/",
    ).rows()

    assert rows == [
        Row(upload=uid),
        Row(name="bad.png", refusal=("file_empty", {})),
        Row(url="https://a.example.com/1.png", line=2),
        Row(url="https://b.example.com/", line=4),
    ]


def test_what_is_given_twice_is_taken_once_and_counted(alice):
    urls = "https://a.example.com/\nhttps://b.example.com/\nhttps://a.example.com/"
    bound = form(urls=urls, twice="leave")
    files = [SimpleUploadedFile(f"{n}.png", picture()) for n in range(3)]

    bound.take_in(alice, files)
    rows = bound.rows()

    assert [row.line for row in rows] == [None, 1, 2]
    assert bound.duplicates == 3


def test_a_refused_file_is_a_failed_item_that_costs_nothing(alice, fake_tool):
    rows = [
        Row(upload=str(make_original(alice).uid)),
        Row(name="big.png", refusal=("file_too_large", {"size": 20.1, "max": 20})),
    ]

    batch = lifecycle.create(alice, fake_tool, rows, skip_invalid=True)

    good, bad = batch.items.order_by("position")
    assert good.state == ItemState.PENDING
    assert (bad.state, bad.error_code, bad.held_price) == (ItemState.FAILED, "file_too_large", 0)
    assert bad.name == "big.png"
    assert bad.error.startswith("20.1 MB")


def test_a_refused_file_stops_a_batch_that_must_be_whole(alice, fake_tool):
    rows = [Row(name="empty.png", refusal=("file_empty", {}))]

    with pytest.raises(intake.RowsInvalid) as caught:
        lifecycle.create(alice, fake_tool, rows)

    [error] = caught.value.errors
    assert (error.index, error.code, error.detail) == (0, "file_empty", "The file is empty.")


def test_a_refused_file_can_not_be_retried(alice, fake_tool):
    rows = [
        Row(upload=str(make_original(alice).uid)),
        Row(name="a.png", refusal=("file_empty", {})),
    ]
    batch = lifecycle.create(alice, fake_tool, rows, skip_invalid=True)
    lifecycle.start(batch)

    with pytest.raises(lifecycle.StateConflict):
        lifecycle.retry(batch)
