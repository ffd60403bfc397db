"""Causes of failures, and which file or address is meant for which image."""

import uuid

import pytest

from batches.triage import Failure, Fix, groups, matched, with_prefix


def failure(
    name: str = "a.png", *, url: str = "", code: str = "source_not_found", **more
) -> Failure:
    fields = {"position": 0, "has_original": False, "params": {}} | more
    return Failure(uid=uuid.uuid4(), name=name, url=url, code=code, **fields)


def test_failures_are_grouped_by_cause_and_host_the_commonest_first():
    one = failure(url="https://a.com/1.png")
    others = [failure(url=f"https://b.com/{n}.png") for n in range(2)]

    found = groups([one, *others])

    assert [(group.host, len(group.failures)) for group in found] == [("b.com", 2), ("a.com", 1)]


@pytest.mark.parametrize(
    ("code", "url", "has_original", "fix"),
    [
        ("source_forbidden", "https://a.com/1", False, Fix.PREFIX),
        ("file_too_large", "https://a.com/1", False, Fix.SHRINK),
        ("file_too_large", "", False, Fix.REPLACE),
        ("file_damaged", "https://a.com/1", False, Fix.REPLACE),
        ("no_subject", "", True, Fix.SETTINGS),
        ("source_unreachable", "https://a.com/1", False, Fix.RETRY),
    ],
)
def test_each_cause_has_the_fix_that_can_help(code, url, has_original, fix):
    assert failure(url=url, code=code, has_original=has_original).fix == fix


def test_a_sentence_has_figures_only_where_all_have_the_same():
    sizes = [
        failure(code="file_too_large", url="https://a.com/1", params={"size": n, "max": 20})
        for n in (31, 44)
    ]

    assert groups(sizes)[0].message.startswith("Over 20 MB")
    assert groups(sizes[:1])[0].message.startswith("31 MB")


def test_the_common_beginning_ends_with_a_slash():
    urls = ["https://a.com/old/x1.png", "https://a.com/old/x2.png"]

    (group,) = groups(failure(url=url) for url in urls)

    assert group.prefix == "https://a.com/old/"


def test_the_beginning_of_one_address_is_its_folder():
    (group,) = groups([failure(url="https://a.com/old/x1.png")])

    assert group.prefix == "https://a.com/old/"


def test_only_addresses_that_begin_like_that_are_changed():
    fits, other = failure(url="https://a.com/old/1"), failure(url="https://a.com/new/1")

    changed = with_prefix([fits, other], old="https://a.com/old/", new="https://b.com/")

    assert changed == {fits.uid: "https://b.com/1"}


def test_files_are_matched_by_name_then_by_name_without_ending():
    first, second = failure("Mug.heic"), failure("plate.png")

    found = matched([first, second], ["plate.png", "mug.jpg", "stranger.png"])

    assert found == {first.uid: 1, second.uid: 0}


def test_a_name_that_two_have_is_matched_by_the_whole_name_only():
    png, jpg = failure("mug.png"), failure("mug.jpg")

    assert matched([png, jpg], ["mug.webp", "x.png"]) == {}
    assert matched([png, jpg], ["mug.jpg", "x.png"]) == {
        jpg.uid: 0,
    }


def test_one_file_for_one_image_needs_no_name():
    only = failure("mug.png")

    assert matched([only], ["whatever.jpg"]) == {only.uid: 0}
