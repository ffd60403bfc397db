"""A Sirv account, by its REST API.

A token lasts twenty minutes and is shared by all threads; it is renewed a minute before its
end, and once more where the API says that it has ended already. Whoever calls decides about
trying again: nothing is repeated here but what a new token mends.
"""

import io
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any, NoReturn
from urllib.parse import quote, urlencode

import urllib3
from urllib3.exceptions import HTTPError

from batches.stores import files, guarding, paths
from batches.stores.base import Found, StoreError

API = "https://api.sirv.com"
MOST_CHARACTERS = 1024
"""Of a path, with its slash in front."""
MOST_BYTES = 300 * 2**20
MOST_ANSWER = 4 * 2**20
"""Bytes of an answer that is no file: a page of a hundred names is far below."""
CHUNK = 2**16
SHORTEST_LIFE = 60.0
"""Seconds that a token must have left to be used."""
LONGEST_WAIT = 3600.0
MOST_DEPTH = 32
"""Folders within folders."""

_CREDENTIALS = {400, 401, 403}


@dataclass(frozen=True)
class _Token:
    text: str
    ends_at: float
    """By the monotonic clock."""


class Sirv:
    """A `Store` in somebody's Sirv account; safe to share between threads."""

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: str,
        cdn: str = "",
        api: str = API,
        resolver: guarding.Resolver | None = None,
    ) -> None:
        self._client = {"clientId": client_id, "clientSecret": client_secret}
        self._cdn = cdn
        self._api = api.rstrip("/")
        self._http = guarding.pool_manager(resolver or guarding.Resolver())
        self._token: _Token | None = None
        self._renewing = threading.Lock()

    def check(self) -> Mapping[str, str]:
        """Ask for the account: its name, and the address of its CDN."""
        account = self._json("GET", "/v2/account")
        host = str(account.get("cdnURL") or "")
        return {"account": str(account.get("alias") or ""), "cdn": host}

    def stat(self, path: str) -> Found | None:
        """The file there, or nothing; a folder is no file."""
        try:
            found = self._json("GET", "/v2/files/stat", filename=_filename(path))
        except StoreError as error:
            if error.code == "store_missing":
                return None
            raise
        return None if found.get("isDirectory") else _found(path, found)

    def write(self, path: str, file: IO[bytes], *, size: int, content_type: str) -> None:
        """Send the bytes as they are, straight from the file."""
        filename = _filename(path)
        if size > MOST_BYTES:
            raise files.too_large(size, MOST_BYTES)
        start = file.tell()

        def send(token: str) -> urllib3.BaseHTTPResponse:
            file.seek(start)
            headers = {"Content-Type": content_type, "Content-Length": str(size)}
            url = _url("/v2/files/upload", filename=filename)
            return self._send("POST", url, token, headers=headers, body=file)

        try:
            self._finish(self._with_token(send))
        except StoreError as error:
            if error.code == "store_forbidden" and self.stat(path):
                # The API says 403 to both; what lies there tells them apart.
                raise StoreError("store_name_taken", path=path) from error
            raise

    def read(self, path: str, *, into: IO[bytes], max_bytes: int) -> None:
        """Get a file; what is announced or comes beyond the limit is refused at once."""

        def ask(token: str) -> urllib3.BaseHTTPResponse:
            url = _url("/v2/files/download", filename=_filename(path))
            return self._send("GET", url, token)

        response = self._with_token(ask)
        try:
            if response.status >= 300:
                self._refuse(response)
            files.copy_limited(
                response.stream(CHUNK, decode_content=False),
                into,
                announced=int(response.headers.get("content-length") or 0),
                max_bytes=max_bytes,
            )
        except (HTTPError, OSError) as error:
            raise _unreachable(error) from error
        finally:
            # A body that was left in the middle is no use to the next request.
            response.close()

    def copy(self, path: str, to: str) -> None:
        """Have the API copy it, over whatever is there."""
        self._json("POST", "/v2/files/copy", **{"from": _filename(path), "to": _filename(to)})

    def delete(self, path: str) -> None:
        """Remove a file."""
        try:
            self._json("POST", "/v2/files/delete", filename=_filename(path))
        except StoreError as error:
            if error.code != "store_missing":
                raise

    def walk(self, folder: str, *, recursive: bool) -> Iterator[Found]:
        """The files of a folder by name, then those of the folders in it."""
        yield from self._walk(folder, recursive=recursive, depth=0)

    def _walk(self, folder: str, *, recursive: bool, depth: int) -> Iterator[Found]:
        below, here = [], []
        for name, entry in self._entries(folder):
            if entry.get("isDirectory"):
                below.append(name)
            else:
                here.append(_found(paths.below(folder, name), entry))
        yield from sorted(here, key=lambda found: found.path)
        if recursive and depth < MOST_DEPTH:
            for name in sorted(below):
                yield from self._walk(paths.below(folder, name), recursive=True, depth=depth + 1)

    def folders(self, folder: str) -> Sequence[str]:
        """Names of the folders right in a folder."""
        entries = self._entries(folder)
        return sorted(name for name, entry in entries if entry.get("isDirectory"))

    def describe(self, path: str, *, text: str, product: str) -> None:
        """Alt text as the file's description, the SKU as its product's id."""
        where = {"filename": _filename(path)}
        if text:
            self._json("POST", "/v2/files/meta/description", {"description": text}, **where)
        if product:
            self._json("POST", "/v2/files/meta/product", {"id": product}, **where)

    def url(self, path: str) -> str:
        """Its address on the account's CDN; empty before the account has told it."""
        return f"https://{self._cdn}/{paths.in_url(path)}" if self._cdn else ""

    def _entries(self, folder: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """All that is in a folder, a hundred to a page."""
        where = {"dirname": f"/{paths.checked(folder)}" if folder else "/"}
        seen = set()
        while True:
            page = self._json("GET", "/v2/files/readdir", **where)
            for entry in page.get("contents") or ():
                name = str(entry.get("filename", "")).rpartition("/")[2]
                if paths.is_plain(name):
                    yield name, entry
            following = page.get("continuation")
            if not following or following in seen:  # the same again would go on for ever
                return
            seen.add(following)
            where["continuation"] = str(following)

    # --- Requests ------------------------------------------------------------------------

    def _json(self, method: str, call: str, body: Any = None, **query: str) -> dict[str, Any]:
        """Make a call with a small answer, and read that."""
        data = None if body is None else json.dumps(body).encode()
        headers = {} if data is None else {"Content-Type": "application/json"}

        def ask(token: str) -> urllib3.BaseHTTPResponse:
            return self._send(method, _url(call, **query), token, headers=headers, body=data)

        return self._finish(self._with_token(ask))

    def _with_token(self, ask: Any) -> urllib3.BaseHTTPResponse:
        """What the API answers to a token that lasts, or to the next one."""
        token = self._fresh_token()
        response: urllib3.BaseHTTPResponse = ask(token.text)
        if response.status != 401:
            return response
        response.drain_conn()
        return ask(self._fresh_token(spent=token).text)

    def _fresh_token(self, *, spent: _Token | None = None) -> _Token:
        """The token that all threads use; one of them gets the next, and the others wait."""
        with self._renewing:
            token = self._token
            if token and token is not spent and token.ends_at > time.monotonic():
                return token
            self._token = self._new_token()
            return self._token

    def _new_token(self) -> _Token:
        body = json.dumps(self._client).encode()
        asked_at = time.monotonic()
        json_type = {"Content-Type": "application/json"}
        response = self._send("POST", "/v2/token", "", headers=json_type, body=body)
        if response.status in _CREDENTIALS:
            response.drain_conn()
            raise StoreError("store_credentials")
        answer = self._finish(response)
        try:
            text, lasts = str(answer["token"]), float(answer["expiresIn"])
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError("store_refused", status=response.status) from error
        # One that lasts no longer than that is used for half of its life.
        return _Token(text, asked_at + max(lasts - SHORTEST_LIFE, lasts / 2))

    def _send(
        self,
        method: str,
        url: str,
        token: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> urllib3.BaseHTTPResponse:
        """One request; the answer's body is still on its way."""
        headers = {"Accept-Encoding": "identity", **(headers or {})}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            return self._http.request(
                method,
                self._api + url,
                body=body,
                headers=headers,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except guarding.NotPublic as error:
            raise StoreError("store_not_allowed", host=str(error)) from error
        except (HTTPError, OSError) as error:
            raise _unreachable(error) from error

    def _finish(self, response: urllib3.BaseHTTPResponse) -> dict[str, Any]:
        """The JSON object that an answer holds; an empty one where it holds nothing."""
        data = io.BytesIO()
        try:
            if response.status >= 300:
                self._refuse(response)
            chunks = response.stream(CHUNK, decode_content=False)
            files.copy_limited(chunks, data, announced=0, max_bytes=MOST_ANSWER)
        except (HTTPError, OSError) as error:
            raise _unreachable(error) from error
        except StoreError:
            response.close()
            raise
        response.release_conn()
        if not (text := data.getvalue().strip()):
            return {}
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise StoreError("store_refused", status=response.status) from error
        return answer if isinstance(answer, dict) else {}

    def _refuse(self, response: urllib3.BaseHTTPResponse) -> NoReturn:
        """Say in our words what a status means."""
        status = response.status
        if status == 401:
            raise StoreError("store_credentials")
        if status == 403:
            raise StoreError("store_forbidden")
        if status == 404:
            raise StoreError("store_missing")
        if status == 429:
            wait = _wait(response.headers)
            raise StoreError("store_limit", transient=True, retry_after=wait)
        if status >= 500 or status == 408:
            raise StoreError("store_unreachable", transient=True, status=status)
        raise StoreError("store_refused", status=status)


def _url(call: str, **query: str) -> str:
    return f"{call}?{urlencode(query, quote_via=quote, safe='')}" if query else call


def _filename(path: str) -> str:
    filename = f"/{paths.checked(path)}"
    if len(filename) > MOST_CHARACTERS:
        raise StoreError("store_name_too_long", max=MOST_CHARACTERS)
    return filename


def _found(path: str, entry: Mapping[str, Any]) -> Found:
    try:
        changed_at = datetime.fromisoformat(str(entry["mtime"]))
    except (KeyError, ValueError):
        changed_at = None
    return Found(
        path=path,
        bytes=int(entry.get("size") or 0),
        content_type=str(entry.get("contentType") or ""),
        changed_at=changed_at if changed_at and changed_at.tzinfo else None,
        fingerprint="",
    )


def _wait(headers: Mapping[str, str]) -> float:
    """Seconds to the moment that an answer names: of `Retry-After`, else of the limit's reset.

    The reset is a moment of the Unix clock; a small figure can only be seconds.
    """
    for name in ("retry-after", "x-ratelimit-reset"):
        try:
            value = float(headers[name])
        except (KeyError, ValueError):
            continue
        if value > 10**9:
            value -= datetime.now(UTC).timestamp()
        return min(max(value, 1.0), LONGEST_WAIT)
    return 60.0


def _unreachable(error: Exception) -> StoreError:
    distrusted = "CERTIFICATE_VERIFY_FAILED" in str(error)
    return StoreError("store_unreachable", transient=not distrusted)
