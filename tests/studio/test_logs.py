"""Log lines: readable or JSON, with the ids of what they are about, and errors for a Sentry."""

import gzip
import json
import logging
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.conf import settings

from batches.tracing import at_work
from studio import logs, sentry


def line_of(form: str, message: str) -> str:
    """What the handler of these settings writes."""
    import io
    from logging.config import DictConfigurator

    made = DictConfigurator(logs.settings(level="INFO", form=form))
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(made.configure_formatter(dict(made.config["formatters"][form])))
    handler.addFilter(logs.IdsFilter())
    record = logging.LogRecord("batches", logging.ERROR, __file__, 1, message, (), None)
    handler.handle(record)
    return stream.getvalue()


def test_a_json_line_has_level_time_and_the_ids_of_what_is_in_hand():
    with at_work(batch="b-1", item="i-1"):
        told = json.loads(line_of("json", "It failed"))
    assert told.pop("time")
    assert told == {
        "level": "ERROR", "logger": "batches", "message": "It failed", "request_id": "",
        "batch": "b-1", "item": "i-1",
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
        "tags": {"batch": "b-1", "item": "i-1"},
    }


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
from batches.tracing import at_work
from django.conf import settings
with at_work(batch="b-1", item="i-1"):
    try:
        secret = settings.SECRET_KEY
        raise RuntimeError("no disk")
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
    assert event["tags"] == {"batch": "b-1", "item": "i-1"}
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
