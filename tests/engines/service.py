"""A service on loopback that speaks OpenAI's chat and images APIs and a queue, strictly.

It refuses what the real ones refuse: a wrong key, unknown parameters, a size it doesn't offer, a
mask of another size or without a see-through part. It paints so that a test can tell where. What
goes wrong is put in front: each of ``faults`` answers one request in place of the service.
"""

import base64
import io
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import python_multipart
from PIL import Image

KEY = "sk-secret"
SIZES = ("256x256", "384x256", "256x384")
PAINT = (200, 30, 220)
"""What it paints where a mask says, and all over when it generates."""
STEP = 0.05  # seconds between two bytes of a slow answer


class Refusal(Exception):
    """The service's own no."""

    def __init__(self, status: int, message: str, *, code: str = "", **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "code": code}}
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass
class Seen:
    """One request as it arrived; ``given`` is its JSON or the fields of its form."""

    method: str
    path: str
    headers: dict[str, str]
    given: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Image.Image] = field(default_factory=dict)


Fault = Callable[["_Handler"], None]


def status(code: int, message: str = "no", *, error: str = "", **headers: str) -> Fault:
    """A refusal with a status of its own."""
    return lambda handler: handler.refuse(Refusal(code, message, code=error, **headers))


def page(content: bytes, kind: str = "application/json", **headers: str) -> Fault:
    """A success with any content at all."""
    return lambda handler: handler.reply(200, content, kind, headers)


def truncated(handler: "_Handler") -> None:
    """Announces more than comes."""
    handler.head(200, {"Content-Length": "1000"})
    handler.wfile.write(b'{"choices": [')


def vanished(handler: "_Handler") -> None:
    """Hangs up without a word."""
    handler.close_connection = True


def silent(handler: "_Handler") -> None:
    """Takes the request and says nothing for long."""
    handler.server.stopping.wait(5)


def dripping(handler: "_Handler") -> None:
    """Sends a byte now and then, for ever: no read ever times out."""
    handler.head(200, {})
    while not handler.server.stopping.wait(STEP):
        handler.wfile.write(b" ")


