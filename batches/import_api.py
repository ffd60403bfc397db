"""``POST batches/import``: a batch out of a spreadsheet, or a look at what would become of one."""

import re
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import islice, zip_longest
from typing import Any, cast
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.idempotency import idempotent
from accounts.models import User
from batches import deliveries, imports, intake, lifecycle, messages, pricing, progress, sheets
from batches.api import FORM_OVERHEAD, ChargingView, made_before, members_of, once, wishes_of
from batches.models import Batch, Sheet
from batches.serializers import (
    MOST_DELIVERIES,
    BatchSerializer,
    NewBatchSerializer,
    NewDeliverySerializer,
    batch_as_read,
)
from batches.sources import mapping
from batches.sources.tables import MOST_BYTES, MOST_ROWS, TableError
from tools import registry
from tools.base import Tool

SHEETS_AWAY = {"google_busy", "google_unreachable", "google_account"}
"""Nothing is wrong with the request; Google is what doesn't answer."""

SHEET_PROBLEMS = sorted(
    code
    for code in messages.TEXTS.keys() - SHEETS_AWAY
    if re.fullmatch("(sheet|google)_[a-z_]+", code)
)
"""The codes of what can be wrong with a sheet."""

OBJECTS = {"settings", "mapping", "deliver"}
"""Members that a form has as texts of JSON."""


class ImportSerializer(NewBatchSerializer):
    """A batch to be made of a sheet's rows."""

    images = None  # type: ignore[assignment]
    google_sheet = serializers.CharField(
        required=False, max_length=2000, help_text="The address of a Google Sheet."
    )
    sheet = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=255,
        help_text="The sheet in the file. Without it: the first one that is not empty.",
    )
    mapping = serializers.DictField(
        required=False,
        child=serializers.CharField(max_length=255),
        help_text="Column to url, name, id, ignore or the name of a setting. Without it: guessed.",
    )
    dry_run = serializers.BooleanField(
        required=False, default=False, help_text="True says what would become of the rows."
    )


@extend_schema_field(
    {
        "type": "string",
        "contentMediaType": "application/json",
        "description": "A list as in `POST batches`, as JSON.",
    }
)
class DeliverInForm(serializers.ListField):
    """Where results go, as a form has it."""


