"""Every request has an id, and everybody learns it."""

import logging
import uuid

import pytest
from django.http import HttpResponse
from django.test import Client

from studio.logs import IdsFilter
from studio.middleware import (
    RequestIdMiddleware,
    current_request_id,
)


@pytest.mark.parametrize(
    "sent", ["a", "trace-01.2_3:4+5/6=", "x" * 128, "0af7651916cd43dd8448eb211c80319c"]
)
def test_a_sane_id_comes_back(sent):
    response = Client().get("/api/nothing", headers={"X-Request-Id": sent})

    assert response["X-Request-Id"] == response.json()["request_id"] == sent


@pytest.mark.parametrize("sent", ["", " ", "x" * 129, "a b", "a\r\nSet-Cookie: x=1", "<b>", "ü"])
def test_any_other_id_is_replaced(sent):
    response = Client().get("/api/nothing", headers={"X-Request-Id": sent})

    assert uuid.UUID(response["X-Request-Id"])


def test_two_requests_have_two_ids():
    first, second = (Client().get("/api/nothing")["X-Request-Id"] for _request in range(2))

    assert first != second


def test_pages_and_redirects_carry_it_too(db):
    for path in ("/accounts/login/", "/admin/"):
        assert Client().get(path)["X-Request-Id"]


def test_logs_name_the_request_that_they_are_about(rf):
    seen = []

    def view(_request):
        record = logging.makeLogRecord({})
        IdsFilter().filter(record)
        seen.append((current_request_id(), record.request_id))
        return HttpResponse()

    RequestIdMiddleware(view)(rf.get("/", headers={"X-Request-Id": "abc"}))

    assert seen == [("abc", "abc")]
    assert current_request_id() == ""


def test_what_is_logged_after_the_answer_still_names_the_request(rf):
    request = rf.get("/", headers={"X-Request-Id": "abc"})
    RequestIdMiddleware(lambda _request: HttpResponse())(request)
    about, beside = logging.makeLogRecord({"request": request}), logging.makeLogRecord({})

    for record in (about, beside):
        assert IdsFilter().filter(record)

    assert (about.request_id, beside.request_id) == ("abc", "")


def test_an_id_does_not_outlive_a_request_that_broke(rf):
    def view(_request):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        RequestIdMiddleware(view)(rf.get("/"))

    assert current_request_id() == ""
