"""A program that was written for Sirv AI Studio, on the real web server with a real worker."""

import io

import httpx
import pytest
from PIL import Image

from accounts.models import SCOPES, create_key
from bench.photos import photos

pytestmark = [pytest.mark.worker, pytest.mark.django_db(transaction=True)]


class Program:
    """What it does, by the letter: it knows a base address and a key, and nothing of us."""

    def __init__(self, base: str, key: str) -> None:
        self._base = base
        self._how = {"headers": {"Authorization": f"Bearer {key}"}, "timeout": 360}

    def is_welcome(self) -> bool:
        answer = httpx.get(f"{self._base}me", **self._how)
        assert answer.status_code in (200, 401)
        return answer.status_code == 200

    def without_background(self, picture: bytes, **wishes: str) -> tuple[dict, bytes]:
        """The answer of the tool, and the file that it names: read without a key."""
        files = {"file": ("upload.png", picture, "image/png")}
        sent = httpx.post(f"{self._base}upload", files=files, **self._how)
        assert sent.status_code == 200, sent.text
        call = {"image_url": sent.json()["url"], **wishes}
        done = httpx.post(f"{self._base}remove-bg", json=call, **self._how)
        assert done.status_code == 200, done.text
        with httpx.stream("GET", done.json()["image_url"]) as file:
            assert file.status_code == 200
            announced = int(file.headers["Content-Length"])
            return done.json(), file.read()[:announced]


def test_it_works_by_changing_its_base_address(alice, web, start):
    _key, secret = create_key(alice, name="test", scopes=SCOPES)
    base = f"http://127.0.0.1:{web()}/api/zapier/"
    start("worker", "cpu")
    ((_name, photo),) = photos(1, sizes=[(320, 240)])
    program = Program(base, secret)

    answer, file = program.without_background(photo, model="u2netp")

    assert program.is_welcome()
    assert not Program(base, "sk_live_wrong").is_welcome()
    assert (answer["credits_used"], answer["model"]) == (1, "u2netp")
    made = Image.open(io.BytesIO(file))
    assert (made.size, made.mode) == ((320, 240), "RGBA")
    assert made.getextrema()[3][1] > 0
