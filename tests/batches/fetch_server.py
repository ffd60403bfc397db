"""A web server on loopback that misbehaves on demand, and certificates to go with it.

``FetchServer`` speaks through raw sockets, because a well-made server library would refuse
to tell most of the lies. What it does follows from the path alone; see ``_BEHAVIOURS``.
"""

import gzip
import io
import ipaddress
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from PIL import Image

STEP = 0.05  # seconds between two bytes of a slow answer


def picture(kind: str, *, side: int = 32) -> bytes:
    """A real image of the given Pillow format."""
    file = io.BytesIO()
    Image.linear_gradient("L").resize((side, side)).convert("RGB").save(file, kind)
    return file.getvalue()


PNG = picture("PNG")
JPEG = picture("JPEG")


@cache
def heavy_jpeg() -> bytes:
    """A real photo-like JPEG of more than 20 MB: noise, which no encoder makes short."""
    noise = np.random.default_rng(1).integers(0, 256, (3000, 3200, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "JPEG", quality=98, subsampling=0)
    return file.getvalue()


@cache
def wide_png() -> bytes:
    """A real PNG of 64 megapixels, see-through on one half: more than is taken, and short."""
    image = Image.new("RGBA", (8000, 8000), (200, 30, 30, 255))
    image.paste((0, 0, 0, 0), (4000, 0, 8000, 8000))
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


PAGE = b"<!DOCTYPE html>\n<html><head><title>Hotlinking</title></head><body>No.</body></html>"


@dataclass
class Seen:
    """One request as it arrived."""

    target: str
    headers: dict[str, str]
    server_name: str | None = None


@dataclass
class Talk:
    """One conversation: the request, and the means to answer it badly."""

    connection: socket.socket
    stopping: threading.Event
    seen: Seen
    query: dict[str, list[str]] = field(default_factory=dict)

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def head(self, status: int = 200, *headers: str) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", *headers, "", ""]
        self.send("\r\n".join(lines).encode("latin-1"))

    def reply(
        self, body: bytes, *headers: str, status: int = 200, content_type: str = "image/png"
    ) -> None:
        self.head(status, f"Content-Type: {content_type}", f"Content-Length: {len(body)}", *headers)
        self.send(body)

    def drip(self, data: bytes) -> None:
        """Send a byte at a time until the other side or the server has had enough."""
        for byte in data:
            if self.stopping.wait(STEP):
                return
            self.send(bytes([byte]))

    def hang(self) -> None:
        self.stopping.wait(30)


def _redirect(target: str, *, status: int = 302) -> Callable[[Talk], None]:
    def behave(talk: Talk) -> None:
        # Enough cookies and credentials on the way to notice a client that carries them on.
        talk.head(status, f"Location: {target}", "Set-Cookie: crumb=1; Path=/", "Content-Length: 0")

    return behave


def _redirect_as_asked(talk: Talk) -> None:
    status = int(talk.query.get("status", ["302"])[0])
    _redirect(talk.query["to"][0], status=status)(talk)


def _echo(talk: Talk) -> None:
    lines = [f"{name}: {value}" for name, value in talk.seen.headers.items()]
    talk.reply("\n".join(lines).encode(), content_type="text/plain")


def _endless(talk: Talk) -> None:
    talk.head(200, "Content-Type: image/png")
    while not talk.stopping.is_set():
        talk.send(bytes(65_536))


def _endless_chunks(talk: Talk) -> None:
    talk.head(200, "Content-Type: image/png", "Transfer-Encoding: chunked")
    while not talk.stopping.is_set():
        talk.send(b"10000\r\n" + bytes(65_536) + b"\r\n")


def _chunked(talk: Talk) -> None:
    talk.head(200, "Content-Type: image/png", "Transfer-Encoding: chunked")
    for start in range(0, len(PNG), 100):
        part = PNG[start : start + 100]
        talk.send(f"{len(part):x}\r\n".encode() + part + b"\r\n")
    talk.send(b"0\r\n\r\n")


def _cut_chunk(talk: Talk) -> None:
    talk.head(200, "Content-Type: image/png", "Transfer-Encoding: chunked")
    talk.send(b"1000\r\n" + PNG[:64])


def _until_close(talk: Talk) -> None:
    talk.head(200, "Content-Type: image/png")
    talk.send(PNG)


def _no_type(talk: Talk) -> None:
    talk.head(200, f"Content-Length: {len(PNG)}")
    talk.send(PNG)


def _lie_big(talk: Talk) -> None:
    talk.head(200, "Content-Type: image/png", "Content-Length: 99999999999")
    talk.send(PNG)


def _lie_small(talk: Talk) -> None:
    talk.head(200, "Content-Type: image/png", "Content-Length: 16")
    talk.send(PNG)


def _short(talk: Talk) -> None:
    talk.head(200, "Content-Type: image/png", f"Content-Length: {len(PNG) + 100}")
    talk.send(PNG)


def _two_lengths(talk: Talk) -> None:
    talk.head(200, "Content-Length: 16", f"Content-Length: {len(PNG)}")
    talk.send(PNG)


def _same_length_twice(talk: Talk) -> None:
    talk.head(200, f"Content-Length: {len(PNG)}", f"Content-Length: {len(PNG)}")
    talk.send(PNG)


def _negative_length(talk: Talk) -> None:
    talk.head(200, "Content-Type: image/png", "Content-Length: -1")
    talk.send(PNG)


def _header_bomb(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\n")
    for number in range(100_000):
        talk.send(f"X-{number}: {'y' * 1000}\r\n".encode())


def _progress_bomb(talk: Talk) -> None:
    while not talk.stopping.wait(STEP / 10):
        talk.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")


def _gzip_bomb(talk: Talk) -> None:
    talk.reply(gzip.compress(bytes(10_000_000)), "Content-Encoding: gzip")


def _two_encodings(talk: Talk) -> None:
    talk.reply(PNG, "Content-Encoding: identity", "Content-Encoding: br")


def _slow(talk: Talk) -> None:
    talk.head(200, "Content-Type: image/png", f"Content-Length: {len(PNG)}")
    talk.drip(PNG)


def _slow_headers(talk: Talk) -> None:
    talk.drip(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 4\r\n\r\nabcd")


def _hang_after_head(talk: Talk) -> None:
    talk.head(200, "Content-Type: image/png", f"Content-Length: {len(PNG)}")
    talk.hang()


def _html_in_crumbs(talk: Talk) -> None:
    talk.head(200, "Content-Type: image/jpeg", "Transfer-Encoding: chunked")
    for byte in b"\n<!-- cached -->\n" + PAGE:
        talk.send(b"1\r\n" + bytes([byte]) + b"\r\n")
    talk.send(b"0\r\n\r\n")


def _status(talk: Talk) -> None:
    talk.reply(b"no", status=int(talk.seen.target.rpartition("/")[2]))


_BEHAVIOURS: dict[str, Callable[[Talk], None]] = {
    "/": lambda talk: talk.reply(PNG),
    "/ok": lambda talk: talk.reply(PNG),
    "/jpeg": lambda talk: talk.reply(JPEG, content_type="image/jpeg"),
    "/no-type": _no_type,
    "/typed": lambda talk: talk.reply(PNG, content_type="Image/PNG; name=a.png"),
    "/identity": lambda talk: talk.reply(PNG, "Content-Encoding: identity"),
    "/%C3%BCn%C3%AF": lambda talk: talk.reply(PNG),
    "/echo": _echo,
    "/empty": lambda talk: talk.reply(b""),
    "/html": lambda talk: talk.reply(PAGE, content_type="text/html; charset=utf-8"),
    "/xhtml": lambda talk: talk.reply(PAGE, content_type="application/xhtml+xml"),
    "/wall": lambda talk: talk.reply(b"Please sign in.", content_type="TEXT/HTML"),
    "/html-as-jpeg": lambda talk: talk.reply(PAGE, content_type="image/jpeg"),
    "/html-in-crumbs": _html_in_crumbs,
    "/svg": lambda talk: talk.reply(
        b'<?xml version="1.0"?><!-- drawn --><svg xmlns="http://www.w3.org/2000/svg"/>',
        content_type="image/svg+xml",
    ),
    "/heavy": lambda talk: talk.reply(heavy_jpeg(), content_type="image/jpeg"),
    "/wide": lambda talk: talk.reply(wide_png()),
    "/big": _endless,
    "/big-chunks": _endless_chunks,
    "/chunked": _chunked,
    "/cut-chunk": _cut_chunk,
    "/until-close": _until_close,
    "/lie-big": _lie_big,
    "/lie-small": _lie_small,
    "/short": _short,
    "/two-cl": _two_lengths,
    "/same-cl": _same_length_twice,
    "/negative-cl": _negative_length,
    "/hdrbomb": _header_bomb,
    "/progress-bomb": _progress_bomb,
    "/garbage": lambda talk: talk.send(b"SSH-2.0-OpenSSH_9.7\r\n"),
    "/goodbye": lambda talk: None,
    "/gzipbomb": _gzip_bomb,
    "/two-encodings": _two_encodings,
    "/slow": _slow,
    "/slowhdr": _slow_headers,
    "/hang": Talk.hang,
    "/hang-later": _hang_after_head,
    "/to": _redirect_as_asked,
    "/r-rel": _redirect("ok"),
    "/r-slashes": _redirect("//img.good.com/ok"),
    "/r-1": _redirect("/ok"),
    "/r-2": _redirect("/r-1"),
    "/r-3": _redirect("/r-2"),
    "/r-4": _redirect("/r-3"),
    "/r-loop": _redirect("/r-loop"),
    "/r-echo": _redirect("/echo"),
    "/r-int": _redirect("http://169.254.169.254/latest/meta-data/"),
    "/r-name": _redirect("http://evil-a.com/"),
    "/r-bare": _redirect("http://redis:6379/"),
    "/r-port": _redirect("http://img.good.com:6379/"),
    "/r-cred": _redirect("http://user:pw@img.good.com/ok"),
    "/r-file": _redirect("file:///etc/passwd"),
    "/r-brackets": _redirect("http://[::1"),
    "/r-backslash": _redirect("http:\\\\127.0.0.1\\ok"),
    "/r-nowhere": lambda talk: talk.head(302, "Content-Length: 0"),
    "/r-rebind": _redirect("http://rebind.com/ok"),
    "/r-http": _redirect("http://img.good.com/ok"),
    "/r-https": _redirect("https://img.good.com/ok"),
    "/r-hang": _redirect("/hang"),
}


class _Handler(socketserver.BaseRequestHandler):
    server: "_Server"

    def handle(self) -> None:
        server_name = None
        connection: socket.socket = self.request
        if self.server.tls:
            try:
                connection = self.server.tls.wrap_socket(connection, server_side=True)
            except OSError:  # they didn't like our certificate
                return
            server_name = getattr(connection, "asked_name", None)
        with connection:
            try:
                self.converse(connection, server_name)
            except OSError:  # they hung up: what most of these answers deserve
                return

    def converse(self, connection: socket.socket, server_name: str | None) -> None:
        lines = self.request_lines(connection)
        if not lines:
            return
        target = lines[0].split(" ")[1]
        headers = dict(line.split(": ", 1) for line in lines[1:])
        seen = Seen(target=target, headers=headers, server_name=server_name)
        self.server.seen.append(seen)
        parts = urlsplit(target)
        talk = Talk(
            connection=connection,
            stopping=self.server.stopping,
            seen=seen,
            query=parse_qs(parts.query),
        )
        behave = _BEHAVIOURS.get(parts.path)
        if behave is None and parts.path.startswith("/status/"):
            behave = _status
        if behave:
            behave(talk)
        else:
            talk.reply(b"There is nothing here.", status=404, content_type="text/plain")

    def request_lines(self, connection: socket.socket) -> list[str]:
        received = b""
        while b"\r\n\r\n" not in received:
            data = connection.recv(65_536)
            if not data:
                return []
            received += data
        return received.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tls = tls
        self.stopping = threading.Event()
        self.seen: list[Seen] = []


class FetchServer:
    """The running server: ``port``, and ``seen``, the requests in the order they came."""

    def __init__(self, server: _Server) -> None:
        self.port: int = server.server_address[1]
        self.seen = server.seen

    @property
    def allow(self) -> tuple[str]:
        return (f"127.0.0.1:{self.port}",)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[FetchServer]:
    """Run a server, over TLS where a context is given, for as long as the block lasts."""
    server = _Server(tls)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield FetchServer(server)
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


class Authority:
    """A certificate authority of our own, which nobody trusts unless told to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        certificate = (
            self._builder(subject=self._name, public_key=self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / "authority.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def context_for(self, *names: str) -> ssl.SSLContext:
        """What a server needs to call itself by these names or addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._builder(subject=x509.Name([]), public_key=key.public_key())
            .add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]),
                critical=True,
            )
            .sign(self._key, hashes.SHA256())
        )
        chain = self._folder / f"{names[0]}.pem"
        chain.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        context.sni_callback = _remember_the_name
        return context

    def _builder(
        self, *, subject: x509.Name, public_key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _remember_the_name(
    connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext
) -> None:
    connection.asked_name = name  # type: ignore[attr-defined]
