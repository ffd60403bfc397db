"""Google on loopback: tokens, spreadsheets and public links, with the rules that it documents.

Real gspread and google-auth talk to it. It checks what the real one checks: signature, audience
and times of the assertion, the token of each call, who may read and who may write, the limits
of the grid, calls a minute.
"""

import base64
import csv
import io
import json
import re
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

EMAIL = "studio@project.iam.gserviceaccount.com"
SCOPE = "https://www.googleapis.com/auth/spreadsheets"
AUDIENCE = "https://oauth2.googleapis.com/token"  # wherever the endpoint itself is
SIGN_IN = "<!DOCTYPE html><html><head><title>Sign in - Google Accounts</title></head></html>"


@cache
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True)
class Formula:
    """A cell that shows something else than what it holds."""

    text: str
    shown: str = ""


@dataclass
class TabState:
    title: str
    cells: list[list[Any]] = field(default_factory=list)
    gid: int = 0
    rows: int = 1000
    columns: int = 26
    hidden: bool = False
    protected: bool = False

    def put(self, row: int, column: int, value: Any) -> None:
        while len(self.cells) <= row:
            self.cells.append([])
        line = self.cells[row]
        line.extend([""] * (column + 1 - len(line)))
        line[column] = value

    def at(self, row: int, column: int) -> Any:
        line = self.cells[row] if row < len(self.cells) else []
        return line[column] if column < len(line) else ""

    def column(self, name: str) -> list[Any]:
        """What stands below a name of the first row."""
        at = self.cells[0].index(name)
        return [self.at(row, at) for row in range(1, len(self.cells))]


@dataclass
class Spreadsheet:
    id: str
    tabs: list[TabState]
    title: str = "Catalogue"
    readers: set[str] = field(default_factory=set)
    writers: set[str] = field(default_factory=set)
    is_public: bool = False
    is_office: bool = False
    link_host: str = ""
    """Where the public link redirects to instead of the host of files."""


@dataclass(frozen=True)
class Call:
    """A call as it came; `kind` is `token`, `get`, `values`, `batchGet`, `write`, `change` or
    `csv`."""

    kind: str
    at: float
    bytes: int
    status: int


class Refusal(Exception):
    def __init__(self, status: int, word: str, message: str, **headers: str) -> None:
        super().__init__(status, word, message)
        self.status, self.word, self.message, self.headers = status, word, message, headers


