"""Uploads that break half way, on the real web server: what came is kept, and they go on."""

import http.client
import socket
from contextlib import closing
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from batches import storage
from batches.models import Original, PartialUpload
from tests.batches.tus import BYTES, TUS
from tests.factories import picture
from tests.worker.conftest import wait_for

pytestmark = [pytest.mark.worker, pytest.mark.django_db(transaction=True)]

TOKEN = "a" * 32
DATA = picture(5, size=(900, 700), kind="BMP")  # 1.9 MB: more than the connection's buffers hold


class Browser:
    """Alice's, as far as the network sees it."""

    def __init__(self, port: int, session: str) -> None:
        self.port = port
        self.headers = {
            **TUS,
            "Cookie": f"sessionid={session}; csrftoken={TOKEN}",
            "X-CSRFToken": TOKEN,
        }

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str):
        """A whole request and its answer."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as visitor:
            visitor.request(method, path, body, {**self.headers, **named})
            answer = visitor.getresponse()
            answer.body = answer.read()
            return answer

    def begin(self, path: str, *, offset: int, announced: int, send: bytes) -> socket.socket:
        """A PATCH that has sent only a part of what it announced; its connection is open."""
        lines = [f"PATCH {path} HTTP/1.1", "Host: 127.0.0.1"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += [f"Content-Type: {BYTES}", f"Upload-Offset: {offset}"]
        lines += [f"Content-Length: {announced}", "", ""]
        connection = socket.socket()
        connection.settimeout(30)
        # What is sent is then nearly all read, and not only on its way.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
        connection.connect(("127.0.0.1", self.port))
        connection.sendall("\r\n".join(lines).encode() + send)
        return connection

    def create(self) -> str:
        answer = self.ask("POST", "/uploads/tus/", Upload_Length=str(len(DATA)))
        assert answer.status == 201, answer.body
        return answer.headers["Location"]


@pytest.fixture
def browser(web, alice) -> Browser:
    client = Client()
    client.force_login(alice)
    return Browser(web(), client.cookies["sessionid"].value)


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_an_upload_that_is_cut_goes_on_where_it_broke(browser, alice, how):
    place, cut = browser.create(), 1_000_000

    connection = browser.begin(place, offset=0, announced=len(DATA), send=DATA[:cut])
    if how == "reset":
        # The other side learns of it as of an error, and loses what it has not read yet.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
    wait_for(lambda: PartialUpload.objects.get().offset > 0)
    kept = int(browser.ask("HEAD", place).headers["Upload-Offset"])
    early = browser.ask("GET", place)
    rest = browser.ask("PATCH", place, DATA[kept:], Upload_Offset=str(kept), Content_Type=BYTES)
    done = browser.ask("GET", place)

    assert 0 < kept <= cut
    assert how == "reset" or kept == cut
    assert early.status == 202
    assert (rest.status, rest.headers["Upload-Offset"]) == (204, str(len(DATA)))
    assert done.status == 200, done.body
    original = Original.objects.get(owner=alice)
    assert (original.bytes, original.format) == (len(DATA), "bmp")
    assert PartialUpload.objects.get().pieces == []


def test_one_who_comes_back_before_the_old_connection_is_given_up_goes_on(browser, alice):
    place = browser.create()

    old = browser.begin(place, offset=0, announced=len(DATA), send=DATA[:500_000])
    seen = browser.ask("HEAD", place).headers["Upload-Offset"]
    whole = browser.ask("PATCH", place, DATA, Upload_Offset=seen, Content_Type=BYTES)
    old.sendall(DATA[500_000:])
    late = old.recv(65_536)
    old.close()

    assert seen == "0"
    assert whole.status == 204
    assert late.startswith(b"HTTP/1.1 409 ")
    assert Original.objects.get(owner=alice).bytes == len(DATA)
    tomorrow = timezone.now() + timedelta(days=1)
    left = storage.walk(storage.ORIGINALS, older_than=tomorrow)
    assert not [key for key in left if key.endswith(storage.PIECE) and str(alice.uid) in key]
