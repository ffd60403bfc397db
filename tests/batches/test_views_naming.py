"""What the page of a new batch says beforehand, and what it starts: names, reuse, duplicates."""

import io
import json

import pytest
from django.urls import reverse

from batches import drafts, lifecycle, sheets
from batches.models import Batch
from batches.sources.base import Row
from tests.factories import give, make_original
from tools import registry

pytestmark = pytest.mark.usefixtures("fake_tool", "rings_at_once", "no_welcome", "sound", "media")

HERE = "/tools/fake/"


@pytest.fixture
def page(alice, client):
    """Alice's browser."""
    client.force_login(alice)
    give(alice, 100)
    return client


def example(client, pattern: str) -> str:
    answer = client.get(reverse("batches:name_example", args=["fake"]), {"name_pattern": pattern})
    assert answer.status_code == 200
    return answer.content.decode()


def start(client, **fields):
    return client.post(HERE, {"urls": "", "uploads": "", "refused": "", "folders": "", **fields})


def test_the_example_is_that_of_the_first_image_on_the_page(alice, page):
    assert "photo-001.png" in example(page, "{name}-{n:03}")

    drafts.add(alice, "fake", [make_original(alice, name="Mug & cup.jpg")])

    assert "blue/Mug &amp; cup-001.png" in example(page, "blue/{name}-{n:03}")
    assert "There is no {nmae}" in example(page, "{nmae}")


def test_the_example_has_the_columns_of_the_sheet_on_the_page(alice, page):
    table = b"Photo,SKU,Shop\nhttps://a.example.com/mug.jpg,A-1,Rome\n"
    sheet = sheets.keep(alice, io.BytesIO(table), name="mugs.csv")
    sheets.look(sheet, registry.get("fake"))
    drafts.place(alice, "fake", {"sheet": [str(sheet.uid)]})

    assert "Rome/A-1-1.png" in example(page, "{Shop}/{sku}-{n}")
    assert "There is no {Size}" in example(page, "{Size}")


def test_a_stranger_sees_an_example_too(client):
    assert "photo-1.png" in example(client, "{name}-{n}")


def test_what_was_done_before_is_known_before_it_is_started(alice, bob, page, client, run_jobs):
    originals = [make_original(alice, number) for number in range(3)]
    rows = [Row(upload=str(original.uid)) for original in originals[:2]]
    lifecycle.start(lifecycle.create(alice, registry.get("fake"), rows))
    run_jobs()

    def free(**settings) -> int:
        uploads = " ".join(str(original.uid) for original in originals)
        form = {"uploads": f"{uploads} x", **settings}
        return page.post("/tools/fake/quote/", form).json()["free"]

    usual = {"style": "negative", "strength": "1.0", "copies": "1", "trouble": "none"}
    assert free(**usual) == 2
    assert free(**usual | {"style": "grey"}) == 0
    assert free(**usual | {"style": "no such"}) == 0
    client.force_login(bob)
    assert free(**usual) == 0


def test_pasted_duplicates_each_become_an_image_and_are_paid_for_once(alice, page, server):
    urls = "\n".join([server.url("/ok"), server.url("/ok"), "nonsense", "nonsense"])

    assert start(page, urls=urls).status_code == 302

    batch = Batch.objects.get()
    items = list(batch.items.order_by("position"))
    assert [item.state for item in items] == ["queued", "queued", "failed"]
    assert items[1].twin_of == items[0]
    assert [item.held_price for item in items] == [2, 0, 0]


def test_they_may_be_left_out_instead(alice, page, server):
    start(page, urls="\n".join([server.url("/ok")] * 3), twice="leave")

    assert Batch.objects.get().items.count() == 1


def test_the_page_names_results_and_keeps_folders(alice, page):
    one, two = make_original(alice, 0, name="front.png"), make_original(alice, 1, name="back.png")
    folders = json.dumps({str(one.uid): "shoes/left", str(two.uid): "../x"})

    start(page, uploads=f"{one.uid} {two.uid}", folders=folders, name_pattern="{name}-{n}")

    batch = Batch.objects.get()
    stems = list(batch.items.order_by("position").values_list("stem", flat=True))
    assert stems == ["shoes/left/front-1", "x/back-2"]
    assert batch.reuse
    assert batch.pattern == "{name}-{n}"


@pytest.mark.parametrize("folders", ["[", "[]", '{"a": 1}'])
def test_folders_that_make_no_sense_are_none(alice, page, folders):
    start(page, uploads=str(make_original(alice, 0, name="a.png").uid), folders=folders)

    assert Batch.objects.get().items.get().stem == "a"


@pytest.mark.parametrize(
    ("pattern", "why"), [("{nmae}", "There is no {nmae}"), ("same", "Rows 1 and 2 would both")]
)
def test_a_pattern_that_can_not_be_used_is_marked_in_place(alice, page, pattern, why):
    uploads = " ".join(str(make_original(alice, number).uid) for number in range(2))

    answer = start(page, uploads=uploads, name_pattern=pattern)

    assert answer.status_code == 422
    assert why in answer.context["form"].errors["name_pattern"][0]
    assert 'aria-invalid="true"' in answer.content.decode()
    assert not Batch.objects.exists()


def test_everything_may_be_run_anew(alice, page, run_jobs):
    upload = str(make_original(alice).uid)
    for fields, price in (({}, 2), ({}, 0), ({"anew": "true"}, 2)):
        start(page, uploads=upload, **fields)
        run_jobs()
        assert Batch.objects.latest("pk").items.get().price == price


def test_an_image_that_was_served_again_says_so_and_links_to_the_earlier_one(alice, page, run_jobs):
    upload = str(make_original(alice).uid)
    for _ in range(2):
        start(page, uploads=upload)
        run_jobs()

    first, second = Batch.objects.order_by("pk")
    item = second.items.get()
    told = page.get(reverse("batches:item", args=[item.uid])).content.decode()
    assert reverse("batches:item", args=[first.items.get().uid]) in told
    assert "Done before" in page.get(second.get_absolute_url()).content.decode()


def test_a_single_image_is_served_again_and_may_be_run_anew(alice, page, run_jobs):
    upload = str(make_original(alice).uid)
    prices, pages = [], []
    for fields in ({}, {}, {"anew": "1"}):
        answer = page.post("/tools/fake/single/", {"upload": upload, **fields}, follow=False)
        run_jobs()
        prices.append(Batch.objects.latest("pk").items.get().price)
        pages.append("Run it anew" in page.get(answer.url).content.decode())

    assert prices == [2, 0, 2]
    assert pages == [False, True, False]