class GoogleServer:
    """What a test says to it, and what it has seen."""

    def __init__(self) -> None:
        self.port = 0
        self.sheets: dict[str, Spreadsheet] = {}
        self.calls: list[Call] = []
        self.tokens: dict[str, float] = {}
        self.token_seconds = 3600.0
        self.refusals: list[Refusal] = []
        """Given to the next calls of the API, one each."""
        self.lasting: Refusal | None = None
        self.per_window: tuple[int, float] | None = None
        """So many calls of a kind in so many seconds."""
        self.stall = threading.Event()
        self.is_stalling = False
        self.before: Callable[[str], None] = lambda kind: None
        """Told of each call of the API before it is answered."""
        self.lock = threading.RLock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def configuration(self) -> dict[str, str]:
        return {"api": self.url, "docs": self.url}

    def key_file(self, folder: Path, **changes: Any) -> Path:
        """A key file as Google hands them out."""
        pem = private_key().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path = folder / "google.json"
        info = {
            "type": "service_account",
            "project_id": "project",
            "private_key_id": "1",
            "private_key": pem.decode(),
            "client_email": EMAIL,
            "client_id": "1",
            "token_uri": f"{self.url}/token",
        }
        path.write_text(json.dumps({**info, **changes}))
        return path

    def add(self, *tabs: TabState, share: str = "writer", **about: Any) -> Spreadsheet:
        sheet = Spreadsheet(id=f"1{secrets.token_hex(21)}", tabs=list(tabs), **about)
        if share:
            (sheet.writers if share == "writer" else sheet.readers).add(EMAIL)
        self.sheets[sheet.id] = sheet
        return sheet

    def link(self, sheet: Spreadsheet, tab: TabState | None = None) -> str:
        return f"{self.url}/spreadsheets/d/{sheet.id}/edit#gid={(tab or sheet.tabs[0]).gid}"

    def kinds(self) -> list[str]:
        return [call.kind for call in self.calls]

    def revoke(self) -> None:
        self.tokens.clear()

    # --- Tokens -----------------------------------------------------------------------

    def grant(self, form: dict[str, list[str]]) -> dict[str, Any]:
        if form["grant_type"] != ["urn:ietf:params:oauth:grant-type:jwt-bearer"]:
            raise Refusal(400, "unsupported_grant_type", "")
        signed, _, signature = form["assertion"][0].rpartition(".")
        header, claims = (json.loads(_unbase64(part)) for part in signed.split("."))
        try:
            private_key().public_key().verify(
                _unbase64(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature as error:
            raise Refusal(400, "invalid_grant", "Invalid JWT Signature.") from error
        now = time.time()
        if header["alg"] != "RS256" or claims["iss"] != EMAIL:
            raise Refusal(400, "invalid_grant", "Invalid issuer.")
        if claims["aud"] != AUDIENCE:
            raise Refusal(400, "invalid_grant", "Invalid audience.")
        if claims["exp"] - claims["iat"] > 3600 or not claims["iat"] - 60 < now < claims["exp"]:
            raise Refusal(400, "invalid_grant", "Invalid JWT: token must be short-lived.")
        if SCOPE not in claims["scope"].split():
            raise Refusal(400, "invalid_scope", "")
        token = secrets.token_hex(16)
        self.tokens[token] = now + self.token_seconds
        return {"access_token": token, "expires_in": 3600, "token_type": "Bearer"}

    # --- Guards -----------------------------------------------------------------------

    def admit(self, kind: str, authorization: str) -> None:
        """Turn away what is too much, or unknown."""
        self.before(kind)
        if self.is_stalling:
            self.stall.wait(10)
        if self.tokens.get(authorization.removeprefix("Bearer "), 0) < time.time():
            raise Refusal(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        if self.lasting:
            raise self.lasting
        if self.refusals:
            raise self.refusals.pop(0)
        if self.per_window:
            most, seconds = self.per_window
            since = time.monotonic() - seconds
            reads = kind not in ("write", "change")
            same = [
                call
                for call in self.calls
                if call.at > since
                and call.status == 200
                and call.kind not in ("token", "csv")
                and (call.kind not in ("write", "change")) == reads
            ]
            if len(same) >= most:
                raise quota()

    def sheet(self, sheet_id: str, *, writing: bool = False) -> Spreadsheet:
        sheet = self.sheets.get(sheet_id)
        if not sheet:
            raise Refusal(404, "NOT_FOUND", "Requested entity was not found.")
        can_write = EMAIL in sheet.writers
        if not (can_write or (not writing and (EMAIL in sheet.readers or sheet.is_public))):
            raise Refusal(403, "PERMISSION_DENIED", "The caller does not have permission")
        if sheet.is_office:
            message = "This operation is not supported for this document"
            raise Refusal(400, "FAILED_PRECONDITION", message)
        return sheet

    # --- Spreadsheets -----------------------------------------------------------------

    def metadata(self, sheet: Spreadsheet) -> dict[str, Any]:
        return {
            "properties": {"title": sheet.title},
            "sheets": [
                {
                    "properties": {
                        "sheetId": tab.gid,
                        "title": tab.title,
                        "sheetType": "GRID",
                        **({"hidden": True} if tab.hidden else {}),
                        "gridProperties": {"rowCount": tab.rows, "columnCount": tab.columns},
                    }
                }
                for tab in sheet.tabs
            ],
        }

    def values(self, sheet: Spreadsheet, asked: str, option: str) -> dict[str, Any]:
        tab, top, left, bottom, right = _area(sheet, asked)
        lines = []
        for row in range(top, min(bottom, len(tab.cells))):
            line = [_shown(tab.at(row, at), option) for at in range(left, right)]
            while line and line[-1] == "":
                line.pop()
            lines.append(line)
        while lines and not lines[-1]:
            lines.pop()
        answer = {"range": asked, "majorDimension": "ROWS"}
        return {**answer, "values": lines} if lines else answer

    def write(self, sheet: Spreadsheet, body: dict[str, Any]) -> dict[str, Any]:
        areas = [(_area(sheet, one["range"]), one) for one in body["data"]]
        for (tab, top, left, _, _), one in areas:  # all or nothing
            if tab.protected:
                message = "You are trying to edit a protected cell or object."
                raise Refusal(400, "INVALID_ARGUMENT", f"Invalid data[0]: {message}")
            height, width = len(one["values"]), max(map(len, one["values"]))
            if top + height > tab.rows or left + width > tab.columns:
                raise _exceeds(tab, one["range"])
        for (tab, top, left, _, _), one in areas:
            for row, line in enumerate(one["values"], top):
                for column, value in enumerate(line, left):
                    entered = body["valueInputOption"] == "USER_ENTERED"
                    is_formula = entered and str(value).startswith("=")
                    tab.put(row, column, Formula(value, "evaluated") if is_formula else value)
        return {"spreadsheetId": sheet.id}

    def change(self, sheet: Spreadsheet, body: dict[str, Any]) -> dict[str, Any]:
        for request in body["requests"]:
            append = request["appendDimension"]
            [tab] = [tab for tab in sheet.tabs if tab.gid == append["sheetId"]]
            assert append["dimension"] == "COLUMNS"
            tab.columns += append["length"]
        return {"spreadsheetId": sheet.id, "replies": [{}]}

    def csv(self, sheet_id: str, gid: int) -> bytes:
        sheet = self.sheets[sheet_id]
        [tab] = [tab for tab in sheet.tabs if tab.gid == gid]
        width = max(map(len, tab.cells), default=0)
        file = io.StringIO()
        writer = csv.writer(file)
        for row in range(len(tab.cells)):
            writer.writerow([_shown(tab.at(row, at), "") for at in range(width)])
        return file.getvalue().encode()


def quota(**headers: str) -> Refusal:
    message = (
        "Quota exceeded for quota metric 'Read requests' and limit 'Read requests per minute per "
        "user' of service 'sheets.googleapis.com' for consumer 'project_number:1'."
    )
    return Refusal(429, "RESOURCE_EXHAUSTED", message, **headers)


def unavailable() -> Refusal:
    return Refusal(503, "UNAVAILABLE", "The service is currently unavailable.")


def _exceeds(tab: TabState, asked: str) -> Refusal:
    limits = f"Max rows: {tab.rows}, max columns: {tab.columns}"
    message = f"Range ({asked}) exceeds grid limits. {limits}"
    return Refusal(400, "INVALID_ARGUMENT", message)


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _shown(cell: Any, option: str) -> Any:
    if isinstance(cell, Formula):
        return cell.text if option == "FORMULA" else cell.shown
    return cell if option == "FORMULA" else str(cell)


_A1 = re.compile(
    r"'(?P<tab>(?:[^']|'')+)'(?:!(?P<first>[A-Z]*[0-9]*)(?::(?P<last>[A-Z]*[0-9]*))?)?"
)


def _area(sheet: Spreadsheet, asked: str) -> tuple[TabState, int, int, int, int]:
    """The tab, first row and column, and those behind the last, 0-based."""
    found = _A1.fullmatch(asked)
    tab = found and next(
        (tab for tab in sheet.tabs if tab.title == found["tab"].replace("''", "'")), None
    )
    if not found or not tab:
        raise Refusal(400, "INVALID_ARGUMENT", f"Unable to parse range: {asked}")
    if not found["first"]:
        return tab, 0, 0, tab.rows, tab.columns
    top, left = _corner(found["first"], 1, 1)
    bottom, right = _corner(found["last"] or found["first"], tab.rows, tab.columns)
    if bottom > tab.rows or right > tab.columns:
        raise _exceeds(tab, asked)
    return tab, top - 1, left - 1, bottom, right


def _corner(cell: str, row: int, column: int) -> tuple[int, int]:
    """1-based row and column; `3` and `C` leave the other one open."""
    letters = cell.rstrip("0123456789")
    number = cell[len(letters) :]
    place = 0
    for letter in letters:
        place = place * 26 + ord(letter) - ord("A") + 1
    return int(number) if number else row, place or column


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    google: GoogleServer

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def log_message(self, *args: Any) -> None:
        """Quiet."""

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        path, query = unquote(parts.path), parse_qs(parts.query)
        if path.startswith(("/spreadsheets/", "/file/")):
            self.give_file(path, query)
            return
        kind = self.kind(path)
        try:
            with self.google.lock if not self.google.is_stalling else threading.Lock():
                answer = self.called(kind, path, query, body)
            status, headers = 200, {}
        except Refusal as refusal:
            status, headers = refusal.status, refusal.headers
            error = {"code": status, "message": refusal.message, "status": refusal.word}
            answer = {"error": error}
            if kind == "token":
                answer = {"error": refusal.word, "error_description": refusal.message}
        self.note(kind, body, status)
        self.send(status, json.dumps(answer).encode(), "application/json", **headers)

    def kind(self, path: str) -> str:
        if path == "/token":
            return "token"
        if path.endswith("/values:batchUpdate"):
            return "write"
        if path.endswith("/values:batchGet"):
            return "batchGet"
        if "/values/" in path:
            return "values"
        return "change" if path.endswith(":batchUpdate") else "get"

    def called(
        self, kind: str, path: str, query: dict[str, list[str]], body: bytes
    ) -> dict[str, Any]:
        google = self.google
        if kind == "token":
            return google.grant(parse_qs(body.decode()))
        google.admit(kind, self.headers.get("Authorization", ""))
        sheet_id = re.split("[/:]", path.removeprefix("/v4/spreadsheets/"))[0]
        sheet = google.sheet(sheet_id, writing=kind in ("write", "change"))
        option = query.get("valueRenderOption", ["FORMATTED_VALUE"])[0]
        if kind == "values":
            return google.values(sheet, path.partition("/values/")[2], option)
        if kind == "batchGet":
            found = [google.values(sheet, one, option) for one in query["ranges"]]
            return {"spreadsheetId": sheet.id, "valueRanges": found}
        if kind == "write":
            return google.write(sheet, json.loads(body))
        if kind == "change":
            return google.change(sheet, json.loads(body))
        return google.metadata(sheet)

    def give_file(self, path: str, query: dict[str, list[str]]) -> None:
        """The public link: a redirect to where files lie, or a page to sign in."""
        sheet_id = path.split("/")[3 if path.startswith("/spreadsheets/") else 2]
        sheet = self.google.sheets.get(sheet_id)
        gid = int(query.get("gid", ["0"])[0])
        if not sheet:
            status, answer, kind = 404, SIGN_IN.encode(), "text/html; charset=utf-8"
        elif not sheet.is_public:
            status, answer, kind = 200, SIGN_IN.encode(), "text/html; charset=utf-8"
        elif gid not in {tab.gid for tab in sheet.tabs}:
            status, answer, kind = 400, SIGN_IN.encode(), "text/html; charset=utf-8"
        elif path.startswith("/spreadsheets/"):
            host = sheet.link_host or self.google.url
            self.note("csv", b"", 307)
            self.send(307, b"", "text/html", Location=f"{host}/file/{sheet_id}?gid={gid}")
            return
        else:
            status, answer, kind = 200, self.google.csv(sheet_id, gid), "text/csv"
        self.note("csv", b"", status)
        self.send(status, answer, kind)

    def note(self, kind: str, body: bytes, status: int) -> None:
        self.google.calls.append(Call(kind, time.monotonic(), len(body), status))

    def send(self, status: int, answer: bytes, content_type: str, **headers: str) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(answer)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(answer)
        except OSError:  # they have waited long enough
            self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever has waited long enough hangs up; anything else is a fault of this server."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


@contextmanager
def serving() -> Iterator[GoogleServer]:
    """Run a Google of one's own for as long as the block lasts."""
    google = GoogleServer()
    handler = type("Handler", (_Handler,), {"google": google})
    server = _Server(("127.0.0.1", 0), handler)
    google.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield google
    finally:
        google.stall.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


def table(*rows: Sequence[Any]) -> list[list[Any]]:
    """Cells of a tab, to be changed at will."""
    return [list(row) for row in rows]
