"""Bodies whose length nobody announces, on the real web server: they are read like all others."""

import io
import json
import socket
from contextlib import closing

import httpx
import pytest

from accounts.models import SCOPES, create_key
from batches.models import Batch, Original
from studio import wsgi
from studio.wsgi import with_a_length
from tests.factories import picture

pytestmark = [pytest.mark.worker, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def client(web, alice):
    _key, secret = create_key(alice, name="test", scopes=SCOPES)
    address = f"http://127.0.0.1:{web()}/api/v1/"
    with httpx.Client(
        base_url=address, headers={"Authorization": f"Bearer {secret}"}, timeout=60
    ) as opened:
        yield opened


def pieces(data: bytes):
    """The same without a length, so that it is sent in chunks."""
    half = len(data) // 2
    yield from (data[:half], data[half:])


def test_what_comes_in_chunks_is_read_like_all_else(client, alice):
    images = [{"url": "https://a.io/x.png"}]
    batch = json.dumps({"tool": "upscale", "start": False, "images": images}).encode()
    form = httpx.Request("POST", client.base_url, files={"file": ("x.png", picture())})
    too_long = iter([b" " * 2**20] * 11)

    made = client.post(
        "batches", content=pieces(batch), headers={"Content-Type": "application/json"}
    )
    upload = client.post(
        "uploads",
        content=pieces(form.read()),
        headers={"Content-Type": form.headers["Content-Type"]},
    )
    empty = client.post(f"batches/{made.json()['id']}/cancel", content=iter([]))
    refused = client.post("batches", content=too_long, headers={"Content-Type": "application/json"})

    assert made.request.headers["Transfer-Encoding"] == "chunked"
    assert (made.status_code, made.json()["total"]) == (201, 1)
    assert (upload.status_code, upload.json()["bytes"]) == (201, len(picture()))
    assert (empty.status_code, empty.json()["status"]) == (200, "cancelled")
    assert (refused.status_code, refused.json()["code"]) == (413, "file_too_large")
    assert (Batch.objects.count(), Original.objects.count()) == (1, 1)


def test_a_body_with_two_lengths_is_no_request(client):
    head = b"POST /api/v1/batches HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\n"
    with closing(socket.create_connection(("127.0.0.1", client.base_url.port))) as connection:
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        answer = connection.recv(65_536)

    assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_body_without_an_end_is_cut_off(monkeypatch):
    monkeypatch.setattr(wsgi, "LONGEST_CHUNKED", wsgi.PIECE)

    class Endless:
        def read(self, size):
            return bytes(size)

    seen = {}
    taken = with_a_length(lambda environ, _start: seen.update(environ) or [])
    taken(
        {
            "HTTP_TRANSFER_ENCODING": "chunked",
            "wsgi.input_terminated": True,
            "wsgi.input": Endless(),
        },
        print,
    )

    assert int(seen["CONTENT_LENGTH"]) == 2 * wsgi.PIECE


def test_a_server_that_does_not_tell_where_a_body_ends_is_not_waited_for():
    body = io.BytesIO(b"x")
    seen = {}
    taken = with_a_length(lambda environ, _start: seen.update(environ) or [])

    taken({"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": body}, print)

    assert (body.tell(), "CONTENT_LENGTH" in seen) == (0, False)
