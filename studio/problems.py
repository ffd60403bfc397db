"""Refusals and failures of the HTTP API as RFC 9457 `application/problem+json`.

Every exception that a verb may raise has its status and its stable code here; what nobody
foresaw is logged and answered as a 500 that says nothing about our insides.
"""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from math import ceil
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from rest_framework import exceptions
from rest_framework.response import Response

from batches import direct, intake, lifecycle, messages, partials
from batches.google import SheetError
from batches.import_api import SHEET_PROBLEMS, SHEETS_AWAY
from batches.sources.tables import TableError
from credits.ledger import InsufficientCredits
from studio import failures
from studio.api import count_refused
from studio.failures import API
from studio.middleware import current_request_id
from tools.base import SettingsInvalid
from tools.engines import images
from tools.engines.guard import GuardLost
from tools.registry import UnknownTool

CONTENT_TYPE = "application/problem+json"
TRY_AGAIN_AFTER = 5
"""Seconds, when the database, the buckets or the guard of images can't answer just now."""

OUTAGES = (OperationalError, InterfaceError, GuardLost, BotoCoreError, ClientError)

IMAGE_STATUS = {"file_too_large": 413, "format_unsupported": 415}
"""Every other code of a refused image is a 422."""

SHEET_STATUS = {"sheet_too_large": 413, "sheet_kind": 415, "sheet_not_a_table": 415}
"""Every other code of a refused spreadsheet is a 422."""

_CODES = {
    exceptions.NotAuthenticated: "not_authenticated",
    exceptions.AuthenticationFailed: "not_authenticated",
    exceptions.NotFound: "not_found",
    exceptions.UnsupportedMediaType: "format_unsupported",
    exceptions.Throttled: "rate_limited",
}

CODES: Mapping[int, frozenset[str]] = {
    400: frozenset({"bad_request", "parse_error"}),
    401: frozenset({"not_authenticated"}),
    402: frozenset({"insufficient_credits"}),
    403: frozenset(
        {"scope_missing", "permission_denied", "api_not_enabled", "batch_limit_exceeded"}
    ),
    404: frozenset({"not_found"}),
    409: frozenset({"state_conflict", "idempotency_in_flight", *direct.CONFLICTS}),
    413: frozenset({"file_too_large", "sheet_too_large"}),
    415: frozenset({"format_unsupported", "sheet_kind", "sheet_not_a_table"}),
    422: frozenset(
        {
            "validation_failed",
            "tool_unavailable",
            "idempotency_mismatch",
            "too_many_uploads",
            "upload_differs",
            *images.CODES,
            *SHEET_PROBLEMS,
        }
        - IMAGE_STATUS.keys()
        - SHEET_STATUS.keys()
    ),
    429: frozenset({"rate_limited"}),
    503: frozenset({"unavailable"}),
}
"""The stable codes of all that operations refuse, by status."""

Problem = dict[str, Any]

log = logging.getLogger(__name__)


def problem(
    status: int,
    code: str,
    detail: str = "",
    *,
    errors: Sequence[Mapping[str, str]] = (),
    **members: Any,
) -> Problem:
    """The body of a problem: what it is, in which request, and whatever else helps."""
    title = HTTPStatus(status).phrase
    body: Problem = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail or f"{title}.",
        "code": code,
        "request_id": current_request_id(),
        **members,
    }
    if errors:
        body["errors"] = list(errors)
    encodable: Problem = _encodable(body)
    return encodable


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response:
    """Turn whatever a view of the API raised into an answer; REST framework calls it."""
    headers: dict[str, str] = {}
    if isinstance(error, exceptions.NotAuthenticated | exceptions.PermissionDenied):
        error = count_refused(context["request"], context["view"]) or error
    body = _known(error, headers)
    if body is None:
        request = context.get("request")
        log.error(
            "%s %s failed",
            getattr(request, "method", ""),
            getattr(request, "path", ""),
            exc_info=error,
        )
        body = _unforeseen()
    return Response(body, status=body["status"], headers=headers, content_type=CONTENT_TYPE)


def status_of(code: str) -> int:
    """The status that a problem with this stable code is answered with."""
    return next(status for status, codes in CODES.items() if code in codes)


