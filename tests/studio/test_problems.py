"""Whatever goes wrong under /api/ is told as RFC 9457 problem+json."""

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from django.core.exceptions import SuspiciousOperation, TooManyFilesSent
from django.db import OperationalError
from django.test import Client
from rest_framework import exceptions
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from batches import intake, lifecycle
from credits.ledger import InsufficientCredits
from studio import problems
from tests import clients
from tools.base import SettingError, SettingsInvalid, ToolSettings
from tools.engines.guard import GuardLost
from tools.registry import UnknownTool


class Failing(APIView):
    """Raises what it is given."""

    authentication_classes = []
    permission_classes = []
    throttle_classes = []
    error: Exception = RuntimeError()

    def get(self, request):
        raise self.error


def answer(error: Exception):
    response = Failing.as_view(error=error)(APIRequestFactory().get("/api/v1/x"))
    return response.render()


SETTINGS = SettingsInvalid([SettingError("", "invalid", "No.")], bound=ToolSettings())
ROW = intake.RowError(3, "/images/3/url", "source_not_allowed", "No.")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (exceptions.ParseError(), 400, "parse_error"),
        (SuspiciousOperation("x"), 400, "bad_request"),
        (TooManyFilesSent("x"), 400, "bad_request"),
        (InsufficientCredits(required=3, available=1), 402, "insufficient_credits"),
        (exceptions.PermissionDenied(), 403, "permission_denied"),
        (lifecycle.BatchTooLarge("No."), 403, "batch_limit_exceeded"),
        (exceptions.NotFound(), 404, "not_found"),
        (exceptions.MethodNotAllowed("PUT"), 405, "method_not_allowed"),
        (lifecycle.StateConflict("No."), 409, "state_conflict"),
        (intake.ImageRefused("file_too_large"), 413, "file_too_large"),
        (intake.ImageRefused("format_unsupported"), 415, "format_unsupported"),
        (exceptions.UnsupportedMediaType("text/csv"), 415, "format_unsupported"),
        (intake.ImageRefused("file_damaged"), 422, "file_damaged"),
        (intake.RowsInvalid([ROW]), 422, "validation_failed"),
        (lifecycle.CapExceeded("No."), 422, "validation_failed"),
        (lifecycle.Refused("No."), 422, "validation_failed"),
        (SETTINGS, 422, "validation_failed"),
        (exceptions.ValidationError("No."), 422, "validation_failed"),
        (lifecycle.ToolUnavailable("No."), 422, "tool_unavailable"),
        (UnknownTool("x"), 422, "tool_unavailable"),
        (exceptions.Throttled(wait=1.2), 429, "rate_limited"),
        (OperationalError("gone"), 503, "unavailable"),
        (GuardLost("gone"), 503, "unavailable"),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:9"), 503, "unavailable"),
        (ClientError({"Error": {"Code": "SlowDown"}}, "GetObject"), 503, "unavailable"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_each_refusal_has_its_status_and_code(error, status, code):
    response = answer(error)

    problem = response.data
    assert (response.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert response["Content-Type"] == "application/problem+json"
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["detail"]


def test_what_is_missing_is_said_in_figures():
    problem = answer(InsufficientCredits(required=3, available=1)).data

    assert (problem["required"], problem["available"]) == (3, 1)


@pytest.mark.parametrize(
    ("error", "seconds"), [(exceptions.Throttled(wait=1.2), "2"), (OperationalError("x"), "5")]
)
def test_what_may_work_later_says_when(error, seconds):
    assert answer(error)["Retry-After"] == seconds


def test_nested_errors_become_pointers():
    detail = {
        "tool": ["Unknown."],
        "images": [{}, {"url": ["Not an address.", "Too long."]}],
        "settings": {"a/b": ["No."]},
        "items": {2: ["Not yours."]},
        "non_field_errors": ["All wrong."],
    }

    problem = answer(exceptions.ValidationError(detail)).data

    assert [wrong["pointer"] for wrong in problem["errors"]] == [
        "/tool",
        "/images/1/url",
        "/images/1/url",
        "/settings/a~1b",
        "/items/2",
        "",
    ]
    assert problem["detail"] == "/tool: Unknown. (and 5 more)"


def test_what_callers_wrote_cannot_break_the_answer():
    response = answer(exceptions.ValidationError({"\ud800": ["“\udfff” is no name."]}))

    assert response.status_code == 422
    assert b'"pointer":"/?"' in response.content


def test_what_nobody_foresaw_is_logged_and_says_nothing(caplog):
    response = answer(RuntimeError("the password is hunter2"))

    assert (response.status_code, response.data["code"]) == (500, "internal_error")
    assert b"hunter2" not in response.content
    assert "the password is hunter2" in caplog.text


def test_an_answer_can_be_found_in_the_log_by_its_id(alice):
    response = clients.with_key(alice).get("/api/v1/batches", {"status": "x"})

    assert response.json()["request_id"] == response["X-Request-Id"]


def test_who_is_nobody_is_told_how_to_be_somebody(db, api):
    response = api.get("/api/v1/me")

    assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert response["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v1/batches/no-uuid", "/api/x"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_an_address_of_the_api_that_leads_nowhere_is_a_problem_too(path, method):
    response = getattr(Client(enforce_csrf_checks=True), method)(path)

    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["request_id"] == response["X-Request-Id"]


def test_a_page_that_leads_nowhere_is_a_page(db):
    response = Client().get("/nothing")

    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")


def test_a_method_that_is_not_there_is_a_problem(alice):
    response = clients.with_key(alice).put("/api/v1/me")

    assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
    assert "GET" in response["Allow"]


def test_failures_outside_of_the_framework_are_problems_under_api_and_pages_elsewhere(rf, db):
    for handler in (
        problems.server_error,
        lambda request: problems.bad_request(request, SuspiciousOperation("x")),
    ):
        in_api, page = handler(rf.get("/api/v1/x")), handler(rf.get("/x"))
        assert in_api["Content-Type"] == "application/problem+json"
        assert page["Content-Type"].startswith("text/html")
        assert in_api.status_code == page.status_code


def test_a_host_that_is_not_ours_gets_a_problem(db):
    response = Client(headers={"host": "evil.example"}).get("/api/v1/me")

    assert (response.status_code, response.json()["code"]) == (400, "bad_request")
