"""Log lines: readable or JSON, with the ids of what they are about, and errors for a Sentry."""

import gzip
import json
import logging
import os
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.conf import settings
from django.core import signing
from django.utils.functional import SimpleLazyObject

from accounts import links, notices
from batches import pipeline
from batches.tracing import at_work, in_hand
from studio import logs, sentry
from studio.hiding import hide
from studio.middleware import RequestIdMiddleware
from tests.factories import bare_batch, bare_item
from tests.studio.conftest import free_port


def line_of(form: str, message: str, error=None) -> str:
    """What the handler of these settings writes."""
    import io
    from logging.config import DictConfigurator

    made = DictConfigurator(logs.settings(level="INFO", form=form))
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(made.configure_formatter(dict(made.config["formatters"][form])))
    handler.addFilter(logs.IdsFilter())
    record = logging.LogRecord("batches", logging.ERROR, __file__, 1, message, (), error)
    handler.handle(record)
    return stream.getvalue()


def test_a_json_line_has_level_time_and_the_ids_of_what_is_in_hand():
    with at_work(batch="b-1", item="i-1"):
        told = json.loads(line_of("json", "It failed"))
    assert told.pop("time")
    assert told.pop("worker") == pipeline.worker_name()
    assert told == {
        "level": "ERROR", "logger": "batches", "message": "It failed", "request_id": "",
        "user": "", "batch": "b-1", "item": "i-1",
    }  # fmt: skip


def test_a_plain_line_names_batch_and_item_too():
    with at_work(batch="b-1", item="i-1"):
        assert "ERROR batches [b-1/i-1] It failed" in line_of("plain", "It failed")
    assert "[-] It failed" in line_of("plain", "It failed")


def test_work_inside_work_goes_back_to_what_was_there_before():
    with at_work(batch="b", item="1"):
        with at_work(batch="b", item="2"):
            pass
        assert "[b/1]" in line_of("plain", "x")


def test_secrets_and_people_are_left_out_of_what_a_sentry_gets():
    event = {
        "user": {"email": "a@example.com"},
        "request": {"headers": {"Authorization": "Bearer sk", "Accept": "text/html"}},
        "extra": [{"api_key": "k", "n": 1}],
    }
    with at_work(batch="b-1", item="i-1"):
        sent = sentry.before_send(event, {})
    assert sent == {
        "request": {"headers": {"Authorization": "[kept here]", "Accept": "text/html"}},
        "extra": [{"api_key": "[kept here]", "n": 1}],
        "tags": {"batch": "b-1", "item": "i-1", "worker": pipeline.worker_name()},
    }


def test_the_thread_that_renews_a_claim_is_about_its_item_too(alice):
    seen = []

    class Watched(pipeline.Lease):
        def _renew(self) -> None:
            seen.append(in_hand())

    item = bare_item(bare_batch(alice))
    with Watched(item, seconds=1):
        pass
    assert seen == [(str(item.batch.uid), str(item.uid))]


STRUCK = [
    ("to müller@shop.example, or a.b+c@x.io", "to [kept here], or [kept here]"),
    ("postgresql://studio:pass@db/studio", "postgresql://[kept here]@db/studio"),
    ("redis://:pass@db:6379/0", "redis://[kept here]@db:6379/0"),
    ("'Authorization': 'Bearer sk_live_abc'", "'Authorization': 'Bearer [kept here]'"),
    ("key sk_live_aB-9, whsec_Zm9v=", "key [kept here], [kept here]"),
    ("GET /x?token=a1b2&page=2", "GET /x?[kept here]&page=2"),
    ("Gone: /accounts/password/reset/MQ/c1-abc/", "Gone: /accounts/password/reset/[kept here]/"),
    ("mug@2.png of 3:4 at 12:30:00, 0 of 1: 2@x", "mug@2.png of 3:4 at 12:30:00, 0 of 1: 2@x"),
]


@pytest.mark.parametrize(("said", "written"), STRUCK)
def test_secrets_and_addresses_are_struck_out_of_lines(said, written):
    assert hide(said) == written
    assert f" {written}\n" in line_of("plain", said)
    assert json.loads(line_of("json", f"it said\n{said}"))["message"] == f"it said\n{written}"


