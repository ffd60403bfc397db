"""A sheet on a tool's page: put there, understood, judged, started, and gone; without a script."""

import io
import re

import pytest
from django.contrib.messages import get_messages
from django.core.files.uploadedfile import SimpleUploadedFile

from batches import drafts, imports, sheets
from batches.models import Batch, Sheet
from batches.states import BatchState, ItemState
from credits import ledger
from tests.factories import give, make_original
from tools import registry

pytestmark = pytest.mark.usefixtures("fake_tool", "media", "valkey", "no_welcome", "sound")

PAGE = "/tools/fake/"
CHANGE = "/tools/fake/sheet/change/"
TABLE = """photo,title,sku,strength,colour of box
https://a.example.com/1.png,mug,00123,0.5,red
https://a.example.com/2.png,cup,00124,,blue
ftp://a.example.com/3.png,jug,00125,7,green
"""


@pytest.fixture
def alice_here(client, alice):
    give(alice, 100)
    client.force_login(alice)
    return client


def a_file(text: str = TABLE, name: str = "autumn.csv") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, text.encode())


def put(client, text: str = TABLE, *, htmx: bool = True, **fields):
    headers = {"HX-Request": "true"} if htmx else {}
    return client.post(CHANGE, {"sheet_file": a_file(text), **fields}, headers=headers)


def change(client, sheet: Sheet, *, trigger: str = "", **fields):
    headers = {"HX-Request": "true", **({"HX-Trigger-Name": trigger} if trigger else {})}
    return client.post(CHANGE, {"sheet": str(sheet.uid), **fields}, headers=headers)


def the_sheet() -> Sheet:
    return Sheet.objects.get()


def start(client, sheet: Sheet, **fields):
    return client.post(PAGE, {"sheet": str(sheet.uid), "uploads": "", "refused": "", **fields})


