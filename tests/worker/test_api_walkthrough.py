"""docs/api.md, typed into a shell: each block does what the page says that it does."""

import os
import re
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from accounts.models import User, create_key
from bench.photos import photos
from tests.factories import give

pytestmark = pytest.mark.worker

PAGE = Path(__file__).parents[2] / "docs/api.md"
BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "=== what block {} prints ==="
SECONDS = 60


def blocks() -> Iterator[tuple[str, str]]:
    """Each block of commands with what the page says that it prints."""
    found = BLOCK.findall(PAGE.read_text())
    for position, (kind, text) in enumerate(found):
        if kind == "sh":
            after = found[position + 1] if position + 1 < len(found) else ("", "")
            yield text, after[1] if after[0] == "text" else ""


@pytest.fixture
def hook(tmp_path) -> Iterator[str]:
    """Somebody's server, which keeps what comes where the page has it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            (tmp_path / "headers.txt").write_text(str(self.headers))
            (tmp_path / "body.json").write_bytes(body)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def as_pattern(printed: str) -> str:
    """What the page shows, where an ellipsis stands for anything on its line."""
    return ".*".join(map(re.escape, printed.strip().split("…")))


def test_every_block_of_the_page_runs_and_prints_what_it_says(
    live_server, start, settings, tmp_path, hook
):
    settings.FETCH_ALLOW = [hook]
    settings.SITE_URL = live_server.url
    reader = User.objects.create_user(email="you@example.com")
    give(reader, 100)
    _key, secret = create_key(reader, name="a shell")
    workers = [start("worker", queue, STUDIO_FETCH_ALLOW=hook) for queue in ("io", "cpu")]
    names = ["mug.jpg", "cup.jpg"]
    for name, (_name, photo) in zip(names, photos(2, sizes=[(320, 240), (240, 320)]), strict=True):
        (tmp_path / name).write_bytes(photo)
    told = list(blocks())
    script = "".join(
        f"echo '{MARK.format(number)}'\n{commands}" for number, (commands, _) in enumerate(told)
    )

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        check=False,
        cwd=tmp_path,
        env={
            **os.environ,
            "STUDIO": live_server.url,
            "KEY": secret,
            "HOOK": f"http://{hook}/studio",
        },
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    printed = re.split(MARK.format(r"\d+") + r"\n", done.stdout)[1:]
    assert len(printed) == len(told) > 10
    for (commands, expected), text in zip(told, printed, strict=True):
        assert re.fullmatch(as_pattern(expected), text.replace("\r", "").strip()), commands
    with zipfile.ZipFile(tmp_path / "results.zip") as archive:
        assert archive.testzip() is None
        assert {"mug.png", "cup.png", "manifest.json"} <= set(archive.namelist())
    assert all(worker.poll() is None for worker in workers)
    for name in ("sku-1.png", "cup.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.mode == "RGBA"
