"""What is on a tool's page: added from two tabs at once, taken out once, forgotten in the end."""

from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from batches import drafts
from batches.models import Draft, DraftImage
from batches.refusals import Refusal
from tests.batches.races import at_once
from tests.factories import make_original

pytestmark = pytest.mark.usefixtures("media")

REFUSED = Refusal("notes.png", "format_unsupported", {"format": "text"})


def names(owner, tool: str = "fake") -> list[str]:
    found = drafts.contents(owner, tool)
    return [one.name for one in [*found.originals, *found.refused]]


def test_looking_makes_nothing(alice):
    assert drafts.contents(alice, "fake") == drafts.Contents()
    assert not Draft.objects.exists()


def test_an_image_is_there_once_and_keeps_its_place(alice):
    first, second = make_original(alice, 0), make_original(alice, 1)

    drafts.add(alice, "fake", [first, second])
    drafts.add(alice, "fake", [first, REFUSED])

    assert names(alice) == [first.name, second.name, "notes.png"]


def test_a_form_that_was_read_before_something_was_placed_does_not_undo_it(alice):
    drafts.place(alice, "fake", {"connected": ["a", "b"], "sheet": ["one"], "sheet_after": ["7"]})

    drafts.save_fields(alice, "fake", {"urls": ["x"], "connected": ["a"], "sheet": ["old"]})
    drafts.place(alice, "fake", {"sheet_after": []})

    assert drafts.contents(alice, "fake").fields == {
        "urls": ["x"],
        "connected": ["a", "b"],
        "sheet": ["one"],
    }


def test_what_was_typed_before_signing_in_joins_what_is_there(alice):
    drafts.save_fields(alice, "fake", {"urls": ["a\nb"], "batch_name": ["Mugs"], "style": ["grey"]})

    drafts.adopt(alice, "fake", {"urls": ["b\nc"], "batch_name": [""], "style": ["warm"]})

    assert drafts.contents(alice, "fake").fields == {
        "urls": ["a\nb\nc"],
        "batch_name": ["Mugs"],
        "style": ["warm"],
    }


def test_removing_from_a_page_that_nobody_has_used_is_no_error(alice):
    drafts.remove(alice, "fake", uploads=[make_original(alice).uid], refused=["forged"])

    assert not Draft.objects.exists()


def test_a_page_that_nobody_has_touched_for_a_month_is_forgotten(alice, bob):
    drafts.add(alice, "fake", [make_original(alice), REFUSED])
    drafts.add(bob, "fake", [REFUSED])
    old = timezone.now() - timedelta(days=31)
    Draft.objects.filter(owner=alice).update(updated_at=old)

    removed = drafts.prune(now=timezone.now())

    assert removed == 1
    assert (names(alice), names(bob)) == ([], ["notes.png"])


def test_adding_keeps_a_page_alive(alice):
    drafts.save_fields(alice, "fake", {"urls": ["a"]})
    Draft.objects.update(updated_at=timezone.now() - timedelta(days=31))

    drafts.add(alice, "fake", [REFUSED])

    assert drafts.prune(now=timezone.now()) == 0


def test_adding_costs_the_same_whatever_is_there(
    alice, django_assert_num_queries, django_assert_max_num_queries
):
    originals = [make_original(alice, number) for number in range(4)]
    drafts.add(alice, "fake", originals[:1])
    with django_assert_max_num_queries(9) as few:
        drafts.add(alice, "fake", originals[1:2])

    drafts.add(alice, "fake", [REFUSED] * 300)

    with django_assert_num_queries(len(few)):
        drafts.add(alice, "fake", originals[2:3])


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_tabs_that_add_at_once_all_find_their_images_there(alice):
    originals = [make_original(alice, number) for number in range(8)]

    # Each image from two tabs, and the page itself is made by whoever comes first.
    at_once(*[partial(drafts.add, alice, "fake", [one]) for one in originals * 2])

    assert sorted(names(alice)) == sorted(one.name for one in originals)
    assert Draft.objects.count() == 1


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_what_is_added_while_a_batch_starts_stays(alice):
    for number in range(8):
        started, late = make_original(alice, 2 * number), make_original(alice, 2 * number + 1)
        drafts.add(alice, "fake", [started])
        taken = drafts.Started(uploads=[str(started.uid)], refused=[], addresses=["a"])

        at_once(
            partial(drafts.take_out, alice, "fake", taken, {"urls": ["a\nb"]}),
            partial(drafts.add, alice, "fake", [late]),
        )

        assert names(alice) == [late.name]
        assert drafts.contents(alice, "fake").fields["urls"] == ["b"]
        DraftImage.objects.all().delete()


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_a_page_that_is_used_while_it_is_forgotten_holds_what_was_added(alice):
    for number in range(8):
        original = make_original(alice, number)
        drafts.add(alice, "fake", [REFUSED])
        Draft.objects.update(updated_at=timezone.now() - timedelta(days=31))

        at_once(
            partial(drafts.prune, now=timezone.now()),
            partial(drafts.add, alice, "fake", [original]),
        )

        assert original.name in names(alice)
        Draft.objects.all().delete()
