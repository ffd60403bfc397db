"""Google Sheets: real gspread and google-auth against a Google on loopback that has its rules."""

import time

import pytest
from django.core.cache import cache

from batches import google, messages
from batches.google import SheetError, wire
from batches.models import TokenBucket
from tests import google_server
from tests.google_server import Formula, TabState, table

PRODUCTS = table(
    ["Image", "SKU"],
    ["https://img.example.com/a.png", "0012"],
    [],
    ["https://img.example.com/b.png", "13"],
)


@pytest.fixture
def no_account(cloud, settings) -> None:
    settings.GOOGLE = {**settings.GOOGLE, "credentials": ""}


def code_of(refused: pytest.ExceptionInfo[SheetError]) -> str:
    """The code, which must have a sentence that can be read."""
    sentence = messages.text(refused.value.code, refused.value.params)
    assert sentence != messages.text("processing_failed")
    return refused.value.code


# --- Links ----------------------------------------------------------------------------

ID = "1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms"


@pytest.mark.parametrize(
    ("text", "gid"),
    [
        (f"https://docs.google.com/spreadsheets/d/{ID}/edit?gid=7#gid=12", 12),
        (f"https://docs.google.com/spreadsheets/d/{ID}/edit?gid=7", 7),
        (f"  https://docs.google.com/spreadsheets/d/{ID}\n", None),
        (f"docs.google.com/spreadsheets/d/{ID}/edit", None),
        (f"http://docs.google.com/spreadsheets/u/1/d/{ID}/edit?usp=sharing#gid=0", 0),
        (f"https://docs.google.com/a/example.com/spreadsheets/d/{ID}/edit#gid=x", None),
        (f"https://docs.google.com/spreadsheets/d/{ID}/edit#gid=3&range=A1", 3),
    ],
)
def test_a_link_says_which_sheet_and_which_tab(text, gid):
    assert google.parse_url(text) == (ID, gid)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "google_link"),
        ("my sheet", "google_link"),
        (ID, "google_link"),
        (f"https://docs.google.com.evil.example/spreadsheets/d/{ID}/edit", "google_link"),
        (f"https://docs.google.com@evil.example/spreadsheets/d/{ID}/edit", "google_link"),
        (f"https://docs.google.com/document/d/{ID}/edit", "google_link"),
        ("https://docs.google.com/spreadsheets/d/short/edit", "google_link"),
        (f"ftp://docs.google.com/spreadsheets/d/{ID}", "google_link"),
        ("https://[", "google_link"),
        (f"https://docs.google.com/spreadsheets/d/e/2PACX-{ID}/pubhtml", "google_published"),
    ],
)
def test_anything_else_is_no_link(text, code):
    with pytest.raises(SheetError) as refused:
        google.parse_url(text)

    assert code_of(refused) == code


# --- Reading --------------------------------------------------------------------------


def test_a_shared_sheet_is_read_with_one_call_for_its_cells(db, cloud):
    sheet = cloud.add(TabState("Shop", table(*PRODUCTS)), title="Autumn", share="reader")

    values, title, tab = google.read_table(cloud.link(sheet))

    assert (title, tab) == ("Autumn", "Shop")
    assert values == [
        ["Image", "SKU"],
        ["https://img.example.com/a.png", "0012"],
        [],
        ["https://img.example.com/b.png", "13"],
    ]
    assert cloud.kinds() == ["token", "get", "values"]


def test_titles_are_asked_for_once_in_a_while(db, cloud):
    sheet = cloud.add(TabState("Shop", table(*PRODUCTS)))
    google.tabs(cloud.link(sheet))
    cloud.calls.clear()

    google.read_table(cloud.link(sheet), "Shop")
    google.read_table(cloud.link(sheet), "Shop")

    assert [kind for kind in cloud.kinds() if kind != "token"] == ["values", "values"]


def test_tabs_come_with_the_hidden_ones_last(db, cloud):
    old = TabState("Old", hidden=True)
    sheet = cloud.add(old, TabState("Tom's", table(*PRODUCTS), gid=5), TabState("Notes", gid=6))

    assert [tab.title for tab in google.tabs(cloud.link(sheet))] == ["Tom's", "Notes", "Old"]
    assert google.read_table(f"{cloud.url}/spreadsheets/d/{sheet.id}").tab == "Tom's"
    assert google.read_table(cloud.link(sheet, sheet.tabs[2])).tab == "Notes"
    assert len(google.read_table(cloud.link(sheet), "Tom's").values) == 4


