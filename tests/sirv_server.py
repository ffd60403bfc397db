"""A Sirv account on loopback, as strict as the real API says it is, and worse on demand.

Tokens run out, uploads are limited by the hour, names may be taken, pages hold a hundred names.
What it is told to do wrong it does to the next request that fits, once.
"""

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PAGE = 100
MOST_CHARACTERS = 1024
MOST_BYTES = 300 * 2**20
CDN = "alice.sirv.example"


@dataclass
class Stored:
    """A file of the account."""

    data: bytes
    content_type: str
    changed_at: float
    meta: dict[str, Any] = field(default_factory=dict)

    def entry(self, filename: str) -> dict[str, Any]:
        """As `stat` and `readdir` tell it."""
        moment = datetime.fromtimestamp(self.changed_at, UTC).isoformat(timespec="milliseconds")
        return {
            "filename": filename,
            "size": len(self.data),
            "mtime": moment.replace("+00:00", "Z"),
            "ctime": moment.replace("+00:00", "Z"),
            "contentType": self.content_type,
            "isDirectory": False,
        }


class SirvServer(ThreadingHTTPServer):
    """One account, with its client id and secret."""

    daemon_threads = True
    client_id = "client-1"
    client_secret = "secret-1"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, Stored] = {}
        self.tokens: dict[str, float] = {}
        self.token_seconds = 1200.0
        self.tokens_given = 0
        self.scope = ["account:read", "files:read", "files:write"]
        self.overwrites = True
        """Whether an upload takes the place of a file; else its name is taken: 403."""
        self.closed_folders: set[str] = set()
        self.hourly = 2000
        self.uploads: list[float] = []
        self.faults: list[tuple[str, str]] = []
        """What goes wrong next: part of a call's path, and how."""
        self.asked: list[str] = []
        self.clock = time.time
        self.lock = threading.RLock()

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def put(self, filename: str, data: bytes, content_type: str = "image/png") -> None:
        """A file that is there already."""
        self.files[filename] = Stored(data, content_type, self.clock())

    def pass_time(self, seconds: float) -> None:
        """Let the server's clock jump ahead: tokens end, the hour of the limit goes by."""
        before = self.clock
        self.clock = lambda: before() + seconds

    def fault(self, path: str) -> str:
        """What is to go wrong with this request, taken off the list."""
        with self.lock:
            for index, (part, how) in enumerate(self.faults):
                if part in path:
                    del self.faults[index]
                    return how
        return ""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet for headers and body
    server: SirvServer

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.server.asked.append(f"{self.command} {parts.path}")
        self.fault = self.server.fault(parts.path)
        if self.fault == "drop":
            self.rfile.read(int(self.headers.get("Content-Length") or 0) // 2)
            self.close_connection = True
            return
        if "Transfer-Encoding" in self.headers:
            self.close_connection = True
            self._say(411, {"message": "Length required"})
            return
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.fault.isdigit():
            self._say(int(self.fault), {"message": "out of order"})
            return
        name = f"{self.command} {parts.path}"
        if name == "POST /v2/token":
            self._token()
            return
        with self.server.lock:
            if not self._is_let_in():
                self._say(401, {"message": "Token expired"})
                return
            call = _CALLS.get(name)
            if call is None:
                self._say(404, {"message": "No such call"})
                return
            call(self)

    def _is_let_in(self) -> bool:
        kind, _space, token = self.headers.get("Authorization", "").partition(" ")
        return kind == "Bearer" and self.server.tokens.get(token, 0) > self.server.clock()

    def _token(self) -> None:
        try:
            asked = json.loads(self.body)
        except ValueError:
            self._say(400, {"message": "no JSON"})
            return
        ours = {"clientId": self.server.client_id, "clientSecret": self.server.client_secret}
        if asked != ours:
            self._say(401, {"message": "Invalid client"})
            return
        with self.server.lock:
            token = secrets.token_urlsafe(32)
            self.server.tokens[token] = self.server.clock() + self.server.token_seconds
            self.server.tokens_given += 1
        lasts = self.server.token_seconds
        self._say(200, {"token": token, "expiresIn": lasts, "scope": self.server.scope})

    def _account(self) -> None:
        self._say(200, {"alias": "alice", "cdnURL": CDN})

    def _upload(self) -> None:
        filename = self.query.get("filename", "")
        now = self.server.clock()
        hour = [moment for moment in self.server.uploads if moment > now - 3600]
        left = self.server.hourly - len(hour)
        reset = int((hour[0] if hour else now) + 3600)
        limits = {
            "x-ratelimit-limit": str(self.server.hourly),
            "x-ratelimit-remaining": str(max(left - 1, 0)),
            "x-ratelimit-reset": str(reset),
        }
        if left <= 0:
            self._say(429, {"message": "Rate limit exceeded"}, headers=limits)
        elif not self._is_writable(filename, scope="files:write"):
            self._say(403, {"message": "Forbidden"}, headers=limits)
        elif filename in self.server.files and not self.server.overwrites:
            self._say(403, {"message": "Name taken"}, headers=limits)
        elif len(self.body) > MOST_BYTES:
            self._say(413, {"message": "Too large"}, headers=limits)
        else:
            kept = self.body[: len(self.body) // 2] if self.fault == "truncate" else self.body
            kind = self.headers.get("Content-Type", "")
            self.server.files[filename] = Stored(kept, kind, now)
            self.server.uploads.append(now)
            self._say(200, None, headers=limits)

    def _is_writable(self, filename: str, *, scope: str) -> bool:
        closed = any(filename.startswith(f"{name}/") for name in self.server.closed_folders)
        whole = filename.startswith("/") and len(filename) <= MOST_CHARACTERS
        return whole and not closed and scope in self.server.scope

    def _stat(self) -> None:
        filename = self.query.get("filename", "")
        if stored := self.server.files.get(filename):
            self._say(200, stored.entry(filename))
        elif any(name.startswith(f"{filename.rstrip('/')}/") for name in self.server.files):
            self._say(200, {"filename": filename, "isDirectory": True, "size": 0})
        else:
            self._say(404, {"message": "Not found"})

    def _download(self) -> None:
        stored = self.server.files.get(self.query.get("filename", ""))
        if stored is None:
            self._say(404, {"message": "Not found"})
            return
        self.send_response(200)
        self.send_header("Content-Type", stored.content_type)
        self.send_header("Content-Length", str(len(stored.data)))
        self.end_headers()
        if self.fault == "cut":
            self.wfile.write(stored.data[: len(stored.data) // 2])
            self.close_connection = True
        elif self.fault == "drip":
            self.wfile.write(stored.data[:1])
            self.wfile.flush()
            for byte in stored.data[1:]:
                time.sleep(0.05)
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
        else:
            self.wfile.write(stored.data)

    def _delete(self) -> None:
        if self.server.files.pop(self.query.get("filename", ""), None):
            self._say(200, None)
        else:
            self._say(404, {"message": "Not found"})

    def _copy(self) -> None:
        stored = self.server.files.get(self.query.get("from", ""))
        if stored is None:
            self._say(404, {"message": "Not found"})
        else:
            self.server.put(self.query["to"], stored.data, stored.content_type)
            self._say(200, None)

    def _readdir(self) -> None:
        folder = self.query.get("dirname", "").rstrip("/") + "/"
        entries: dict[str, dict[str, Any]] = {}
        for filename, stored in self.server.files.items():
            if filename.startswith(folder):
                name, slash, _rest = filename[len(folder) :].partition("/")
                entries[name] = (
                    {"filename": name, "isDirectory": True, "size": 0}
                    if slash
                    else stored.entry(name)
                )
        if not entries and folder != "/":
            self._say(404, {"message": "Not found"})
            return
        start = int(self.query.get("continuation", "0"))
        page = [entries[name] for name in sorted(entries)][start : start + PAGE]
        answer: dict[str, Any] = {"contents": page}
        if start + PAGE < len(entries):
            answer["continuation"] = str(start + PAGE)
        self._say(200, answer)

    def _meta(self) -> None:
        stored = self.server.files.get(self.query.get("filename", ""))
        if stored is None:
            self._say(404, {"message": "Not found"})
            return
        kind = urlsplit(self.path).path.rpartition("/")[2]
        given = json.loads(self.body)
        stored.meta[kind] = given["description"] if kind == "description" else given
        self._say(200, None)

    def _say(self, status: int, body: Any, *, headers: dict[str, str] | None = None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if data:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


_CALLS = {
    "GET /v2/account": _Handler._account,
    "POST /v2/files/upload": _Handler._upload,
    "GET /v2/files/stat": _Handler._stat,
    "GET /v2/files/download": _Handler._download,
    "POST /v2/files/delete": _Handler._delete,
    "POST /v2/files/copy": _Handler._copy,
    "GET /v2/files/readdir": _Handler._readdir,
    "POST /v2/files/meta/description": _Handler._meta,
    "POST /v2/files/meta/product": _Handler._meta,
}


@contextmanager
def serving() -> Iterator[SirvServer]:
    """Run one for as long as the block."""
    server = SirvServer()
    thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