def words(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def test_a_file_is_shown_with_what_its_columns_seem_to_be(alice_here):
    answer = put(alice_here)

    panel = answer.context["panel"]
    assert [(column.name, column.what) for column in panel.columns] == [
        ("photo", "url"),
        ("title", "name"),
        ("sku", "id"),
        ("strength", "strength"),
        ("colour of box", "ignore"),
    ]
    assert panel.unused == ["colour of box"]
    assert "00123" in words(answer)
    assert "2 rows will run · 1 has a problem" in words(answer)


def test_problems_name_row_column_value_and_reason(alice_here):
    put(alice_here)

    panel = alice_here.get("/tools/fake/sheet/", headers={"HX-Request": "true"}).context["panel"]

    assert [(one.line, one.column, one.value) for one in panel.problems] == [
        (4, "photo", "ftp://a.example.com/3.png"),
        (4, "strength", "7"),
    ]
    assert all(one.detail for one in panel.problems)


def test_without_a_script_the_page_comes_back_with_the_sheet(alice_here):
    answer = put(alice_here, htmx=False, urls="https://a.example.com/x.png", follow="")

    page = alice_here.get(answer.url)

    assert answer.status_code == 302
    assert "2 rows will run" in words(page)
    assert page.context["form"].initial["urls"] == "https://a.example.com/x.png"


def test_a_sheet_stays_on_the_page_until_it_is_removed(alice_here, alice):
    put(alice_here)
    assert f'value="{the_sheet().uid}"' in alice_here.get(PAGE).content.decode()

    change(alice_here, the_sheet(), sheet_do="remove")

    assert drafts.contents(alice, "fake").fields.get("sheet") is None
    assert not Sheet.objects.exists()


def test_another_file_takes_its_place(alice_here):
    put(alice_here)

    alice_here.post(
        CHANGE, {"sheet": str(the_sheet().uid), "sheet_file": a_file(name="winter.csv")}
    )

    assert the_sheet().name == "winter.csv"


def test_a_column_that_is_chosen_takes_its_part_over(alice_here):
    put(alice_here, "front,back\nhttps://a.example.com/1.png,https://a.example.com/2.png\n")

    change(alice_here, the_sheet(), trigger="column-1", **{"column-0": "url", "column-1": "url"})

    assert the_sheet().mapping == {"front": "ignore", "back": "url"}


def test_a_part_that_does_not_exist_changes_nothing(alice_here):
    put(alice_here)
    before = the_sheet().mapping

    change(alice_here, the_sheet(), **{"column-0": "everything"})

    assert the_sheet().mapping == before


def test_without_a_column_of_addresses_it_says_so_and_can_not_start(alice_here):
    put(alice_here)

    answer = change(alice_here, the_sheet(), **{"column-0": "ignore"})

    assert answer.context["panel"].checked is None
    assert len(answer.context["panel"].errors) == 1
    assert start(alice_here, the_sheet(), sheet_skip="yes").status_code == 422
    assert not Batch.objects.exists()


def test_a_file_that_is_no_table_is_turned_away_and_the_old_sheet_stays(alice_here):
    put(alice_here)
    old = the_sheet()

    answer = alice_here.post(
        CHANGE,
        {"sheet": str(old.uid), "sheet_file": SimpleUploadedFile("a.csv", b"\x89PNG\r\n\x1a\n123")},
        headers={"HX-Request": "true"},
    )

    assert answer.context["panel"].sheet == old
    assert len(answer.context["panel"].errors) == 1
    assert the_sheet() == old


def test_a_link_that_is_none_of_googles_is_refused_in_words(alice_here):
    answer = alice_here.post(
        CHANGE,
        {"sheet_link": "https://a.example.com/sheet", "sheet_do": "link"},
        headers={"HX-Request": "true"},
    )

    assert "Google Sheet" in answer.context["panel"].errors[0]
    assert 'value="https://a.example.com/sheet"' in answer.content.decode()


def test_somebody_elses_sheet_is_not_there(alice_here, bob):
    theirs = sheets.keep(bob, io.BytesIO(TABLE.encode()), "theirs.csv")

    answer = change(alice_here, theirs, sheet_do="remove")
    start(alice_here, theirs)

    assert answer.context["panel"].sheet is None
    assert Sheet.objects.filter(pk=theirs.pk).exists()
    assert not Batch.objects.exists()


def test_nothing_starts_before_somebody_has_said_what_becomes_of_bad_rows(alice_here):
    put(alice_here)

    answer = start(alice_here, the_sheet())

    assert answer.status_code == 422
    assert "1 row of the sheet has a problem" in words(answer)
    assert not Batch.objects.exists()


def test_a_started_sheet_is_a_batch_with_its_rows_and_leaves_the_page(alice_here, alice):
    put(alice_here)

    answer = start(alice_here, the_sheet(), sheet_skip="yes", style="grey")

    batch = Batch.objects.get()
    items = list(batch.items.order_by("position"))
    assert answer.url == batch.get_absolute_url()
    assert (batch.state, batch.sheet) == (BatchState.RUNNING, the_sheet())
    assert [(item.line, item.name, item.external_id) for item in items] == [
        (2, "mug", "00123"),
        (3, "cup", "00124"),
        (4, "jug", "00125"),
    ]
    assert [item.settings.get("strength") for item in items] == [0.5, 1.0, None]
    assert items[0].settings["style"] == "grey"
    assert items[2].state == ItemState.FAILED
    assert "sheet" not in drafts.contents(alice, "fake").fields
    told = [str(message) for message in get_messages(answer.wsgi_request)]
    assert any("Row 4" in message for message in told)


def test_a_form_that_is_sent_twice_starts_one_batch(alice_here):
    put(alice_here)
    fields = {"sheet_skip": "yes", "form_uid": "8a0ba9b0-5c0c-4d2a-9f0a-111111111111"}

    first, second = (start(alice_here, the_sheet(), **fields) for _ in range(2))

    assert first.url == second.url
    assert Batch.objects.count() == 1


def test_a_sheet_stands_beside_uploads_and_pasted_addresses(alice_here, alice):
    put(alice_here)
    upload = make_original(alice)

    alice_here.post(
        PAGE,
        {
            "sheet": str(the_sheet().uid),
            "sheet_skip": "yes",
            "uploads": str(upload.uid),
            "refused": "",
            "urls": "https://a.example.com/pasted.png",
        },
    )

    lines = list(Batch.objects.get().items.order_by("position").values_list("line", flat=True))
    assert lines == [None, None, 2, 3, 4]


def test_more_rows_than_a_batch_takes_are_asked_about_and_the_rest_stays(alice_here, alice):
    alice.batch_images = 2
    alice.save()
    put(alice_here)
    sheet = the_sheet()

    asked = start(alice_here, sheet, sheet_skip="yes")
    assert (asked.status_code, asked.context["over"].rest) == (422, 1)
    assert not Batch.objects.exists()
    start(alice_here, sheet, sheet_skip="yes", take="2")

    first = Batch.objects.get()
    page = alice_here.get(PAGE)
    assert first.items.count() == 2
    assert page.context["panel"].after == 3
    assert page.context["panel"].checked.rows == 1
    start(alice_here, sheet, sheet_skip="yes", sheet_after="3", urls="https://a.example.com/4.png")
    second = Batch.objects.exclude(pk=first.pk).get()
    assert list(second.items.order_by("position").values_list("line", flat=True)) == [None, 4]


def test_a_long_sheet_is_imported_in_the_background(alice_here, alice, monkeypatch):
    monkeypatch.setattr(imports, "AT_ONCE", 2)
    put(alice_here)
    fields = {"sheet_skip": "yes", "form_uid": "8a0ba9b0-5c0c-4d2a-9f0a-222222222222"}

    answer = start(alice_here, the_sheet(), **fields)
    again = start(alice_here, the_sheet(), **fields)

    batch = Batch.objects.get()
    assert answer.url == again.url == batch.get_absolute_url()
    assert batch.state == BatchState.IMPORTING
    assert "sheet" not in drafts.contents(alice, "fake").fields
    imports.run(batch.pk)
    batch.refresh_from_db()
    assert (batch.state, batch.items.count()) == (BatchState.RUNNING, 3)


def test_a_file_that_comes_with_the_start_button_is_looked_at_first(alice_here):
    answer = alice_here.post(PAGE, {"sheet_file": a_file()})

    assert answer.status_code == 422
    assert answer.context["panel"].sheet == the_sheet()
    assert not Batch.objects.exists()


def test_strangers_are_asked_to_sign_in(client, db):
    assert "/login/" in put(client, htmx=False).url
    assert "Sign in to use a spreadsheet" in words(client.get(PAGE))
    assert not Sheet.objects.exists()


# --- The page of a batch that is imported -----------------------------------------------


@pytest.fixture
def imported(alice_here, monkeypatch) -> Batch:
    """A batch of three rows, one of them bad, that is to be imported in the background."""
    monkeypatch.setattr(imports, "AT_ONCE", 2)
    put(alice_here)
    sheet = the_sheet()
    return imports.begin(sheet.owner, registry.get("fake"), sheet, start=True)


def test_an_import_says_how_far_it_is_and_shows_its_cards_when_all_are_in(alice_here, imported):
    page = alice_here.get(imported.get_absolute_url())
    assert "0 of 3 rows are in" in words(page)
    assert page.context["cards"] == []

    imports.run(imported.pk)
    imports.again(imported)
    imports.run(imported.pk)
    poll = alice_here.get(page.context["poll_url"] + "&m1=0", headers={"HX-Request": "true"})

    assert [card.line for card in poll.context["cards"]] == [2, 3, 4]


def test_a_draft_names_the_bad_rows_and_goes_on_without_them(alice_here, imported):
    imports.run(imported.pk)

    page = alice_here.get(imported.get_absolute_url())
    assert "Row 4 , photo:" in words(page)
    assert "Go on without these rows" in words(page)
    alice_here.post(f"{imported.get_absolute_url()}import-rest/")

    imported.refresh_from_db()
    assert imported.state == BatchState.IMPORTING


def test_a_batch_that_could_not_be_paid_for_says_so(alice_here, alice, imported):
    imports.run(imported.pk)
    imports.again(imported)
    ledger.adjust(alice, -100, actor=alice, note="spent elsewhere", key="elsewhere")

    imports.run(imported.pk)

    assert "Not enough credits: 4 needed, 0 left." in words(
        alice_here.get(imported.get_absolute_url())
    )