def test_a_tab_that_came_after_the_titles_were_read_is_found(db, cloud):
    sheet = cloud.add(TabState("Shop", table(*PRODUCTS)))
    google.tabs(cloud.link(sheet))
    sheet.tabs.append(TabState("New", table(["https://a.example/1.png"]), gid=9))

    assert google.read_table(cloud.link(sheet), "New").values == [["https://a.example/1.png"]]
    with pytest.raises(SheetError) as refused:
        google.read_table(cloud.link(sheet), "Gone")
    assert code_of(refused) == "google_tab_missing"


def test_what_is_remembered_of_a_sheet_may_be_out_of_date(db, cloud):
    sheet = cloud.add(TabState("Shop", table(*PRODUCTS)))
    tab = sheet.tabs[0]
    google.tabs(cloud.link(sheet))
    tab.title, tab.rows = "Products", 4

    assert google.read_table(cloud.link(sheet), rows=10).tab == "Products"
    tab.rows = 3
    with google.editing(cloud.link(sheet)) as grid:
        assert grid.rows([(1, 4), (4, 4)]) == [PRODUCTS[:2], []]
        assert grid.columns([1, 0]) == [["SKU", "0012"], ["Image", PRODUCTS[1][0]]]


def test_a_preview_reads_no_more_than_it_shows(db, cloud):
    sheet = cloud.add(TabState("Shop", table(*PRODUCTS)))

    assert google.read_table(cloud.link(sheet), rows=2).values == PRODUCTS[:2]


def test_addresses_that_only_formulas_hold_are_found(db, cloud):
    sheet = cloud.add(
        TabState(
            "Shop",
            table(
                ["Picture", "Name", "Price"],
                [Formula('=IMAGE("https://a.example/1.png")'), "One", 3.5],
                [Formula('=hyperlink( "https://a.example/2.png"; "Two")', "Two"), "Two", 4],
            ),
        )
    )

    assert google.read_table(cloud.link(sheet)).values == [
        ["Picture", "Name", "Price"],
        ["https://a.example/1.png", "One", "3.5"],
        ["https://a.example/2.png", "Two", "4"],
    ]


def test_an_empty_tab_has_no_rows(db, cloud):
    sheet = cloud.add(TabState("Shop"))

    assert google.read_table(cloud.link(sheet)).values == []


def test_a_sheet_with_too_much_in_it_is_refused_and_never_cut(db, cloud, monkeypatch):
    monkeypatch.setattr(google, "MOST_ROWS", 3)
    sheet = cloud.add(TabState("Long", table(*PRODUCTS)), TabState("Wide", gid=1, columns=200))
    sheet.tabs[1].put(1, 100, "http://a.example/")

    for tab, figure in (("Long", "rows"), ("Wide", "columns")):
        with pytest.raises(SheetError) as refused:
            google.read_table(cloud.link(sheet), tab)
        assert code_of(refused) == "google_too_large"
        assert figure in refused.value.params


def test_an_answer_beyond_all_measure_is_not_taken_in(db, cloud, monkeypatch):
    monkeypatch.setattr(wire, "MOST_BYTES", 100_000)
    sheet = cloud.add(TabState("Shop", table(*[["http://a.example/" + "x" * 1000]] * 200)))

    with pytest.raises(SheetError) as refused:
        google.read_table(cloud.link(sheet))

    assert code_of(refused) == "google_too_large"


# --- Refusals -------------------------------------------------------------------------


def test_a_private_sheet_names_the_address_to_share_it_with(db, cloud):
    sheet = cloud.add(TabState("Shop"), share="")

    with pytest.raises(SheetError) as refused:
        google.read_table(cloud.link(sheet))

    assert code_of(refused) == "google_not_shared"
    assert google.service_address() == google_server.EMAIL
    assert google_server.EMAIL in messages.text(refused.value.code, refused.value.params)


def test_a_sheet_that_is_gone_and_an_excel_file_say_so(db, cloud):
    excel = cloud.add(TabState("Shop"), is_office=True)

    for link, code in (
        (f"{cloud.url}/spreadsheets/d/{ID}", "google_not_found"),
        (cloud.link(excel), "google_office_file"),
    ):
        with pytest.raises(SheetError) as refused:
            google.document(link)
        assert code_of(refused) == code


def test_a_passing_refusal_is_waited_out(db, cloud):
    sheet = cloud.add(TabState("Shop", table(*PRODUCTS)))
    cloud.refusals = [google_server.unavailable(), google_server.quota(), google_server.quota()]

    assert len(google.read_table(cloud.link(sheet)).values) == 4
    assert [call.status for call in cloud.calls if call.kind == "get"] == [503, 429, 429, 200]


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (google_server.quota(), "google_busy"),
        (google_server.unavailable(), "google_unreachable"),
    ],
)
def test_a_lasting_refusal_ends_after_four_tries(db, cloud, refusal, code):
    sheet = cloud.add(TabState("Shop"))
    cloud.lasting = refusal

    with pytest.raises(SheetError) as refused:
        google.read_table(cloud.link(sheet))

    assert code_of(refused) == code
    assert refused.value.transient
    assert cloud.kinds().count("get") == 4


