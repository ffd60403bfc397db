"""Hosts of their own on this machine: network namespaces with a cable each that can be pulled.

Where namespaces are not allowed, a host is a folder of its own, and its cable the programs that
carry its bytes. Either way nothing is told that the other side has gone: bytes stay away.
"""

import ipaddress
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Files = tuple[Path, Path]
"""A certificate and its key."""
Target = tuple[str, int] | str
"""An address and port, or the path of a Unix socket."""


SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
"""What a client of PostgreSQL asks before it speaks TLS; `S` is yes."""


def certificate(folder: Path, address: str) -> Files:
    """A certificate of its own for an IP address, and its key, as two files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "studio test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / f"{address}.pem", folder / f"{address}.key"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return pem, secret


class Forwarder:
    """Carries connections from an address of ours to a server, with TLS in front if asked."""

    def __init__(
        self, address: str, target: Target, *, flows: threading.Event, tls: Files | None, asks: bool
    ) -> None:
        self._target, self._flows, self._asks = target, flows, asks
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls else None
        if self._tls and tls:
            self._tls.load_cert_chain(*tls)
        self._open: list[socket.socket] = []
        self._door = socket.create_server((address, 0), backlog=64)
        self.port: int = self._door.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        for end in (self._door, *self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._door.close()

    def _serve(self) -> None:
        while True:
            try:
                visitor, _address = self._door.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(visitor,), daemon=True).start()

    def _carry(self, visitor: socket.socket) -> None:
        with visitor, suppress(OSError), self._dial() as server:
            if self._tls:
                if self._asks:
                    if visitor.recv(len(SSL_REQUEST)) != SSL_REQUEST:
                        return
                    visitor.sendall(b"S")
                visitor = self._tls.wrap_socket(visitor, server_side=True)
            self._open += [visitor, server]
            with visitor:
                back = threading.Thread(target=self._pump, args=(server, visitor), daemon=True)
                back.start()
                self._pump(visitor, server)
                back.join()

    def _dial(self) -> socket.socket:
        if not isinstance(self._target, str):
            return socket.create_connection(self._target)
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self._target)
        except OSError:
            server.close()
            raise
        return server

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self._flows.wait()
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)


class Host:
    """A worker's host: how to start programs there, and its cable."""

    def __init__(self, name: str, number: int, folder: Path) -> None:
        self.name = name
        self.folder = folder / name
        self.folder.mkdir()
        self.flows = threading.Event()
        self.flows.set()
        self._space = f"studio-{os.getpid()}-{number}"
        self._cable = f"st{os.getpid() % 100000}-{number}"
        net = f"10.213.{os.getpid() % 250 + 1}.{number * 4}"
        ours, theirs = (str(ipaddress.ip_address(net) + step) for step in (1, 2))
        self.is_namespace = self._make(ours, theirs)
        self.server = ours if self.is_namespace else "127.0.0.1"
        """The address at which this host finds the servers."""
        self._forwarders: list[Forwarder] = []

    def reach(self, target: Target, *, tls: Files | None = None, asks: bool = False) -> int:
        """Let programs of this host reach a server; the port at `self.server`.

        With `tls` through TLS only, for which clients of PostgreSQL ask first.
        """
        made = Forwarder(self.server, target, flows=self.flows, tls=tls, asks=asks)
        self._forwarders.append(made)
        return made.port

    def command(self, line: Sequence[str]) -> list[str]:
        """The command line that runs another one on this host, under its name."""
        if not self.is_namespace:
            return list(line)
        rename = ["unshare", "--uts", "sh", "-c", f'hostname {self.name} && exec "$@"', "sh"]
        return ["ip", "netns", "exec", self._space, *rename, *line]

    def cut(self) -> None:
        """Pull the cable."""
        self.flows.clear()
        if self.is_namespace:
            _ip("link", "set", self._cable, "down")

    def mend(self) -> None:
        """Put it back."""
        self.flows.set()
        if self.is_namespace:
            _ip("link", "set", self._cable, "up")

    def close(self) -> None:
        """Leave nothing behind."""
        self.flows.set()
        for forwarder in self._forwarders:
            forwarder.close()
        if self.is_namespace:
            self._unmake()

    def _make(self, ours: str, theirs: str) -> bool:
        """Whether there is a namespace now; nothing is left of one that can't be had as a whole."""
        end = f"{self._cable}x"
        peer, inside = ("name", end, "netns", self._space), ("-n", self._space)
        try:
            _ip("netns", "add", self._space)
            _ip("link", "add", self._cable, "type", "veth", "peer", *peer)
            _ip("addr", "add", f"{ours}/30", "dev", self._cable)
            _ip("link", "set", self._cable, "up")
            _ip(*inside, "addr", "add", f"{theirs}/30", "dev", end)
            _ip(*inside, "link", "set", end, "up")
            _ip(*inside, "link", "set", "lo", "up")
            subprocess.run(["unshare", "--uts", "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            self._unmake()
            return False
        return True

    def _unmake(self) -> None:
        for gone in (("netns", "del", self._space), ("link", "del", self._cable)):
            with suppress(OSError, subprocess.CalledProcessError):
                _ip(*gone)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
