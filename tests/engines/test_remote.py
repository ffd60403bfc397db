"""Calls to services on the network, against a server that misbehaves for real."""

import socket
import time
from email.utils import formatdate

import pytest

from tests.batches.fetch_server import Authority
from tests.engines import service as services
from tests.engines.service import (
    dripping,
    endless,
    page,
    seconds_of,
    silent,
    status,
    truncated,
    vanished,
)
from tools.engines import remote


@pytest.fixture
def call(service, patience, haste):
    """Makes a call; by default one that must not be made twice."""

    def make(*, hasty: bool = False, **how) -> remote.Answer:
        request = {
            "method": "POST",
            "url": f"{service.url}/anything",
            "headers": remote.bearer(services.KEY),
            "body": b"{}",
            "max_bytes": 1000,
            "harmless": False,
        }
        return remote.call(remote.Request(**{**request, **how}), haste if hasty else patience)

    return make


OK = page(b'{"fine": true}')
SLOW = (silent, dripping)


def test_an_answer_comes_back_with_its_json(service, call):
    service.faults = [OK]

    assert call().json() == {"fine": True}


@pytest.mark.parametrize(
    "fault",
    [
        status(429),
        status(429, retry_after="0"),
        status(500),
        status(503),
        status(429, retry_after="no number, no date"),
    ],
)
def test_what_certainly_came_to_nothing_is_tried_again(service, call, fault):
    service.faults = [fault, fault, OK]

    assert call().json() == {"fine": True}
    assert len(service.seen) == 3


@pytest.mark.parametrize(
    ("code", "error"),
    [(429, remote.Busy), (500, remote.Unreachable), (503, remote.Unreachable)],
)
def test_tries_are_bounded_and_a_later_one_may_help(service, call, code, error):
    service.faults = [status(code)] * 9

    with pytest.raises(error) as caught:
        call()

    assert caught.value.again
    assert len(service.seen) == 3


@pytest.mark.parametrize("fault", [truncated, vanished, status(502), status(504), silent, dripping])
def test_what_may_have_been_done_is_not_done_twice(service, call, fault):
    service.faults = [fault, OK]

    with pytest.raises(remote.Uncertain) as caught:
        call(hasty=fault in SLOW)

    assert not caught.value.again
    assert len(service.seen) == 1


@pytest.mark.parametrize("fault", [truncated, vanished, status(502), silent])
def test_what_does_no_harm_is_done_twice(service, call, fault):
    service.faults = [fault, OK]

    assert call(harmless=True, hasty=fault in SLOW).json() == {"fine": True}
    assert len(service.seen) == 2


def test_a_pause_beyond_our_patience_is_left_to_the_caller(service, call):
    service.faults = [status(429, retry_after="1"), OK]

    with pytest.raises(remote.Busy):
        call()
    assert len(service.seen) == 1


def test_the_pause_that_a_server_asks_for_is_made_also_when_it_is_a_date(service):
    later = formatdate(time.time() + 2, usegmt=True)
    service.faults = [status(503, retry_after=later), OK]
    patient = remote.Patience(total=5, longest_pause=3, first_pause=0.01)
    request = remote.Request("GET", f"{service.url}/x", {})

    took = seconds_of(lambda: remote.call(request, patient))

    assert took > 0.8


@pytest.mark.parametrize("fault", SLOW)
def test_no_server_can_hold_us_longer_than_the_total(service, call, fault):
    service.faults = [fault] * 9

    def hold():
        with pytest.raises(remote.Unreachable):
            call(harmless=True, hasty=True)

    assert seconds_of(hold) < 3


@pytest.mark.parametrize("fault", [page(b"x" * 1001), endless])
def test_an_answer_that_is_too_long_is_dropped(service, call, fault):
    service.faults = [fault]

    with pytest.raises(remote.BadAnswer, match="more than 1000 bytes"):
        call()


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'"text"', b"\xff\xfe", b"[" * 900, b""])
def test_what_is_no_json_object_is_a_bad_answer(service, call, content):
    service.faults = [page(content)]

    with pytest.raises(remote.BadAnswer):
        call().json()


def test_a_compressed_answer_is_not_unpacked(service, call):
    service.faults = [page(b"x", **{"Content-Encoding": "gzip"})]

    with pytest.raises(remote.BadAnswer, match="compressed"):
        call()


@pytest.mark.parametrize("code", [301, 400, 401, 403, 404, 413, 422, 501])
def test_a_refusal_is_final_and_says_why(service, call, code):
    service.faults = [status(code, "because of this")]

    with pytest.raises(remote.Refused, match=f"{code} because of this") as caught:
        call()

    assert not caught.value.again
    assert len(service.seen) == 1


def test_an_empty_account_is_no_reason_to_come_back(service, call):
    service.faults = [status(429, "You exceeded your quota.", error="insufficient_quota")]

    with pytest.raises(remote.Refused, match="quota"):
        call()


@pytest.mark.parametrize("error", ["content_policy_violation", "moderation_blocked"])
def test_forbidden_content_has_an_error_of_its_own(service, call, error):
    service.faults = [status(400, "Your request was rejected.", error=error)]

    with pytest.raises(remote.ContentRefused):
        call()


def test_a_refusal_may_be_any_garbage(service, call):
    def garbage(handler):
        handler.reply(400, b"\xff" * 200_000, "text/html", {})

    service.faults = [garbage]

    with pytest.raises(remote.Refused) as caught:
        call()
    assert len(str(caught.value)) < 500


def test_nobody_there_is_unreachable(call):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"

        with pytest.raises(remote.Unreachable) as caught:
            call(url=address)

    assert caught.value.again


@pytest.mark.parametrize("address", ["http://no-such-host.invalid/", "http://a..b/"])
def test_a_name_that_leads_nowhere_is_unreachable(call, address):
    with pytest.raises(remote.Unreachable):
        call(url=address)


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd",
        "http://[",
        "http://a.example:99999/",
        "http://a.example:x/",
        "http:///",
    ],
)
def test_what_is_no_web_address_is_not_called(call, address):
    with pytest.raises(remote.BadAnswer):
        call(url=address)


def test_an_address_that_an_answer_named_must_be_public(service, call):
    with pytest.raises(remote.BadAnswer, match="not public"):
        call(public_only=True)

    assert service.seen == []


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path, patience, monkeypatch):
    authority = Authority(tmp_path)
    with services.serving(authority.context_for("127.0.0.1")) as secret:
        request = remote.Request("GET", f"{secret.url}/x", {})
        with pytest.raises(remote.Refused, match="certificate"):
            remote.call(request, patience)

        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        secret.faults = [OK]
        assert remote.call(request, patience).json() == {"fine": True}


def test_the_key_is_in_no_message(service, call):
    service.faults = [status(500)] * 3

    with pytest.raises(remote.Unreachable) as caught:
        call(url=f"http://user:{services.KEY}@{service.address.rpartition('/')[2]}/v1")

    assert services.KEY not in str(caught.value)


def test_settings_without_a_value_are_named():
    assert remote.unset({"A": "x", "B": "", "C": ""}, what="Nothing.") == "Nothing. Set B and C."
    assert remote.unset({"A": "x"}, what="Nothing.") is None
