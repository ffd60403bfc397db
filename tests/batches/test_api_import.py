"""`POST batches/import`: a sheet becomes a batch, or says why it doesn't."""

import io
import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from accounts import plans
from batches import imports
from batches.models import Batch, Sheet
from batches.sources import columns, tables
from batches.states import BatchState
from credits import ledger
from tests import clients, workbooks
from tests.factories import give

pytestmark = pytest.mark.usefixtures("fake_tool", "media", "valkey")

IMPORT = "/api/v1/batches/import"
CATALOGUE = (
    "SKU,Photo,Title,Style,Stock\n"
    "00123,https://shop.example.com/1.jpg,Shoe,grey,7\n"
    "00124,https://shop.example.com/2.jpg,Boot,,0\n"
)


@pytest.fixture
def alices(alice):
    give(alice, 100)
    return clients.with_key(alice)


def send(client, content: str | bytes = CATALOGUE, *, key: str = "", **fields):
    data = content.encode() if isinstance(content, str) else content
    file = SimpleUploadedFile("catalogue.csv", data)
    texts = {
        name: json.dumps(value) if isinstance(value, dict | tuple) else value
        for name, value in fields.items()
    }
    headers = {"Idempotency-Key": key} if key else {}
    body = {"tool": "fake", "file": file, **texts}
    return client.post(IMPORT, body, format="multipart", headers=headers)


def nothing_happened(user) -> bool:
    kept = Batch.objects.exists() or Sheet.objects.exists()
    return not kept and ledger.balance(user) == (125, 0)


def test_a_file_becomes_a_batch_that_runs(alices):
    response = send(alices, settings={"strength": 0.5}, name="Autumn", max_credits="10")

    batch = Batch.objects.get()
    first, second = batch.items.order_by("position")
    assert response.status_code == 201, response.json()
    assert response.json()["id"] == str(batch.uid)
    assert response.json()["credits"]["held"] == 4
    assert (batch.name, batch.state, batch.cap) == ("Autumn", BatchState.RUNNING, 10)
    assert (first.name, first.external_id, first.line) == ("Shoe", "00123", 2)
    assert (first.settings["style"], first.settings["strength"]) == ("grey", 0.5)
    assert (second.settings["style"], second.line) == ("negative", 3)
    assert (batch.sheet.name, batch.sheet.header) == ("catalogue.csv", 1)


def test_a_workbook_is_read_where_it_is_told_to_with_the_mapping_that_is_given(alices):
    targets = {"Image": "url", "SKU": "name", "Stock": "copies"}

    response = send(alices, workbooks.excel(), mapping=targets, start="false", on_invalid="skip")

    batch = Batch.objects.get()
    assert response.status_code == 201, response.json()
    assert (response.json()["status"], batch.sheet.tab) == ("ready", "Catalogue & more")
    assert [item.source_url.rpartition("/")[2] for item in batch.items.order_by("position")] == [
        *("a.jpg", "b.jpg", "c.jpg", "d.jpg"),
    ]
    assert [item.error_code for item in batch.items.order_by("position")] == [
        *("settings_invalid", "", "", ""),  # there are twelve in stock, and at most five copies
    ]


def test_a_dry_run_says_what_would_become_of_the_rows_and_keeps_nothing(alices, alice):
    text = (
        f"Photo,Title,Style,{columns.STATUS}\n"
        "https://shop.example.com/1.jpg,Shoe,grey,done\n"
        "https://shop.example.com/2.jpg,Boot,purple,failed\n"
        "ftp://shop.example.com/3.jpg,Sandal,,\n"
        "https://shop.example.com/4.jpg,Slipper\n"
    )
    targets = {"Photo": "url", "Title": "name", "Style": "style"}

    response = send(alices, text, mapping=targets, dry_run="true")

    said = response.json()
    assert response.status_code == 200
    assert (said["rows"], said["already_done"], said["invalid"], said["quote"]) == (3, 1, 2, 2)
    assert said["columns"] == ["Photo", "Title", "Style", columns.STATUS]
    assert said["mapping"] == {**targets, columns.STATUS: "ignore"}
    assert said["preview"][0] == {
        "row": 2,
        "cells": {
            "Photo": "https://shop.example.com/1.jpg",
            "Title": "Shoe",
            "Style": "grey",
            columns.STATUS: "done",
        },
    }
    assert said["preview"][3]["cells"] == {
        "Photo": "https://shop.example.com/4.jpg",
        "Title": "Slipper",
        "Style": "",
        columns.STATUS: "",
    }
    assert [(e["row"], e["column"], e["value"], e["code"]) for e in said["errors"]] == [
        (3, "Style", "purple", "settings_invalid"),
        (4, "Photo", "ftp://shop.example.com/3.jpg", "source_not_allowed"),
    ]
    assert all(error["detail"] for error in said["errors"])
    assert nothing_happened(alice)