def refused(status: int, code: str, detail: str) -> HttpResponse:
    """The answer to a request that is refused before any view sees it."""
    return _plain(problem(status, code, detail))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    """Django's handler for addresses that lead nowhere."""
    if not request.path.startswith(API):
        return failures.page(request, 404)
    return _plain(problem(404, "not_found", _("There is nothing at this address.")))


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    """Django's handler for what somebody may not do; REST framework answers for the API."""
    return failures.page(request, 403)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    """Django's handler for requests that it doesn't want to read."""
    if not request.path.startswith(API):
        return failures.page(request, 400)
    return _plain(problem(400, "bad_request", _("This request can't be read.")))


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler for failures outside of REST framework; Django has logged them.

    It is called while the exception is handled: a database that is away is an outage, which
    passes, and no fault of ours.
    """
    outage = isinstance(sys.exception(), OUTAGES)
    if not request.path.startswith(API):
        if outage:
            return failures.page(request, 503, retry_after=TRY_AGAIN_AFTER)
        return failures.page(request, 500)
    if outage:
        response = _plain(_unavailable())
        response["Retry-After"] = str(TRY_AGAIN_AFTER)
        return response
    return _plain(_unforeseen())


def _known(error: Exception, headers: dict[str, str]) -> Problem | None:
    """The problem for an exception that somebody foresaw; may add headers."""
    for kinds, translate in _TRANSLATIONS:
        if isinstance(error, kinds):
            return translate(error, headers)
    return None


def _of_rest_framework(error: exceptions.APIException, headers: dict[str, str]) -> Problem:
    if name := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = name
    wait = getattr(error, "wait", None)
    if wait is not None:
        headers["Retry-After"] = str(ceil(wait))
    if isinstance(error, exceptions.ValidationError):
        return _invalid(list(_flat(error.detail)))
    kind = next((known for known in _CODES if isinstance(error, known)), None)
    code = _CODES[kind] if kind else str(error.get_codes())
    return problem(error.status_code, code, str(error.detail), **getattr(error, "extra", {}))


def _of_django(error: Exception, _headers: dict[str, str]) -> Problem:
    if isinstance(error, Http404):
        return problem(404, "not_found", _("There is no such thing, or it is not yours."))
    if isinstance(error, PermissionDenied):
        return problem(403, "permission_denied", _("You may not do this."))
    if isinstance(error, RequestDataTooBig):
        return problem(413, "file_too_large", _("The request is too large."))
    return problem(400, "bad_request", _("This request can't be read."))


def _of_outage(error: Exception, headers: dict[str, str]) -> Problem:
    log.error("Something that we need does not answer: %s", error)
    headers["Retry-After"] = str(TRY_AGAIN_AFTER)
    return _unavailable()


def _of_refusal(refused: lifecycle.Refused, _headers: dict[str, str]) -> Problem:
    if isinstance(refused, lifecycle.CapExceeded):
        wrong = {"pointer": "/max_credits", "code": refused.code, "detail": refused.detail}
        return _invalid([wrong], **refused.params)
    if isinstance(refused, lifecycle.PatternRefused):
        wrong = {"pointer": "/name_pattern", "code": refused.code, "detail": refused.detail}
        return _invalid([wrong])
    statuses = {
        lifecycle.StateConflict: 409,
        lifecycle.BatchTooLarge: 403,
        lifecycle.ToolUnavailable: 422,
    }
    for kind, status in statuses.items():
        if isinstance(refused, kind):
            return problem(status, kind.code, refused.detail, **refused.params)
    return problem(422, "validation_failed", refused.detail)


def _of_credits(short: InsufficientCredits, _headers: dict[str, str]) -> Problem:
    figures: dict[str, Any] = {"required": short.required, "available": short.available}
    return problem(402, short.code, messages.text(short.code, figures), **figures)


def _of_image(refused: intake.ImageRefused, _headers: dict[str, str]) -> Problem:
    status = IMAGE_STATUS.get(refused.code, 422)
    detail = messages.text(refused.code, refused.params)
    return problem(status, refused.code, detail)


def _of_upload(refused: direct.Refused | partials.TooManyOpen, _headers: dict[str, str]) -> Problem:
    status = 409 if isinstance(refused, direct.Refused) else 422
    return problem(status, refused.code, messages.text(refused.code))


def _of_sheet(error: TableError | SheetError, headers: dict[str, str]) -> Problem:
    detail = messages.text(error.code, error.params)
    if error.code in SHEETS_AWAY:
        headers["Retry-After"] = str(error.params.get("seconds", TRY_AGAIN_AFTER))
        return problem(503, "unavailable", detail)
    return problem(SHEET_STATUS.get(error.code, 422), error.code, detail)


def _of_rows(invalid: intake.RowsInvalid, _headers: dict[str, str]) -> Problem:
    return _invalid(
        [
            {"pointer": wrong.pointer, "code": wrong.code, "detail": wrong.detail}
            for wrong in invalid.errors
        ]
    )


def _of_settings(invalid: SettingsInvalid, _headers: dict[str, str]) -> Problem:
    return _invalid(
        [
            {
                "pointer": f"/settings/{_escaped(wrong.field)}" if wrong.field else "/settings",
                "code": wrong.code,
                "detail": wrong.detail,
            }
            for wrong in invalid.errors
        ]
    )


def _of_unknown_tool(_error: UnknownTool, _headers: dict[str, str]) -> Problem:
    return problem(422, "tool_unavailable", _("This site does not have this tool any more."))


_TRANSLATIONS: Sequence[tuple[Any, Callable[[Any, dict[str, str]], Problem]]] = (
    (exceptions.APIException, _of_rest_framework),
    ((Http404, PermissionDenied, SuspiciousOperation, BadRequest), _of_django),
    (lifecycle.Refused, _of_refusal),
    (InsufficientCredits, _of_credits),
    (intake.ImageRefused, _of_image),
    ((direct.Refused, partials.TooManyOpen), _of_upload),
    (intake.RowsInvalid, _of_rows),
    ((TableError, SheetError), _of_sheet),
    (SettingsInvalid, _of_settings),
    (UnknownTool, _of_unknown_tool),
    (OUTAGES, _of_outage),
)


def _invalid(errors: Sequence[Mapping[str, str]], **members: Any) -> Problem:
    """Something in the request is wrong: the first error in words, all of them as a list."""
    first = errors[0]
    where = f"{first['pointer']}: " if first["pointer"] else ""
    detail = f"{where}{first['detail']}"
    if more := len(errors) - 1:
        detail = _("{detail} (and {more} more)").format(detail=detail, more=more)
    return problem(422, "validation_failed", detail, errors=errors, **members)


def _flat(detail: Any, pointer: str = "") -> Iterator[dict[str, str]]:
    """REST framework's nested errors as a list with JSON pointers."""
    if isinstance(detail, Mapping):
        for key, inner in detail.items():
            of_the_whole = key == "non_field_errors"
            yield from _flat(inner, pointer if of_the_whole else f"{pointer}/{_escaped(key)}")
    elif isinstance(detail, list):
        for index, inner in enumerate(detail):
            # A list of errors belongs to one field; a list of mappings to one row each.
            yield from _flat(inner, f"{pointer}/{index}" if isinstance(inner, Mapping) else pointer)
    else:
        yield {
            "pointer": pointer,
            "code": str(getattr(detail, "code", "invalid")),
            "detail": str(detail),
        }


def _escaped(key: object) -> str:
    return str(key).replace("~", "~0").replace("/", "~1")


def _encodable(value: Any) -> Any:
    """The same, where what a caller sent and we quote can't break the encoding."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {key: _encodable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_encodable(inner) for inner in value]
    return value


def _unforeseen() -> Problem:
    detail = _("Something went wrong on our side. Try again; if it fails again, tell us this id.")
    return problem(500, "internal_error", detail)


def _unavailable() -> Problem:
    return problem(503, "unavailable", _("The site is busy. Ask again in a moment."))


def _plain(body: Problem) -> JsonResponse:
    return JsonResponse(body, status=body["status"], content_type=CONTENT_TYPE)