def endless(handler: "_Handler") -> None:
    """Sends and sends."""
    handler.head(200, {})
    while not handler.server.stopping.is_set():
        handler.wfile.write(b" " * 65536)


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        service = self.server.service
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        seen = Seen(self.command, urlsplit(self.path).path, dict(self.headers.items()))
        service.seen.append(seen)
        fault = service.faults.pop(0) if service.faults else None
        try:
            if fault:
                fault(self)
                return
            if seen.path.startswith("/files/"):  # like any storage: no key, no questions
                self.reply(200, service.stored[seen.path.removeprefix("/files/")], "image/png", {})
                return
            _read(seen, body)
            answer = service.answer(seen)
            self.reply(200, json.dumps(answer).encode(), "application/json", {})
        except Refusal as refusal:
            self.refuse(refusal)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True

    def refuse(self, refusal: Refusal) -> None:
        content = json.dumps(refusal.body).encode()
        self.reply(refusal.status, content, "application/json", refusal.headers)

    def reply(self, code: int, content: bytes, kind: str, headers: dict[str, str]) -> None:
        length = {"Content-Type": kind, "Content-Length": str(len(content))}
        self.head(code, {**length, **headers})
        self.wfile.write(content)

    def head(self, code: int, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in {**headers, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()


def _read(seen: Seen, body: bytes) -> None:
    kind = seen.headers.get("Content-Type", "")
    if kind == "application/json":
        seen.given = json.loads(body)
    elif kind.startswith("multipart/form-data"):
        headers = {"Content-Type": kind.encode(), "Content-Length": str(len(body)).encode()}
        files: list[Any] = []

        def take(given: Any) -> None:
            seen.given[given.field_name.decode()] = given.value.decode()

        python_multipart.parse_form(headers, io.BytesIO(body), take, files.append)
        for file in files:
            name = file.field_name.decode()
            while name in seen.files:
                name += "+"
            file.file_object.seek(0)
            seen.files[name] = _opened(file.file_object.read())


def _opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def _from_data_url(address: str) -> Image.Image:
    kind, _, content = address.partition(";base64,")
    if kind not in ("data:image/jpeg", "data:image/png"):
        raise Refusal(400, f"unsupported image {kind}", code="invalid_image_format")
    return _opened(base64.b64decode(content, validate=True))


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


class Service:
    """What it knows and does; ``said`` is what the model that looks at pictures says."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.url = f"{address}/v1"
        self.seen: list[Seen] = []
        self.faults: list[Fault] = []
        self.stored: dict[str, bytes] = {}
        self.said: Any = "A cup of coffee."
        self.by_url = False
        self.takes_max_tokens = True
        self.knows_seeds = False
        self.states = ["starting", "processing", "succeeded"]
        self.outcome: dict[str, Any] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.cancelled: list[str] = []

    @property
    def paths(self) -> list[str]:
        return [f"{seen.method} {seen.path}" for seen in self.seen]

    def answer(self, seen: Seen) -> dict[str, Any]:
        if seen.headers.get("Authorization") != f"Bearer {KEY}":
            raise Refusal(401, "Incorrect API key provided.", code="invalid_api_key")
        match seen.path.split("/")[1:]:
            case ["v1", "chat", "completions"]:
                return self.chat(seen)
            case ["v1", "images", "edits"]:
                return self.edits(seen)
            case ["v1", "images", "generations"]:
                return self.generations(seen)
            case ["v1", "predictions"]:
                return self.submit(seen)
            case ["v1", "predictions", name]:
                return self.poll(name)
            case ["v1", "predictions", name, "cancel"]:
                self.cancelled.append(name)
                return {**self.jobs[name], "status": "canceled"}
        raise Refusal(404, f"no {seen.path}")

    def chat(self, seen: Seen) -> dict[str, Any]:
        given = seen.given
        if "max_tokens" in given and not self.takes_max_tokens:
            raise Refusal(400, "Use 'max_completion_tokens' instead.", code="unsupported_parameter")
        if given["model"] != "looker":
            raise Refusal(404, "The model does not exist.", code="model_not_found")
        (message,) = given["messages"]
        assert message["role"] == "user"
        for part in message["content"]:
            if part["type"] == "image_url":
                seen.files["image"] = _from_data_url(part["image_url"]["url"])
            else:
                assert part["type"] == "text"
        message = {"role": "assistant", "content": self.said}
        return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}

    def _check(self, seen: Seen) -> tuple[int, int]:
        known = {"model", "prompt", "n", "size"} | ({"seed"} if self.knows_seeds else set())
        for name in seen.given.keys() - known:
            raise Refusal(400, f"Unknown parameter: '{name}'.", code="unknown_parameter")
        if seen.given["size"] not in SIZES:
            raise Refusal(400, "Invalid size.", code="invalid_value")
        if not seen.given["prompt"]:
            raise Refusal(400, "A prompt is required.", code="invalid_value")
        width, height = map(int, seen.given["size"].split("x"))
        return width, height

    def edits(self, seen: Seen) -> dict[str, Any]:
        size = self._check(seen)
        image = seen.files.get("image", seen.files.get("image[]"))
        if image is None or image.format != "PNG":
            raise Refusal(400, "An image is required.", code="invalid_image")
        mask = seen.files.get("mask")
        if mask is None:
            made = Image.eval(image.convert("RGB"), lambda level: 255 - level)
        else:
            if mask.size != image.size or mask.mode != "RGBA":
                raise Refusal(400, "Invalid mask.", code="invalid_image")
            where = Image.eval(mask.getchannel("A"), lambda level: 255 - level)
            made = image.convert("RGB")
            made.paste(PAINT, mask=where)
        return {"created": 1, "data": [self._given(made.resize(size))]}

    def generations(self, seen: Seen) -> dict[str, Any]:
        size = self._check(seen)
        assert isinstance(seen.given["n"], int)
        return {"created": 1, "data": [self._given(Image.new("RGB", size, PAINT))]}

    def _given(self, made: Image.Image) -> dict[str, str]:
        if self.by_url:
            return {"url": self.store("made.png", made)}
        return {"b64_json": base64.b64encode(png(made)).decode()}

    def store(self, name: str, made: Image.Image) -> str:
        self.stored[name] = png(made)
        return f"{self.address}/files/{name}"

    def submit(self, seen: Seen) -> dict[str, Any]:
        inputs = seen.given["input"]
        seen.files = {
            name: _from_data_url(value)
            for name, value in inputs.items()
            if isinstance(value, str) and value.startswith("data:")
        }
        made = seen.files["image"].convert("RGB")
        if "mask" in seen.files:
            assert seen.files["mask"].size == made.size
            made.paste(PAINT, mask=seen.files["mask"].convert("L"))
        else:
            made = Image.eval(made, lambda level: 255 - level)
        name = f"job{len(self.jobs) + 1}"
        here = f"{self.url}/predictions/{name}"
        self.jobs[name] = {
            "id": name,
            "status": self.states[0],
            "urls": {"get": here, "cancel": f"{here}/cancel"},
            "left": self.states[1:],
            "made": [self.store(f"{name}.png", made)],
        }
        return self._told(name)

    def poll(self, name: str) -> dict[str, Any]:
        job = self.jobs[name]
        if job["left"]:
            job["status"] = job["left"].pop(0)
        return self._told(name)

    def _told(self, name: str) -> dict[str, Any]:
        job = self.jobs[name]
        told = {key: job[key] for key in ("id", "status", "urls")}
        output = job["made"] if job["status"] == "succeeded" else None
        return {**told, "output": output, "error": None, **self.outcome}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stopping = threading.Event()
        scheme = "http"
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
            scheme = "https"
        self.service = Service(f"{scheme}://127.0.0.1:{self.server_port}")

    def handle_error(self, *_arguments: object) -> None:
        """A client that hung up is what some tests are about."""


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Service]:
    """A service that listens for as long as the block."""
    server = _Server(tls)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.service
    finally:
        server.stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()


def seconds_of(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


def level(image: Image.Image) -> "np.ndarray[Any, Any]":
    """The pixels as numbers that can be subtracted."""
    return np.asarray(image.convert("RGB")).astype(int)