def test_a_dry_run_of_a_workbook_tells_its_sheets_and_what_is_not_read(alices):
    said = send(alices, workbooks.excel(), dry_run="true").json()

    assert said["sheet"] == "Catalogue & more"
    assert said["sheets"] == ["Catalogue & more", "Notes", "Old"]
    assert said["mapping"]["Image"] == "url"
    assert said["rows"] == 4


def test_one_bad_row_fails_it_all_and_is_named_by_row_and_column(alices, alice):
    text = CATALOGUE + "00125,,Sandal,\n00126,https://shop.example.com/4.jpg,Slipper,purple\n"

    response = send(alices, text, mapping={"Photo": "url", "Style": "style"})

    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "validation_failed")
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [
        ("/rows/4/Photo", "row_invalid"),
        ("/rows/5/Style", "settings_invalid"),
    ]
    assert nothing_happened(alice)


def test_what_a_batch_of_images_may_ask_for_may_be_asked_for_here_too(alices):
    response = send(
        alices,
        deliver=({"to": "library"},),
        name_pattern="{id}",
        webhook_url="https://hooks.example.com/x",
        reuse="false",
        sample="1",
        start="false",
    )

    batch = Batch.objects.get()
    assert response.status_code == 201, response.json()
    assert (batch.pattern, batch.webhook_url) == ("{id}", "https://hooks.example.com/x")
    assert (batch.reuse, batch.sample) == (False, 1)
    assert [(one.to, one.follows) for one in batch.deliveries.all()] == [("library", True)]


def test_a_delivery_that_can_not_be_is_refused_before_anything(alices, alice):
    response = send(alices, deliver=({"to": "the moon"},))

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"].startswith("/deliver/0")
    assert nothing_happened(alice)


def test_bad_rows_are_skipped_when_that_is_asked_for(alices):
    response = send(alices, CATALOGUE + "00125,,Sandal,\n", on_invalid="skip")

    assert response.status_code == 201
    assert response.json()["counts"] == {
        "waiting": 2,
        "processing": 0,
        "done": 0,
        "needs_review": 0,
        "failed": 1,
        "cancelled": 0,
    }


def test_rows_that_are_done_do_not_run_again(alices):
    text = (
        f"url,{columns.STATUS},{columns.RESULT}\n"
        "https://a.io/1.jpg,done,https://studio.example.com/r/1\n"
        "https://a.io/2.jpg,failed,\nhttps://a.io/3.jpg,,\n"
    )

    assert send(alices, text).status_code == 201
    items = Batch.objects.get().items.order_by("position")
    assert [(item.source_url, item.line) for item in items] == [
        ("https://a.io/2.jpg", 3),
        ("https://a.io/3.jpg", 4),
    ]


def test_many_rows_are_taken_in_while_the_answer_is_out_already(alices, monkeypatch):
    monkeypatch.setattr(imports, "AT_ONCE", 1)

    response = send(alices)

    assert (response.status_code, response.json()["status"]) == (201, "importing")
    assert Sheet.objects.get().batches.count() == 1


def test_more_rows_than_the_plan_takes_are_refused_before_anything(alices, alice):
    alice.batch_images = 1
    alice.save()

    for dry_run in ("true", "false"):
        response = send(alices, dry_run=dry_run, on_invalid="skip")

        assert (response.status_code, response.json()["code"]) == (403, "batch_limit_exceeded")
        assert response.json()["limit"] == plans.plan_for(alice).batch_images == 1
    assert nothing_happened(alice)