@pytest.mark.parametrize("part", ["a", "a.", "a@", "://a:", "a:", "token="])
def test_a_long_line_does_not_take_long(part):
    begun = time.process_time()
    hide(part * (200_000 // len(part)))
    assert time.process_time() - begun < 2


def test_what_this_site_signs_is_struck_out_of_lines(alice):
    for token in (
        links.make(alice, purpose=links.CONFIRM, address=alice.email),
        notices.token(alice, "low"),
        signing.Signer(salt="batches.links").sign("r7.0.1.1789"),
    ):
        assert hide(f"Gone: /l/{token}/") == "Gone: /l/[kept here]/"


def test_stack_traces_are_no_way_round_that():
    problem = RuntimeError("no mailbox a@example.com")
    error = (RuntimeError, problem, None)
    for form in ("plain", "json"):
        told = line_of(form, "It failed", error)
        assert "RuntimeError: no mailbox [kept here]" in told
        assert told.count("\n") == 1 or form == "plain"


def test_a_line_names_who_is_signed_in_if_anybody_has_asked(rf, alice):
    request = rf.get("/")
    request.user = SimpleLazyObject(lambda: alice)

    def view(request):
        before = line_of("plain", "x")
        assert request.user.is_authenticated
        return [before, line_of("plain", "x")]

    class Answer(dict):
        lines: list[str]

    def answer(request):
        made = Answer()
        made.lines = view(request)
        return made

    request.headers = {"X-Request-Id": "r-1"}
    lines = RequestIdMiddleware(answer)(request).lines
    assert ["[r-1] x" in lines[0], f"[r-1/{alice.uid}] x" in lines[1]] == [True, True]


@pytest.fixture
def sentry_server():
    """A Sentry on loopback; what it was sent."""
    got: list[bytes] = []

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            packed = self.headers.get("Content-Encoding") == "gzip"
            got.append(gzip.decompress(body) if packed else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://public@127.0.0.1:{server.server_port}/1", got
    server.shutdown()
    server.server_close()


FAILS = """
import django, logging
django.setup()
from batches.tracing import at_work, in_hand
from django.conf import settings
with at_work(batch="b-1", item="i-1"):
    try:
        secret = settings.SECRET_KEY
        raise RuntimeError("no disk of a@example.com")
    except RuntimeError:
        logging.getLogger("batches").exception("Item failed")
"""


def test_an_error_reaches_the_named_sentry_with_its_ids_and_no_secret(sentry_server, tmp_path):
    dsn, got = sentry_server
    env = os.environ | {
        "SENTRY_DSN": dsn, "STUDIO_DATA_DIR": str(tmp_path), "SECRET_KEY": "the-secret-key",
        "DJANGO_SETTINGS_MODULE": "studio.settings",
    }  # fmt: skip
    subprocess.run([sys.executable, "-c", FAILS], env=env, check=True, cwd=settings.BASE_DIR)
    event = next(
        json.loads(line) for body in got for line in body.splitlines() if b"no disk" in line
    )
    tags = event["tags"]
    assert (tags["batch"], tags["item"]) == ("b-1", "i-1")
    assert "disk of [kept here]" in event["exception"]["values"][0]["value"]
    assert b"the-secret-key" not in b"".join(got)


def test_without_a_sentry_nothing_of_it_is_imported(tmp_path):
    code = "import django, sys; django.setup(); print('sentry_sdk' in sys.modules)"
    env = {
        **os.environ,
        "STUDIO_DATA_DIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "studio.settings",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, check=True, cwd=settings.BASE_DIR,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "False\n"


BREAKS = """
import django
django.setup()
def application(environ, start):
    if environ["PATH_INFO"] == "/breaks":
        raise RuntimeError("no mailbox a@example.com")
    start("200 OK", [("X-Request-Id", "r-7"), ("Content-Length", "0")])
    return [b""]
"""


def test_the_web_servers_own_lines_have_the_same_form(tmp_path):
    (tmp_path / "breaking.py").write_text(BREAKS)
    port = free_port()
    env = os.environ | {
        "STUDIO_LOG_FORMAT": "json", "STUDIO_LOG_LEVEL": "INFO", "PYTHONPATH": str(tmp_path),
        "STUDIO_DATA_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "studio.settings",
    }  # fmt: skip
    config = settings.BASE_DIR / "studio/gunicorn_config.py"
    command = [
        *(sys.executable, "-m", "gunicorn", "breaking", "--config", str(config)),
        *("--bind", f"127.0.0.1:{port}", "--no-control-socket", "--chdir", str(tmp_path)),
    ]
    server = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    lines = []
    try:
        for line in server.stderr:
            lines.append(json.loads(line))
            if "Booting worker" in lines[-1]["message"]:
                for path in ("/breaks", "/well?token=t"):
                    visitor = HTTPConnection("127.0.0.1", port, timeout=10)
                    visitor.request("GET", path)
                    visitor.getresponse().read()
                    visitor.close()
            if "/well" in lines[-1]["message"]:
                break
    finally:
        server.terminate()
        server.communicate()

    (broke,) = [line for line in lines if line["level"] == "ERROR"]
    assert "no mailbox [kept here]" in broke["exc_info"]
    assert lines[-1]["message"].startswith("GET /well 200 0 bytes")
    assert (lines[-1]["logger"], lines[-1]["request_id"]) == ("gunicorn.access", "r-7")
