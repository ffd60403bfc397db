"""A spreadsheet becomes a batch, in a real browser."""

import io

import pytest
from openpyxl import Workbook
from playwright.sync_api import Page, expect

from batches.models import Batch
from batches.states import ItemState
from tests import fakes
from tests.factories import give

pytestmark = pytest.mark.browser

ROWS = [
    ("Product", "Front", "Back", "Strength"),
    ("Mug", "https://a.example.com/1-front.png", "https://a.example.com/1-back.png", 0.5),
    ("Cup", "https://a.example.com/2-front.png", "https://a.example.com/2-back.png", None),
    ("Jug", "https://a.example.com/3-front.png", "nothing", None),
]


def workbook() -> bytes:
    book = Workbook()
    book.active.title = "Notes"
    book.active.append(["Nothing to see here"])
    tab = book.create_sheet("Catalogue")
    for row in ROWS:
        tab.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


@pytest.fixture
def tool(signed_in, alice, live_server) -> Page:
    give(alice, 100)
    with fakes.registered(fakes.FakeTool):
        signed_in.goto(f"{live_server.url}/tools/fake/")
        signed_in.locator("#new-batch[data-ready]").wait_for()
        yield signed_in


def test_an_xlsx_becomes_a_batch_after_its_columns_were_put_right(
    tool, check_accessibility, complaints
):
    file = {"name": "autumn.xlsx", "mimeType": "", "buffer": workbook()}
    tool.locator("#files").set_input_files([file])  # as if it was dropped among pictures

    expect(tool.locator("#sheet-tab")).to_have_value("Notes")
    tool.locator("#sheet-tab").select_option("Catalogue")
    expect(tool.get_by_label("Front")).to_have_value("url")
    expect(tool.locator("#sheet-summary")).to_contain_text("3 rows will run")
    tool.get_by_label("Back").select_option("url")
    expect(tool.get_by_label("Front")).to_have_value("ignore")
    expect(tool.locator("#sheet-problems")).to_contain_text("nothing")
    expect(tool.locator("#start")).to_be_disabled()
    expect(tool.locator("#start-why")).to_contain_text("Mend 1 row")
    check_accessibility(tool)

    with tool.expect_response("**/draft/"):
        tool.get_by_label("Skip this row").check()
    expect(tool.locator("#start")).to_have_text("Start batch · 2 images · 4 credits")
    tool.reload()
    tool.locator("#new-batch[data-ready]").wait_for()
    expect(tool.locator("#sheet-summary")).to_contain_text("2 rows will run · 1 has a problem")
    expect(tool.get_by_label("Skip this row")).to_be_checked()
    tool.locator("#start").click()
    tool.wait_for_url("**/batches/*/")

    items = list(Batch.objects.get().items.order_by("position"))
    assert [item.source_url.rpartition("/")[2] for item in items[:2]] == [
        "1-back.png",
        "2-back.png",
    ]
    assert [item.line for item in items] == [2, 3, 4]
    assert items[2].state == ItemState.FAILED
    assert complaints == []