class ImportFormSerializer(ImportSerializer):
    """The same with the file in a form. Objects and lists are sent as JSON."""

    deliver = DeliverInForm(
        child=NewDeliverySerializer(), required=False, max_length=MOST_DELIVERIES
    )

    file = serializers.FileField(required=False, help_text="CSV or XLSX.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """One of the two ways in which a sheet can be given."""
        if ("file" in attrs) == ("google_sheet" in attrs):
            raise serializers.ValidationError(
                {"file": [_("Give either a file or the address of a Google Sheet.")]},
                code="required",
            )
        return attrs


class SheetRowSerializer(serializers.Serializer):
    """One row of a sheet, as people see it."""

    row = serializers.IntegerField(help_text="As the sheet numbers it.")
    cells = serializers.DictField(child=serializers.CharField())


class SheetErrorSerializer(serializers.Serializer):
    """What is wrong with a cell, or with a row where ``column`` is empty."""

    row = serializers.IntegerField(allow_null=True)
    column = serializers.CharField()
    value = serializers.CharField()
    code = serializers.CharField()
    detail = serializers.CharField()


class ImportPreviewSerializer(serializers.Serializer):
    """What would become of a sheet's rows."""

    columns = serializers.ListField(child=serializers.CharField())
    mapping = serializers.DictField(child=serializers.CharField())
    sheet = serializers.CharField(help_text="The one in the file that was read; empty for CSV.")
    sheets = serializers.ListField(child=serializers.CharField(), help_text="All there are.")
    rows = serializers.IntegerField(help_text="That would run.")
    already_done = serializers.IntegerField(help_text="Marked as done by an earlier round trip.")
    preview = SheetRowSerializer(many=True, help_text="The first ten.")
    invalid = serializers.IntegerField(help_text="Of the rows that would run.")
    errors = SheetErrorSerializer(  # type: ignore[assignment]  # a field here, in the class not
        many=True, help_text="The first hundred."
    )
    notes = serializers.ListField(child=serializers.CharField())
    quote = serializers.IntegerField(help_text="Credits, at most, for the rows without errors.")


class ImportView(ChargingView):
    """``POST batches/import``."""

    may_refuse = ["batch_limit_exceeded", *SHEET_PROBLEMS]
    parser_classes = [MultiPartParser, *ChargingView.parser_classes]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse what is announced as too long before anybody reads it."""
        announced = int(request.META.get("CONTENT_LENGTH") or 0)
        if announced > MOST_BYTES + FORM_OVERHEAD:
            figures = {"size": -(-announced // 2**20), "max": MOST_BYTES // 2**20}
            raise TableError("sheet_too_large", figures)
        super().initial(request, *args, **kwargs)

    @extend_schema(
        operation_id="batches_import",
        request={
            "multipart/form-data": ImportFormSerializer,
            "application/json": ImportSerializer,
        },
        responses={201: BatchSerializer, 200: ImportPreviewSerializer},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Make a batch of a sheet's rows and start it, as ``POST batches`` does with images.

        With ``dry_run`` nothing is kept: the answer says what would become of the rows.
        """
        if made := made_before(request):
            return _answer(request, made)
        user = cast("User", request.user)
        body = ImportFormSerializer(
            data=members_of(request, objects=OBJECTS),
            context={"is_form": isinstance(request.data, MultiValueDict)},
        )
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        tool = pricing.offered(registry.get(asked["tool"]), user)
        wishes = wishes_of(user, asked)
        if "file" in asked:
            sheet = sheets.keep(user, asked["file"], asked["file"].name)
        else:
            sheet = sheets.keep_google(user, asked["google_sheet"])
        try:
            seen = sheets.look(sheet, tool, tab=asked.get("sheet", ""))
            _describe(sheet, seen, asked.get("mapping"), tool)
            if asked["dry_run"]:
                return Response(_preview(sheet, seen, tool, asked))
            batch = once(request, partial(_begin, sheet, tool, asked, wishes))
        finally:
            # What was refused, or only looked at, leaves nothing behind.
            sheets.forget_unused(sheet)
        return _answer(request, batch)


def _answer(request: Request, batch: Batch) -> Response:
    look = progress.of(batch, now=timezone.now())
    return Response(batch_as_read(batch, look, request), status=201)


def _describe(
    sheet: Sheet, seen: sheets.Seen, wanted: Mapping[str, str] | None, tool: Tool
) -> None:
    """Settle what the columns are: as was asked for, or else as guessed."""
    table = seen.table
    chosen = dict(sheet.mapping)
    if wanted is not None:
        chosen = dict.fromkeys(table.columns, mapping.IGNORE) | dict(wanted)
    if errors := mapping.check(chosen, table, tool):
        raise ValidationError(
            {"mapping": _by_place((error.column, error.code, error.detail) for error in errors)}
        )
    sheets.describe(sheet, table, chosen)


def _by_place(errors: Iterable[tuple[str, str, str]]) -> dict[str, list[ErrorDetail]]:
    """Errors by the column that they are about."""
    found: dict[str, list[ErrorDetail]] = {}
    for column, code, detail in errors:
        found.setdefault(column or "non_field_errors", []).append(ErrorDetail(detail, code))
    return found


def _preview(
    sheet: Sheet, seen: sheets.Seen, tool: Tool, asked: Mapping[str, Any]
) -> dict[str, Any]:
    """What would become of the rows."""
    checked = imports.check(sheet, tool, settings=asked.get("settings"), most=MOST_ROWS)
    lifecycle.refuse_too_many(sheet.owner, checked.rows)
    table = seen.table
    return {
        "columns": table.columns,
        "mapping": sheet.mapping,
        "sheet": sheet.tab,
        "sheets": [tab.name for tab in table.tabs] or sheet.tabs,
        "rows": checked.rows,
        "already_done": checked.done,
        "preview": [
            {
                "row": row.line,
                "cells": dict(
                    zip_longest(table.columns, row.cells[: len(table.columns)], fillvalue="")
                ),
            }
            for row in seen.rows
        ],
        "invalid": checked.wrong,
        "errors": [
            {
                "row": problem.line,
                "column": problem.column,
                "value": problem.value,
                "code": problem.code,
                "detail": problem.detail,
            }
            for problem in checked.problems
        ],
        "notes": [messages.text(note.code, note.params) for note in table.notes],
        "quote": checked.credits,
    }


def _begin(
    sheet: Sheet,
    tool: Tool,
    asked: Mapping[str, Any],
    wishes: Iterable[deliveries.Wish],
    uid: UUID,
) -> Batch:
    """The batch. Raises `ValidationError` that names rows and columns where rows are wrong."""
    try:
        with transaction.atomic():
            batch = imports.begin(
                sheet.owner,
                tool,
                sheet,
                uid=uid,
                settings=asked.get("settings"),
                name=asked.get("name", ""),
                sample=asked.get("sample", 0),
                cap=asked.get("max_credits"),
                skip_invalid=asked["on_invalid"] == "skip",
                start=asked["start"],
                reuse=asked["reuse"],
                pattern=asked.get("name_pattern", ""),
                webhook_url=asked.get("webhook_url", ""),
            )
            for wish in wishes:
                deliveries.begin(batch, wish, follows=True)
    except intake.RowsInvalid as invalid:
        raise ValidationError({"rows": _of_rows(sheet, tool, invalid)}) from invalid
    return batch


def _of_rows(sheet: Sheet, tool: Tool, invalid: intake.RowsInvalid) -> dict[str, Any]:
    """Errors by row and column, as the sheet numbers and calls them."""
    last = max(error.index for error in invalid.errors)
    rows = dict(enumerate(islice(imports.to_run(sheet, tool), last + 1)))
    found: dict[str, list[tuple[str, str, str]]] = {}
    for error in invalid.errors:
        problem = imports.problem(error, rows[error.index], sheet)
        where = (problem.column, problem.code, problem.detail)
        found.setdefault(str(problem.line), []).append(where)
    return {line: _by_place(errors) for line, errors in found.items()}
