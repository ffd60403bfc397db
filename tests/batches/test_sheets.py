"""Spreadsheets are kept as they came, for as long as somebody has them, and no longer."""

import io
from datetime import timedelta

import pytest
from django.utils import timezone

from batches import drafts, erasure, lifecycle, sheets, storage
from batches.models import Batch, Sheet
from batches.reconcile import ORPHAN_AGE, sweep_orphans
from batches.states import BatchState
from tests.factories import bare_batch

pytestmark = pytest.mark.usefixtures("fake_tool", "media")

TEXT = b"photo,sku\nhttps://shop.example.com/mug.png,00123\n"
A_MONTH = timedelta(days=31)


@pytest.fixture
def sheet(alice) -> Sheet:
    return sheets.keep(alice, io.BytesIO(TEXT), "autumn/../catalogue.csv")


def is_there(sheet: Sheet) -> bool:
    """The row and the file: both, or neither."""
    row = Sheet.objects.filter(pk=sheet.pk).exists()
    try:
        with sheets.open_file(sheet):
            assert row, "a file that no row names"
    except FileNotFoundError:
        assert not row, "a row without its file"
    return row


def forget_old(*, now=None) -> int:
    return sheets.remove_unused(now=now or timezone.now())


def grow_old(sheet: Sheet) -> None:
    Sheet.objects.filter(pk=sheet.pk).update(updated_at=timezone.now() - A_MONTH)


@pytest.fixture
def committed(django_capture_on_commit_callbacks):
    """What follows the commits of a call has happened when it returns."""

    def run(call, *args, **kwargs):
        with django_capture_on_commit_callbacks(execute=True):
            return call(*args, **kwargs)

    return run


def test_a_file_is_kept_byte_for_byte(sheet, alice):
    with sheets.open_file(sheet) as file:
        assert file.read() == TEXT
    assert (sheet.owner, sheet.kind, sheet.name) == (alice, "csv", "catalogue.csv")
    assert sheet.bytes == len(TEXT)


def test_what_a_file_is_is_seen_in_its_bytes_and_not_in_its_name(alice):
    assert sheets.keep(alice, io.BytesIO(b"PK\x03\x04..."), "a.csv").kind == "xlsx"
    assert sheets.keep(alice, io.BytesIO(b"a,b"), "a.xlsx").kind == "csv"


def test_a_file_that_is_too_long_is_turned_away_and_leaves_nothing(alice, monkeypatch):
    monkeypatch.setattr(sheets, "MOST_BYTES", 10)

    with pytest.raises(sheets.TableError) as refused:
        sheets.keep(alice, io.BytesIO(b"x" * 11), "a.csv")

    assert refused.value.code == "sheet_too_large"
    assert not Sheet.objects.exists()
    assert not list(storage.walk(storage.ORIGINALS, older_than=timezone.now()))


def test_the_sweeper_knows_sheets_from_orphans(sheet, alice):
    lost = storage.sheet_key(alice.uid, alice.uid)
    storage.save(storage.ORIGINALS, lost, b"a,b")

    removed = sweep_orphans(now=timezone.now() + ORPHAN_AGE * 2)

    assert removed == 1
    assert is_there(sheet)


def test_a_sheet_goes_with_the_last_batch_that_was_made_of_it(sheet, alice, committed):
    first, last = (
        bare_batch(alice, state=BatchState.FINISHED, sheet=sheet, name=name) for name in "ab"
    )

    committed(lifecycle.delete, first)
    assert is_there(sheet)
    committed(lifecycle.delete, last)

    assert not is_there(sheet)


def test_a_sheet_that_is_still_on_a_page_outlives_its_batch(sheet, alice, committed):
    drafts.place(alice, "fake", {"sheet": [str(sheet.uid)]})
    batch = bare_batch(alice, state=BatchState.FINISHED, sheet=sheet)

    committed(lifecycle.delete, batch)

    assert is_there(sheet)


@pytest.mark.parametrize("kept_by", ["nothing", "page", "batch", "youth"])
def test_a_sheet_that_nothing_has_for_long_is_forgotten(sheet, alice, committed, kept_by):
    if kept_by != "youth":
        grow_old(sheet)
    if kept_by == "page":
        drafts.place(alice, "fake", {"sheet": [str(sheet.uid)]})
    if kept_by == "batch":
        bare_batch(alice, sheet=sheet)

    removed = committed(forget_old)

    assert removed == (kept_by == "nothing")
    assert is_there(sheet) == (kept_by != "nothing")


def test_sheets_go_with_the_account(sheet, alice):
    erasure.leave(alice, now=timezone.now())

    assert not is_there(sheet)
    assert not Batch.objects.exists()