def test_a_wait_that_is_too_long_for_us_is_told_and_not_waited(db, cloud):
    sheet = cloud.add(TabState("Shop"))
    cloud.lasting = google_server.quota(Retry_After="47")

    with pytest.raises(SheetError) as refused:
        google.read_table(cloud.link(sheet))

    assert (refused.value.retry_after, cloud.kinds().count("get")) == (47, 1)
    assert "47 s" in messages.text(refused.value.code, refused.value.params)


def test_a_moment_named_by_google_is_waited(db, cloud):
    sheet = cloud.add(TabState("Shop", table(*PRODUCTS)))
    cloud.refusals = [google_server.quota(Retry_After="1")]
    started = time.monotonic()

    google.read_table(cloud.link(sheet))

    assert time.monotonic() - started >= 1


def test_a_server_that_says_nothing_is_given_up(db, cloud, monkeypatch):
    monkeypatch.setattr(wire, "TIMEOUTS", (0.3, 0.3))
    sheet = cloud.add(TabState("Shop"))
    cloud.is_stalling = True

    with pytest.raises(SheetError) as refused:
        google.read_table(cloud.link(sheet))

    assert code_of(refused) == "google_unreachable"


def test_a_token_that_ends_on_the_way_is_fetched_anew(db, cloud):
    sheet = cloud.add(TabState("Shop", table(*PRODUCTS)))

    with google.editing(cloud.link(sheet)) as grid:
        grid.rows([(1, 2)])
        cloud.revoke()
        found = grid.rows([(1, 2), (4, 4), (900, 5000), (2000, 2001)])

    assert found == [PRODUCTS[:2], PRODUCTS[3:], [], []]
    assert cloud.kinds().count("token") == 2


@pytest.mark.parametrize(
    "changes",
    [{"client_email": "somebody@else.example"}, {"token_uri": "http://127.0.0.1:9/token"}],
)
def test_an_account_that_google_does_not_take_is_no_fault_of_the_persons(
    db, cloud, settings, tmp_path, changes
):
    cloud.key_file(tmp_path, **changes)
    sheet = cloud.add(TabState("Shop"), share="")

    with pytest.raises(SheetError) as refused:
        google.read_table(cloud.link(sheet))

    assert code_of(refused) in ("google_account", "google_unreachable")


# --- Public links ---------------------------------------------------------------------


def test_a_public_sheet_is_read_without_an_account(db, cloud, no_account):
    tab = TabState("Shop", table(["Image", "Text"], [], ["https://a.example/1.png", 'Ü "x", y']))
    sheet = cloud.add(TabState("Other"), tab, is_public=True, share="")
    tab.gid = 4

    values, title, name = google.read_table(cloud.link(sheet, tab))

    assert values == [["Image", "Text"], ["", ""], ["https://a.example/1.png", 'Ü "x", y']]
    assert (title, name) == ("", "")
    assert google.document(cloud.link(sheet)).is_public
    assert set(cloud.kinds()) == {"csv"}


def test_a_public_sheet_is_read_where_the_account_is_broken(db, cloud, tmp_path):
    cloud.key_file(tmp_path, client_email="somebody@else.example")
    sheet = cloud.add(TabState("Shop", table(*PRODUCTS)), is_public=True, share="")

    assert google.read_table(cloud.link(sheet)).values[0] == ["Image", "SKU"]


def test_a_tab_that_was_chosen_is_never_swapped_for_another(db, cloud, tmp_path):
    first, second = TabState("One", table(["1"])), TabState("Two", table(["2"]), gid=8)
    sheet = cloud.add(first, second, is_public=True)
    google.tabs(cloud.link(sheet))
    cloud.key_file(tmp_path, client_email="somebody@else.example")
    cloud.revoke()

    assert google.read_table(cloud.link(sheet), "Two").values == [["2"]]
    cache.clear()
    with pytest.raises(SheetError):
        google.read_table(cloud.link(sheet), "Two")


def test_a_page_to_sign_in_means_that_the_sheet_is_not_public(db, cloud, no_account):
    sheet = cloud.add(TabState("Shop"), share="")

    with pytest.raises(SheetError) as refused:
        google.read_table(cloud.link(sheet))

    assert code_of(refused) == "google_not_public"
    assert google.service_address() is None


