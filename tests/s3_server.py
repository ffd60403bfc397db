"""An S3 server on loopback: moto's, over real HTTP, which goes wrong on demand.

It is slow to load, so that a run starts it once. What it is told to do wrong it does to the next
requests that fit, each once. Whoever comes with a signed address is held to what was signed.
"""

import hashlib
import hmac
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, quote

import boto3
from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

KEY = "testing"
SECRET = "testing"


class S3Server:
    """The server, and what it shall do wrong next."""

    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self.faults: list[tuple[str, str, str]] = []
        """Method, part of a path, and how: a status with its code, `cut` or `drop`."""
        self.clock_is_off_by = timedelta(0)
        self.requests: list[str] = []
        self._server = make_server(
            "127.0.0.1", 0, self, threaded=True, request_handler=_QuietHandler
        )
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._thread.join()

    def reset(self) -> None:
        """Forget every bucket, and everything that was to go wrong."""
        get_backend("s3")[DEFAULT_ACCOUNT_ID]["aws"].reset()
        self.faults, self.requests, self.clock_is_off_by = [], [], timedelta(0)

    @cached_property
    def client(self) -> Any:
        """A client of the tests' own, to look into buckets."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.requests.append(f"{method} {path}?{environ.get('QUERY_STRING', '')}")
        how = self._fault(method, path)
        if self._is_skewed(environ):
            how = "403 RequestTimeTooSkewed"
        if refusal := self._judged(environ):
            how = f"403 {refusal}"
        if how == "cut":
            return self._cut(environ, start)
        if how:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            status, _space, code = how.partition(" ")
            body = f"<Error><Code>{code}</Code><Message>No.</Message></Error>".encode()
            start(f"{status} No", [("Content-Type", "application/xml")])
            return [body]
        return self._app(environ, start)

    def _fault(self, method: str, path: str) -> str:
        for index, (verb, part, how) in enumerate(self.faults):
            if verb == method and part in path:
                del self.faults[index]
                return how
        return ""

    def _is_skewed(self, environ: dict[str, Any]) -> bool:
        """Whether the request was signed a quarter of an hour away from the server's own time."""
        stamp = environ.get("HTTP_X_AMZ_DATE", "")
        if not stamp:
            return False
        signed = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        now = datetime.now(UTC) + self.clock_is_off_by
        return abs(now - signed) > timedelta(minutes=15)

    def _judged(self, environ: dict[str, Any]) -> str:
        """Why a request is refused whose address is signed; moto itself looks at no such signature.

        By the book: docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
        """
        asked = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        query = dict(asked)
        if "X-Amz-Signature" not in query:
            return ""
        stamp, (_key, *scope) = query["X-Amz-Date"], query["X-Amz-Credential"].split("/")
        signed = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        now = datetime.now(UTC) + self.clock_is_off_by
        if now > signed + timedelta(seconds=int(query["X-Amz-Expires"])):
            return "AccessDenied"
        names = query["X-Amz-SignedHeaders"].split(";")
        sent = {
            name: environ.get(f"HTTP_{word}", environ.get(word, ""))
            for name in names
            for word in [name.upper().replace("-", "_")]
        }
        escaped = sorted(
            f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
            for name, value in asked
            if name != "X-Amz-Signature"
        )
        request = [
            environ["REQUEST_METHOD"],
            quote(environ["PATH_INFO"], safe="/-_.~"),
            "&".join(escaped),
            *(f"{name}:{sent[name].strip()}" for name in names),
            "",
            ";".join(names),
            "UNSIGNED-PAYLOAD",
        ]
        digest = hashlib.sha256("\n".join(request).encode()).hexdigest()
        key = f"AWS4{SECRET}".encode()
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, "/".join(scope), digest])
        for part in (*scope, text):
            key = hmac.digest(key, part.encode(), "sha256")
        return "" if key.hex() == query["X-Amz-Signature"] else "SignatureDoesNotMatch"

    def _cut(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        body = b"".join(self._app(environ, start))
        return [body[: len(body) // 2]]


class _QuietHandler(WSGIRequestHandler):
    def log(self, *args: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[S3Server]:
    """Run one for as long as the block."""
    server = S3Server()
    server.start()
    try:
        yield server
    finally:
        server.stop()
