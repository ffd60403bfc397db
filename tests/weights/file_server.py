"""A real HTTP server on loopback that gives files, and can give them badly."""

import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class FileServer(ThreadingHTTPServer):
    """Serves ``files`` (path -> content) and notes what was asked for in ``asked``."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files or {}
        self.asked: list[tuple[str, str | None]] = []
        """Path and ``Range`` of every request."""
        self.knows_ranges = True
        self.break_off_after: int | None = None
        """Bytes of a body after which the connection is cut."""
        self.hang_after: int | None = None
        """Bytes of a body after which nothing comes any more, until ``let_go`` is set."""
        self.let_go = threading.Event()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.let_go.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        if wanted and self.server.knows_ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            content = content[start:]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.close_connection = True
        with suppress(ConnectionError):  # whoever asked may have had enough
            if self.server.hang_after is not None:
                self.wfile.write(content[: self.server.hang_after])
                self.server.let_go.wait()
            else:
                self.wfile.write(content[: self.server.break_off_after])

    def log_message(self, *_args: object) -> None:
        pass