def test_a_public_link_is_followed_to_googles_own_hosts_only(db, cloud, no_account):
    sheet = cloud.add(
        TabState("Shop", table(*PRODUCTS)),
        is_public=True,
        link_host=f"http://localhost:{cloud.port}",
    )

    with pytest.raises(SheetError) as refused:
        google.read_table(cloud.link(sheet))

    assert code_of(refused) == "google_not_public"
    assert [call.status for call in cloud.calls] == [307]


def test_a_public_sheet_that_is_gone_or_lacks_the_tab_says_so(db, cloud, no_account):
    sheet = cloud.add(TabState("Shop"), is_public=True)

    for link, code in (
        (f"{cloud.url}/spreadsheets/d/{ID}", "google_not_found"),
        (f"{cloud.url}/spreadsheets/d/{sheet.id}/edit#gid=77", "google_tab_missing"),
    ):
        with pytest.raises(SheetError) as refused:
            google.read_table(link)
        assert code_of(refused) == code


# --- Writing --------------------------------------------------------------------------


def test_text_is_written_as_text_into_many_ranges_at_once(db, cloud):
    sheet = cloud.add(TabState("Tom's", table(*PRODUCTS)))

    with google.editing(cloud.link(sheet)) as grid:
        calls = grid.write({"C1:D1": [["State", "Price"]], "C4:D4": [["=1+1", 3]]})

    tab = sheet.tabs[0]
    assert calls == 1
    assert (tab.at(0, 2), tab.at(3, 2), tab.at(3, 3)) == ("State", "=1+1", 3)


def test_a_call_that_writes_stays_below_two_megabytes(db, cloud):
    sheet = cloud.add(TabState("Shop"))
    rows = {f"A{line}:B{line}": [["ü" * 3000, "\x00\U0001f600" * 100]] for line in range(1, 201)}

    with google.editing(cloud.link(sheet)) as grid:
        calls = grid.write(rows)

    sizes = [call.bytes for call in cloud.calls if call.kind == "write"]
    assert len(sizes) == calls == 3
    assert max(sizes) < 2_000_000
    assert [sheet.tabs[0].at(row, 0) for row in (0, 199)] == ["ü" * 3000] * 2


def test_a_grid_grows_before_it_is_written_to(db, cloud):
    sheet = cloud.add(TabState("Shop", table(*PRODUCTS), columns=2))

    with google.editing(cloud.link(sheet)) as grid:
        grid.widen(4)
        grid.widen(3)
        grid.write({"D1:D1": [["State"]]})

    assert (sheet.tabs[0].columns, sheet.tabs[0].at(0, 3)) == (4, "State")
    assert cloud.kinds().count("change") == 1


@pytest.mark.parametrize(
    ("share", "protected", "code"),
    [("reader", False, "google_read_only"), ("writer", True, "google_protected")],
)
def test_a_sheet_that_may_only_be_read_is_not_written_to(db, cloud, share, protected, code):
    sheet = cloud.add(TabState("Shop", protected=protected), share=share)

    with google.editing(cloud.link(sheet)) as grid, pytest.raises(SheetError) as refused:
        grid.write({"A1": [["x"]]})

    assert code_of(refused) == code
    assert google_server.EMAIL in messages.text(refused.value.code, refused.value.params)


def test_columns_are_called_as_in_a_sheet():
    assert [google.letters(at) for at in (0, 25, 26, 51, 52, 701, 702)] == [
        *("A", "Z", "AA", "AZ", "BA", "ZZ", "AAA")
    ]


# --- The budget -----------------------------------------------------------------------


def test_a_budget_that_is_used_up_is_told_in_seconds(db, cloud, monkeypatch):
    monkeypatch.setattr(wire, "PATIENCE", 0.1)
    sheet = cloud.add(TabState("Shop"))
    google.document(cloud.link(sheet))
    TokenBucket.objects.filter(name="google-read").update(tokens=0)
    cloud.calls.clear()

    with pytest.raises(SheetError) as refused:
        google.document(cloud.link(sheet))

    assert code_of(refused) == "google_busy"
    assert 0 < refused.value.retry_after <= 1.5
    assert "get" not in cloud.kinds()


def test_no_minute_has_more_calls_than_google_takes_from_one_account():
    assert wire.BURST + wire.PER_MINUTE <= 60


def test_reads_and_writes_have_a_budget_each(db, cloud):
    sheet = cloud.add(TabState("Shop"))
    with google.editing(cloud.link(sheet)) as grid:
        grid.write({"A1": [["x"]]})

    spent = {one.name: round(wire.BURST - one.tokens) for one in TokenBucket.objects.all()}
    assert spent == {"google-read": 1, "google-write": 1}
