"""What people sent and nothing needs any more goes; nothing else does."""

import random
from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from batches import drafts, intake, storage, uploads
from batches.models import (
    Asset,
    Batch,
    Delivery,
    Draft,
    DraftImage,
    Item,
    Original,
    PartialUpload,
    Result,
    SettingImage,
    Sheet,
)
from batches.sources.base import Row
from batches.states import BatchState
from tests import pages
from tests.batches.races import at_once
from tests.factories import bare_batch, bare_item, make_original, picture
from tools import registry

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media", "fake_tool", "valkey")]

WEEK = uploads.KEPT_FOR
MONTH = timedelta(days=31)


@pytest.fixture
def prune(django_capture_on_commit_callbacks):
    """Prune as if so much time had gone by, and let what comes after the commits happen."""

    def prune(after: timedelta, *, dry_run: bool = False) -> int:
        with django_capture_on_commit_callbacks(execute=True):
            return uploads.prune(now=timezone.now() + after, dry_run=dry_run)

    return prune


def files() -> set[tuple[str, str]]:
    """All stored files, by storage."""
    later = timezone.now() + timedelta(days=1)
    return {
        (alias, key)
        for alias in (storage.ORIGINALS, storage.RESULTS)
        for key in storage.walk(alias, older_than=later)
    }


def test_an_upload_that_nothing_uses_is_there_for_a_week(alice, prune):
    make_original(alice)

    early = prune(WEEK - timedelta(minutes=1))
    late = prune(WEEK + timedelta(minutes=1))

    assert (early, late) == (0, 1)
    assert not Original.objects.exists()
    assert files() == set()


def test_the_week_begins_anew_when_the_same_file_is_sent_again(alice, prune):
    old = make_original(alice)
    Original.objects.update(received_at=timezone.now() - WEEK - timedelta(days=1))

    again, is_new = intake.receive(alice, picture(0), name="again.png")

    assert (again.pk, is_new) == (old.pk, False)
    assert prune(timedelta(0)) == 0


def test_a_file_that_is_sent_again_when_it_has_just_gone_is_taken_in_anew(alice, prune):
    make_original(alice)
    Original.objects.update(received_at=timezone.now() - WEEK - timedelta(days=1))
    prune(timedelta(0))

    _original, is_new = intake.receive(alice, picture(0), name="again.png")

    assert is_new


def test_what_is_put_on_a_page_again_stays(alice, prune):
    old = make_original(alice)
    Original.objects.update(received_at=timezone.now() - WEEK - timedelta(days=1))
    old.refresh_from_db()

    drafts.add(alice, "fake", [old])
    drafts.remove(alice, "fake", uploads=[old.uid])

    assert prune(timedelta(0)) == 0


def test_a_page_shows_nothing_that_went_while_it_was_chosen(alice, prune):
    old = make_original(alice)
    Original.objects.update(received_at=timezone.now() - WEEK - timedelta(days=1))
    old.refresh_from_db()
    prune(timedelta(0))

    drafts.add(alice, "fake", [old])

    assert drafts.contents(alice, "fake").originals == []


USES = ("item", "setting", "page", "form", "waiting settings", "plan", "again", "nothing")


def use(owner, original, how: str) -> None:
    """Have something need an upload."""
    if how == "item":
        batch = bare_batch(owner, state=BatchState.FINISHED)
        bare_item(batch, original=original)
    elif how == "setting":
        batch = bare_batch(owner, state=BatchState.RUNNING)
        SettingImage.objects.create(batch=batch, value=str(original.uid), original=original)
    elif how == "page":
        drafts.add(owner, "fake", [original])
    elif how == "form":
        drafts.save_fields(owner, "optimize", {"mask": [str(original.uid).upper()]})
    elif how == "waiting settings":
        bare_batch(owner, state=BatchState.DRAFT, settings={"background": original.uid.hex})
    elif how == "plan":
        plan = {"rows": [{"settings": {"mask": str(original.uid)}}]}
        bare_batch(owner, state=BatchState.IMPORTING, plan=plan)
    elif how == "again":
        Original.objects.filter(pk=original.pk).update(received_at=timezone.now())


@pytest.mark.parametrize("seed", range(4))
def test_exactly_what_nothing_needs_goes(seed, alice, bob, prune):
    chance = random.Random(seed)
    needed, unneeded = set(), set()
    often = [how for how in USES if how != "form"]  # of which a page has one
    chosen = [*USES, *chance.choices(often, k=10)]
    for number, how in enumerate(chosen):
        owner = chance.choice([alice, bob])
        original = make_original(owner, number)
        long_ago = timezone.now() - WEEK - timedelta(minutes=1)
        Original.objects.filter(pk=original.pk).update(received_at=long_ago)
        use(owner, original, how)
        (unneeded if how == "nothing" else needed).add(original.pk)
    would = prune(timedelta(0), dry_run=True)
    assert Original.objects.count() == len(chosen)

    done = prune(timedelta(0))

    assert done == would
    assert done == len(unneeded)
    assert set(Original.objects.values_list("pk", flat=True)) == needed
    keys = Original.objects.values_list("key", "thumbnail_key")
    assert {key for _alias, key in files()} == {key for pair in keys for key in pair}


def test_a_whole_site_loses_no_row_and_no_file_that_it_needs(prune):
    pages.build()
    Original.objects.update(received_at=timezone.now() - 100 * WEEK)
    kept = (Batch, Item, Result, Asset, Sheet, Delivery, Draft, DraftImage, PartialUpload)
    before = {model: model.objects.count() for model in kept}
    needed = Original.objects.exclude(items=None, setting_images=None, drafts=None)
    needed_before = set(needed.values_list("pk", flat=True))

    gone = prune(timedelta(0))

    assert gone == prune(timedelta(0), dry_run=True) + gone
    assert {model: model.objects.count() for model in kept} == before
    assert set(needed.values_list("pk", flat=True)) == needed_before
    stored = {key for _alias, key in files()}
    for model in (Original, Result, Asset):
        for key, thumbnail in model.objects.values_list("key", "thumbnail_key"):
            assert {key, thumbnail} - {""} <= stored


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_two_runs_and_a_batch_that_takes_an_old_upload_at_once(alice):
    from batches import lifecycle

    for number in range(6):
        make_original(alice, number)
    Original.objects.update(received_at=timezone.now() - WEEK - timedelta(days=1))
    wanted = [Row(upload=str(uid)) for uid in Original.objects.values_list("uid", flat=True)[:3]]

    def make():
        try:
            return lifecycle.create(alice, registry.get("fake"), wanted)
        except intake.RowsInvalid:
            return None

    now = timezone.now()
    first, second, batch = at_once(*[partial(uploads.prune, now=now)] * 2, make)

    taken = set(Item.objects.values_list("original", flat=True))
    assert first + second == 6 - len(taken)
    assert (batch is None) == (not taken)
    assert set(Original.objects.values_list("pk", flat=True)) == taken
    stored = {key for _alias, key in files()}
    for original in Original.objects.all():
        assert {original.key, original.thumbnail_key} <= stored