@pytest.mark.parametrize(
    ("fields", "pointer", "code"),
    [
        ({"mapping": {"Photos": "url"}}, "/mapping/Photos", "unknown_column"),
        ({"mapping": {"Photo": "url", "Title": "colour"}}, "/mapping/Title", "unknown_target"),
        ({"mapping": {"Title": "name"}}, "/mapping", "no_url"),
        ({"mapping": "Photo"}, "/mapping", "not_a_dict"),
        ({"settings": "[1]"}, "/settings", "not_a_dict"),
        ({"settings": {"strength": 7}}, "/settings/strength", "max_value"),
        ({"tool": "nonesuch"}, "/tool", "unknown_tool"),
        ({"images": "x"}, "/images", "unknown_field"),
        ({"google_sheet": "https://docs.google.com/spreadsheets/d/x"}, "/file", "required"),
        ({"start": ["true", "false"]}, "/start", "repeated"),
    ],
)
def test_what_is_wrong_with_the_request_is_pointed_at(alices, alice, fields, pointer, code):
    response = send(alices, **fields)

    errors = response.json()["errors"]
    assert response.status_code == 422
    assert (pointer, code) in [(error["pointer"], error["code"]) for error in errors]
    assert nothing_happened(alice)


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"\x89PNG\r\n\x1a\n....", 415, "sheet_not_a_table"),
        (b"PK\x03\x04" + b"x" * 100, 422, "sheet_damaged"),
        (b"url\n" + b"x" * 70_000, 422, "sheet_cell_too_long"),
    ],
)
def test_a_file_that_can_not_be_read_is_refused_by_its_own_code(
    alices, alice, content, status, code
):
    response = send(alices, content)

    assert (response.status_code, response.json()["code"]) == (status, code)
    assert nothing_happened(alice)


def test_a_file_that_is_announced_as_too_long_is_not_read(alices):
    response = alices.post(
        IMPORT,
        io.BytesIO(b"x"),
        content_type="multipart/form-data; boundary=x",
        CONTENT_LENGTH=str(tables.MOST_BYTES + 10**6),
    )

    assert (response.status_code, response.json()["code"]) == (413, "sheet_too_large")


def test_the_same_request_sent_twice_makes_one_batch(alices):
    first, again = (send(alices, key="k-1") for _ in range(2))
    other = send(alices, CATALOGUE + "1,https://a.io/9.jpg,x,,\n", key="k-1")

    assert first.json() == again.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert other.json()["code"] == "idempotency_mismatch"
    assert Batch.objects.count() == Sheet.objects.count() == 1


def test_a_key_that_may_only_read_may_not_import(alice):
    response = send(clients.with_key(alice, "read"))

    assert (response.status_code, response.json()["code"]) == (403, "scope_missing")


@pytest.mark.parametrize(
    "sent",
    ["{", "[" * 5000, '{"strength": NaN}', '{"strength": 1e400}', '{"style": "\\u0000"}'],
)
def test_settings_in_a_form_that_are_none_are_refused(alices, alice, sent):
    response = send(alices, settings=sent)

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"].startswith("/settings")
    assert nothing_happened(alice)


def test_json_is_read_here_as_everywhere(alices):
    body = '{"tool": "fake", "google_sheet": "x", "mapping": {"\\u0000": "url"}}'

    response = alices.generic("POST", IMPORT, body, content_type="application/json")

    assert response.status_code == 422
    assert response.json()["errors"][0] | {"detail": ""} == {
        "pointer": "/mapping",
        "code": "not_text",
        "detail": "",
    }


def test_a_link_that_is_none_to_google_says_so_in_json(alices, alice):
    body = {"tool": "fake", "google_sheet": "https://example.com/sheet"}

    response = alices.post(IMPORT, body, format="json")

    assert (response.status_code, response.json()["code"]) == (422, "google_link")
    assert nothing_happened(alice)
