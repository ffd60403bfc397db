"""The guarded downloader against hostile addresses and hostile servers.

Names resolve in a table and every dial ends at our own server on loopback, so the tests
see which address would have been dialled without a packet leaving the machine.
"""

import errno
import io
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpcore
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batches.fetch import (
    CODES,
    MAX_REDIRECTS,
    Fetched,
    FetchError,
    Peeked,
    check_url,
    fetch,
    peek,
)
from tests.batches.fetch_server import JPEG, PNG, Authority, FetchServer, serving
from tools.engines import network

PUBLIC = "93.184.216.34"
PUBLIC_V6 = "2606:2800:220:1::1"
LIMIT = 200_000  # bytes

NAMES: dict[str, list[str]] = {
    "img.good.com": [PUBLIC],
    "my_bucket.good.com": [PUBLIC],
    "good6.com": [PUBLIC_V6],
    "both.com": [PUBLIC_V6, PUBLIC],
    "xn--bcher-kva.com": [PUBLIC],
    "public-nat64.com": ["64:ff9b::5db8:d822"],
    "evil-a.com": ["127.0.0.1"],
    "evil-aaaa.com": ["::1"],
    "mixed.com": [PUBLIC, "10.0.0.1"],
    "mixed-last.com": [PUBLIC_V6, PUBLIC, "fd00::1"],
    "mapped.com": ["::ffff:127.0.0.1"],
    "nat64.com": ["64:ff9b::7f00:1"],
    "nat64-local.com": ["64:ff9b:1::7f00:1"],
    "cgnat.com": ["100.64.0.1"],
    "zero.com": ["0.0.0.0"],
    "v4compat.com": ["::127.0.0.1"],
    "docs.com": ["203.0.113.7"],
    "sixtofour.com": ["2002:7f00:1::1"],
    "teredo.com": ["2001:0:4136:e378:8000:63bf:80ff:fffe"],
    "site-local.com": ["fec0::1"],
    "scoped.com": ["fe80::1%eth0"],
    "multicast.com": ["224.0.0.251"],
    "metadata.com": ["169.254.169.254"],
    "azure.com": ["168.63.129.16"],
    "nonsense.com": ["not an address"],
    "nobody.com": [],
    "a.img.good.com": [PUBLIC],
    "evilimg.good.com": [PUBLIC],
    "good.com": [PUBLIC],
}


class Net:
    """A resolver and a dialler that write down what they were asked for."""

    def __init__(self, server: FetchServer) -> None:
        self.server = server
        self.asked: list[str] = []
        self.dialled: list[tuple[str, int]] = []
        self.unreachable: set[str] = set()

    def resolve(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        if host == "rebind.com":  # public for the check, private for whoever asks again
            return [PUBLIC] if self.asked.count(host) == 1 else ["127.0.0.1"]
        if host not in NAMES:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return NAMES[host]

    def dial(self, address: str, port: int, seconds: float) -> httpcore.NetworkStream:
        self.dialled.append((address, port))
        if address in self.unreachable:
            raise httpcore.ConnectError("No route to host")
        return httpcore.SyncBackend().connect_tcp("127.0.0.1", self.server.port, timeout=seconds)

    def fetch(
        self,
        url: str,
        *,
        into: io.BytesIO | None = None,
        max_bytes: int = LIMIT,
        deadline: float = 10,
        allow: tuple[str, ...] = (),
        hosts: tuple[str, ...] = (),
    ) -> Fetched:
        return fetch(
            url,
            into=into or io.BytesIO(),
            max_bytes=max_bytes,
            deadline=deadline,
            allow=allow,
            hosts=hosts,
            resolve=self.resolve,
            dial=self.dial,
        )

    def peek(self, url: str, *, deadline: float = 10) -> Peeked:
        return peek(url, max_bytes=LIMIT, deadline=deadline, resolve=self.resolve, dial=self.dial)


@pytest.fixture(scope="module")
def server() -> Iterator[FetchServer]:
    with serving() as running:
        yield running


@pytest.fixture
def net(server: FetchServer) -> Net:
    return Net(server)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def label_of(url: str, net: Net, *, deadline: float) -> str:
    try:
        net.fetch(url, deadline=deadline)
    except FetchError as error:
        return error.label
    return "ok"


# --- One verdict for each address -----------------------------------------------------

VERDICTS: dict[str, list[str]] = {
    "ok": [
        "http://img.good.com/ok",
        "HTTP://IMG.GOOD.COM/ok",
        "http://img.good.com",
        "http://img.good.com:80/ok",
        "http://img.good.com:/ok",
        "http://img.good.com:00080/ok",
        "http://img.good.com:443/ok",
        "http://img.good.com./ok",
        "  http://img.good.com/ok\r\n",
        "http://img.good.com/ok#@127.0.0.1/",
        "http://img.good.com#@127.0.0.1/",
        "http://img.good.com?@127.0.0.1/",
        "http://img.good.com/ok?to=http://127.0.0.1/",
        "http://img.good.com/ünï?q=ø",
        "http://bücher.com/ok",
        "http://BÜCHER。com/ok",
        "http://xn--bcher-kva.com/ok",
        "http://my_bucket.good.com/ok",
        "http://img.good\u00ad.com/ok",
        f"http://{PUBLIC}/ok",
        "http://①⑧⓪.①.②.③/ok",
        "http://[2606:2800:220:1::1]/ok",
        "http://[2606:2800:220:1:0:0:0:1]:80/ok",
        "http://good6.com/ok",
        "http://both.com/ok",
        "http://public-nat64.com/ok",
        "http://rebind.com/ok",
        "http://img.good.com/jpeg",
        "http://img.good.com/no-type",
        "http://img.good.com/identity",
        "http://img.good.com/svg",
        "http://img.good.com/chunked",
        "http://img.good.com/until-close",
        "http://img.good.com/lie-small",
        "http://img.good.com/same-cl",
        "http://img.good.com/r-rel",
        "http://img.good.com/r-slashes",
        "http://img.good.com/r-3",
        "http://img.good.com/r-rebind",
    ],
    "credentials": [
        "https://user:pw@img.good.com/",
        "http://user@img.good.com/",
        "http://@img.good.com/",
        "http://img.good.com@127.0.0.1/",
        "http://img.good.com:80@127.0.0.1:80/",
        "http://127.0.0.1@img.good.com/",
        "http://img.good.com/r-cred",
    ],
    "ip": [
        "http://127.0.0.1/",
        "http://127.0.0.1./",
        "http://127.255.255.254/",
        "http://127.0.0.1:6379/",
        "http://0.0.0.0/",
        "http://0.1.2.3/",
        "http://10.0.0.1/",
        "http://100.64.0.1/",
        "http://100.100.100.200/latest/meta-data/",
        "http://168.63.129.16/machine",
        "http://169.254.169.254/latest/meta-data/",
        "http://169.254.170.2/v2/credentials",
        "http://172.16.0.1/",
        "http://172.31.255.255/",
        "http://192.0.0.192/opc/v2/instance/",
        "http://192.0.2.1/",
        "http://192.88.99.1/",
        "http://192.168.1.1/",
        "http://198.18.0.1/",
        "http://198.51.100.1/",
        "http://203.0.113.1/",
        "http://224.0.0.1/",
        "http://240.0.0.1/",
        "http://255.255.255.255/",
        "http://[::]/",
        "http://[::1]/",
        "http://[0:0:0:0:0:0:0:1]/",
        "http://[::127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::FFFF:A9FE:A9FE]/",
        f"http://[::ffff:{PUBLIC}]/",
        "http://[::ffff:0:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[64:ff9b::10.0.0.1]/",
        "http://[64:ff9b:1::7f00:1]/",
        "http://[100::1]/",
        "http://[2001::1]/",
        "http://[2001:db8::1]/",
        "http://[2002:7f00:1::]/",
        "http://[3fff::1]/",
        "http://[5f00::1]/",
        "http://[fc00::1]/",
        "http://[fd00:ec2::254]/",
        "http://[fe80::1]/",
        "http://[fec0::1]/",
        "http://[ff02::1]/",
        "http://[ff0e::1]/",
        "http://①②⑦.⓪.⓪.①/",
        "http://127。0。0。1/",
        "http://\uff11\uff12\uff17\uff0e\uff10\uff0e\uff10\uff0e\uff11/",
        "http://evil-a.com/",
        "http://evil-aaaa.com/",
        "http://mixed.com/",
        "http://mixed-last.com/",
        "http://mapped.com/",
        "http://nat64.com/",
        "http://nat64-local.com/",
        "http://cgnat.com/",
        "http://zero.com/",
        "http://v4compat.com/",
        "http://docs.com/",
        "http://sixtofour.com/",
        "http://teredo.com/",
        "http://site-local.com/",
        "http://scoped.com/",
        "http://multicast.com/",
        "http://metadata.com/",
        "http://azure.com/",
        "http://nonsense.com/",
        "http://img.good.com/r-int",
        "http://img.good.com/r-name",
    ],
    "bare_host": [
        "http://localhost/",
        "http://LOCALHOST./",
        "http://loc\u00adalhost/",
        "http://redis/",
        "http://redis:6379/",
        "https://\uff4cocalhost/",
        "http://img.good.com/r-bare",
    ],
    "reserved_tld": [
        "http://foo.localhost/",
        "http://metadata.google.internal/",
        "http://METADATA.google.INTERNAL./",
        "http://db.local/",
        "http://router.home.arpa/",
        "http://home.arpa/",
        "http://printer.lan/",
        "http://hidden.onion/",
        "http://a.test/",
        "http://a.example/",
        "http://a.invalid/",
    ],
    "numeric_host": [
        "http://127.1/",
        "http://127.0.1/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.1/",
        "http://127.0.0.01/",
        "http://2130706433/",
        "http://017700000001/",
        "http://0/",
        "http://0x/",
        "http://256.0.0.1/",
        "http://1.2.3.4.5/",
        "http://img.good.0x7f/",
        "http://①/",
    ],
    "bad_url": [
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://img.good.com\\@127.0.0.1/",
        "http:\\\\127.0.0.1/",
        "http://img.good.com/a b",
        "http://img.good.com/a\tb",
        "http://img.good.com/a\r\nHost: 127.0.0.1",
        "http://img.good.com/a\x00b",
        "http://img.good.com/a\u2028b",
        "http://img.good.com/\ud800",
        "http://[::1]img.good.com/",
        "http://[::1/",
        "http://::1/",
        "http://img.good.com:80:80/",
        "http://[v1.a]/",
        "http://img.good.com/" + "a" * 5000,
        "http://img.good.com/r-brackets",
        "http://img.good.com/r-backslash",
    ],
    "scheme": [
        "file:///etc/passwd",
        "ftp://img.good.com/a.jpg",
        "gopher://127.0.0.1:6379/_INFO",
        "dict://127.0.0.1:11211/",
        "ldap://127.0.0.1/",
        "data:image/png;base64,iVBORw0KGgo=",
        "javascript:alert(1)",
        "s3://bucket/key",
        "jar:http://img.good.com/!/",
        "//img.good.com/x",
        "img.good.com/x",
        "img.good.com:80/x",
        "/etc/passwd",
        "://img.good.com/",
        "",
        "http",
        "http://img.good.com/r-file",
    ],
    "no_host": [
        "http:///etc",
        "http://",
        "http:",
        "https:img.good.com/x",
        "http:/img.good.com/x",
        "http://:80/",
        "http://?x",
        "http://#x",
    ],
    "port": [
        "http://img.good.com:22/",
        "http://img.good.com:0/",
        "http://img.good.com:6379/",
        "http://img.good.com:8080/",
        "http://img.good.com:65616/",
        "http://img.good.com:99999999999/",
        "http://img.good.com:-80/",
        "http://img.good.com:http/",
        "http://img.good.com:\uff18\uff10/",
        "http://img.good.com/r-port",
    ],
    "bad_host": [
        "http://a..b.com/",
        "http://./",
        "http://img.good.com../",
        "http://.good.com/",
        "http://-.com/",
        "http://-img.good.com/",
        "http://img%2egood.com/",
        "http://%31%32%37.0.0.1/",
        "http://img.good.com&x/",
        "http://a℀b.com/",
        "http://" + "a" * 64 + ".com/",
        "http://" + "a.bc" * 80 + "/",
        "http://" + "ü." * 60 + "com/",
        "http://[1::2::3]/",
        "http://[1.2.3.4]/",
    ],
    "dns": ["http://nxdomain.com/", "http://nobody.com/"],
    "redirects": [
        "http://img.good.com/r-4",
        "http://img.good.com/r-loop",
        "http://img.good.com/r-nowhere",
    ],
    "too_big": [
        "http://img.good.com/big",
        "http://img.good.com/big-chunks",
        "http://img.good.com/lie-big",
    ],
    "network": [
        "http://img.good.com/two-cl",
        "http://img.good.com/negative-cl",
        "http://img.good.com/short",
        "http://img.good.com/cut-chunk",
        "http://img.good.com/hdrbomb",
        "http://img.good.com/garbage",
        "http://img.good.com/goodbye",
    ],
    "encoding": ["http://img.good.com/gzipbomb", "http://img.good.com/two-encodings"],
    "deadline": [
        "http://img.good.com/slow",
        "http://img.good.com/slowhdr",
        "http://img.good.com/hang-later",
        "http://img.good.com/progress-bomb",
    ],
    "timeout": ["http://img.good.com/hang", "http://img.good.com/r-hang"],
    "empty": ["http://img.good.com/empty", "http://img.good.com/status/204"],
    "status": [
        "http://img.good.com/404",
        "http://img.good.com/status/206",
        "http://img.good.com/status/304",
        "http://img.good.com/status/401",
        "http://img.good.com/status/403",
        "http://img.good.com/status/410",
        "http://img.good.com/status/429",
        "http://img.good.com/status/500",
        "http://img.good.com/status/503",
    ],
    "not_image": [
        "http://img.good.com/html",
        "http://img.good.com/wall",
        "http://img.good.com/xhtml",
        "http://img.good.com/html-as-jpeg",
        "http://img.good.com/html-in-crumbs",
    ],
}

# What an address says about itself, before anything is looked up.
SHAPES = {
    *("bad_url", "scheme", "credentials", "no_host", "bad_host"),
    *("numeric_host", "bare_host", "reserved_tld", "ip", "port"),
}
CASES = [
    pytest.param(url, label, id=f"{label}-{number}")
    for label, urls in VERDICTS.items()
    for number, url in enumerate(urls)
]
PUBLIC_PLACES = {
    (address, port) for address in (PUBLIC, PUBLIC_V6, "180.1.2.3") for port in (80, 443)
} | {("64:ff9b::5db8:d822", 80)}


@pytest.mark.parametrize(("url", "label"), CASES)
def test_every_address_gets_its_verdict_and_only_public_ones_are_dialled(
    url: str, label: str, net: Net
) -> None:
    deadline = 0.5 if label in ("deadline", "timeout") else 10
    started = time.monotonic()

    verdict = label_of(url, net, deadline=deadline)

    assert verdict == label
    assert set(net.dialled) <= PUBLIC_PLACES
    if label in SHAPES:
        assert len(net.dialled) == url.count("/r-")
    if label in ("deadline", "timeout"):
        assert time.monotonic() - started < deadline + 2


@pytest.mark.parametrize(("url", "label"), CASES)
def test_the_check_without_a_network_agrees_with_the_download(url: str, label: str) -> None:
    leads_inside = url.removeprefix("http://").removesuffix("/") in NAMES or "/r-" in url
    expected = label if label in SHAPES and not leads_inside else "ok"

    try:
        check_url(url)
        verdict = "ok"
    except FetchError as error:
        verdict = error.label

    assert verdict == expected


def test_the_table_has_addresses_for_every_label() -> None:
    assert set(VERDICTS) == {"ok", *CODES}
    assert sum(map(len, VERDICTS.values())) >= 112


# --- What people and retries are told -------------------------------------------------


@pytest.mark.parametrize(
    ("url", "code", "transient", "params"),
    [
        ("http://10.0.0.1/", "source_not_allowed", False, {}),
        ("http://evil-a.com/", "source_not_allowed", False, {}),
        ("ftp://img.good.com/", "source_not_allowed", False, {}),
        ("http://img.good.com:22/", "source_not_allowed", False, {}),
        ("http://img.good.com/r-int", "source_redirects", False, {}),
        ("http://img.good.com/r-name", "source_redirects", False, {}),
        ("http://img.good.com/r-port", "source_redirects", False, {}),
        ("http://img.good.com/r-cred", "source_redirects", False, {}),
        ("http://img.good.com/r-file", "source_redirects", False, {}),
        ("http://img.good.com/r-loop", "source_redirects", False, {"redirects": MAX_REDIRECTS}),
        ("http://img.good.com/r-nowhere", "source_redirects", False, {"redirects": 0}),
        ("http://nxdomain.com/", "source_unreachable", False, {}),
        ("http://img.good.com/short", "source_unreachable", True, {}),
        ("http://img.good.com/goodbye", "source_unreachable", True, {}),
        ("http://img.good.com/hang", "source_unreachable", True, {"seconds": 0.5}),
        ("http://img.good.com/slow", "source_unreachable", True, {"seconds": 0.5}),
        ("http://img.good.com/gzipbomb", "source_unreachable", False, {}),
        ("http://img.good.com/status/401", "source_forbidden", False, {"status": 401}),
        ("http://img.good.com/status/403", "source_forbidden", False, {"status": 403}),
        ("http://img.good.com/404", "source_not_found", False, {"status": 404}),
        ("http://img.good.com/status/410", "source_not_found", False, {"status": 410}),
        ("http://img.good.com/status/400", "source_unreachable", False, {"status": 400}),
        ("http://img.good.com/status/408", "source_unreachable", True, {"status": 408}),
        ("http://img.good.com/status/429", "source_unreachable", True, {"status": 429}),
        ("http://img.good.com/status/500", "source_unreachable", True, {"status": 500}),
        ("http://img.good.com/status/503", "source_unreachable", True, {"status": 503}),
        (
            "http://img.good.com/lie-big",
            "file_too_large",
            False,
            {"size": 99_999_999_999, "limit": LIMIT},
        ),
        ("http://img.good.com/empty", "file_empty", False, {}),
        ("http://img.good.com/html", "source_not_image", False, {}),
        ("http://img.good.com/html-as-jpeg", "source_not_image", False, {}),
    ],
)
def test_an_error_says_what_to_show_and_whether_to_try_again(
    url: str, code: str, transient: bool, params: dict[str, object], net: Net
) -> None:
    deadline = 0.5 if "seconds" in params else 10

    with pytest.raises(FetchError) as caught:
        net.fetch(url, deadline=deadline)

    assert (caught.value.code, caught.value.transient) == (code, transient)
    assert caught.value.params == params


def test_a_resolver_in_trouble_is_worth_another_try(net: Net) -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    with pytest.raises(FetchError) as caught:
        fetch(
            "http://img.good.com/", into=io.BytesIO(), max_bytes=1, resolve=resolve, dial=net.dial
        )

    assert caught.value.label == "dns"
    assert caught.value.transient


def test_a_full_disk_is_not_blamed_on_the_address(net: Net) -> None:
    class FullDisk(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        net.fetch("http://img.good.com/ok", into=FullDisk())


# --- What comes back ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "content_type", "body"),
    [
        ("/ok", "image/png", PNG),
        ("/typed", "image/png", PNG),
        ("/jpeg", "image/jpeg", JPEG),
        ("/no-type", "", PNG),
        ("/chunked", "image/png", PNG),
        ("/until-close", "image/png", PNG),
        ("/lie-small", "image/png", PNG[:16]),
    ],
)
def test_the_file_holds_the_very_bytes_that_were_sent(
    path: str, content_type: str, body: bytes, net: Net
) -> None:
    file = io.BytesIO()

    fetched = net.fetch(f"http://img.good.com{path}", into=file)

    assert fetched == Fetched(f"http://img.good.com{path}", content_type, len(body))
    assert file.getvalue() == body


def test_the_last_address_of_a_chain_is_the_one_that_is_named(net: Net) -> None:
    fetched = net.fetch("http://good6.com/r-slashes#part")

    assert fetched.url == "http://img.good.com/ok"
    assert net.dialled == [(PUBLIC_V6, 80), (PUBLIC, 80)]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_every_kind_of_redirect_is_followed(status: int, net: Net) -> None:
    fetched = net.fetch(f"http://img.good.com/to?status={status}&to=/jpeg")

    assert fetched.url == "http://img.good.com/jpeg"


@pytest.mark.parametrize("path", ["/ok", "/chunked", "/until-close"])
def test_a_file_of_exactly_the_limit_passes_and_one_byte_more_does_not(path: str, net: Net) -> None:
    fetched = net.fetch(f"http://img.good.com{path}", max_bytes=len(PNG))
    with pytest.raises(FetchError) as caught:
        net.fetch(f"http://img.good.com{path}", max_bytes=len(PNG) - 1)

    assert fetched.bytes == len(PNG)
    assert caught.value.label == "too_big"


@pytest.mark.parametrize("path", ["/big", "/big-chunks"])
def test_an_endless_body_never_fills_the_disk(path: str, net: Net) -> None:
    file = io.BytesIO()

    with pytest.raises(FetchError):
        net.fetch(f"http://img.good.com{path}", into=file)

    assert len(file.getvalue()) <= LIMIT


def test_a_request_carries_nothing_but_the_question(
    net: Net, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    (tmp_path / ".netrc").write_text("machine img.good.com login me password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    file = io.BytesIO()

    net.fetch("http://img.good.com:443/r-echo", into=file)

    headers = dict(line.split(": ", 1) for line in file.getvalue().decode().splitlines())
    assert set(headers) == {"Host", "User-Agent", "Accept", "Accept-Encoding", "Connection"}
    assert headers["Host"] == "img.good.com:443"
    assert headers["Accept-Encoding"] == "identity"
    assert "Studio" in headers["User-Agent"]
    assert net.dialled == [(PUBLIC, 443)] * 2


# --- Names that change their mind, and addresses that don't answer --------------------


def test_a_name_is_resolved_once_and_what_was_judged_is_what_is_dialled(net: Net) -> None:
    net.fetch("http://rebind.com/ok")

    assert net.asked == ["rebind.com"]
    assert net.dialled == [(PUBLIC, 80)]


def test_a_redirect_home_to_a_name_that_turned_private_is_refused(net: Net) -> None:
    with pytest.raises(FetchError) as caught:
        net.fetch("http://rebind.com/r-1")

    assert (caught.value.label, caught.value.code) == ("ip", "source_redirects")
    assert net.asked == ["rebind.com", "rebind.com"]
    assert net.dialled == [(PUBLIC, 80)]


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("img.good.com/ok", "ok"),
        ("a.img.good.com/ok", "ok"),
        ("img.good.com/r-slashes", "ok"),
        ("good.com/ok", "other_host"),
        ("evilimg.good.com/ok", "other_host"),
        ("img.good.com/to?to=http://both.com/ok", "other_host"),
    ],
)
def test_only_hosts_that_were_named_are_asked(net: Net, path: str, label: str) -> None:
    try:
        net.fetch(f"http://{path}", hosts=("img.good.com", ".img.good.com"))
        found = "ok"
    except FetchError as error:
        found = error.label

    assert found == label
    assert set(net.asked) <= {"img.good.com", "a.img.good.com"}


def test_a_second_address_is_tried_when_the_first_is_out_of_reach(net: Net) -> None:
    net.unreachable = {PUBLIC_V6}

    fetched = net.fetch("http://both.com/ok")

    assert fetched.bytes == len(PNG)
    assert net.dialled == [(PUBLIC_V6, 80), (PUBLIC, 80)]


def test_no_more_than_two_addresses_are_tried_one_of_each_family(net: Net) -> None:
    tried = []

    def dial(address: str, port: int, seconds: float) -> httpcore.NetworkStream:
        tried.append(address)
        raise httpcore.ConnectError("Connection refused")

    with pytest.raises(FetchError) as caught:
        fetch(
            "http://img.good.com/",
            into=io.BytesIO(),
            max_bytes=LIMIT,
            resolve=lambda host, port: [PUBLIC_V6, "2606:2800:220:1::2", PUBLIC, "93.184.216.35"],
            dial=dial,
        )

    assert tried == [PUBLIC_V6, PUBLIC]
    assert (caught.value.label, caught.value.transient) == ("network", True)


def test_an_address_that_swallows_packets_leaves_time_for_the_other(net: Net) -> None:
    allotted = []

    def dial(address: str, port: int, seconds: float) -> httpcore.NetworkStream:
        allotted.append(seconds)
        if address == PUBLIC_V6:
            threading.Event().wait(seconds)
            raise httpcore.ConnectTimeout
        return net.dial(address, port, seconds)

    fetched = fetch(
        "http://both.com/ok",
        into=io.BytesIO(),
        max_bytes=LIMIT,
        deadline=2,
        resolve=net.resolve,
        dial=dial,
    )

    assert fetched.bytes == len(PNG)
    assert allotted[0] <= 1
    assert allotted[1] <= 1.1


# --- One deadline ---------------------------------------------------------------------


def test_a_resolver_that_never_answers_is_left_behind(net: Net) -> None:
    release = threading.Event()

    def resolve(host: str, port: int) -> list[str]:
        release.wait(30)
        return [PUBLIC]

    started = time.monotonic()
    with pytest.raises(FetchError) as caught:
        fetch(
            "http://img.good.com/ok",
            into=io.BytesIO(),
            max_bytes=LIMIT,
            deadline=0.5,
            resolve=resolve,
            dial=net.dial,
        )
    elapsed = time.monotonic() - started
    release.set()

    assert (caught.value.label, caught.value.transient) == ("timeout", True)
    assert 0.5 <= elapsed < 2.5
    assert net.dialled == []


def test_redirects_do_not_start_the_deadline_anew(net: Net) -> None:
    def dial(address: str, port: int, seconds: float) -> httpcore.NetworkStream:
        threading.Event().wait(0.3)  # a distant server
        return net.dial(address, port, seconds)

    started = time.monotonic()
    with pytest.raises(FetchError) as caught:
        fetch(
            "http://img.good.com/r-3",
            into=io.BytesIO(),
            max_bytes=LIMIT,
            deadline=0.7,
            resolve=net.resolve,
            dial=dial,
        )

    assert caught.value.params == {"seconds": 0.7}
    assert time.monotonic() - started < 2.7
    assert len(net.dialled) <= 3


def test_a_server_that_never_shakes_hands_is_given_up(net: Net) -> None:
    started = time.monotonic()
    with pytest.raises(FetchError) as caught:
        net.fetch("https://img.good.com/ok", deadline=0.5)  # our server waits for plain HTTP

    assert caught.value.label == "timeout"
    assert time.monotonic() - started < 2.5


def test_every_step_is_given_no_more_than_what_is_left() -> None:
    given: list[tuple[str, float]] = []

    class Stream(httpcore.NetworkStream):
        answer = [b"HTTP/1.1 200 OK\r\n", b"Content-Length: 4\r\n\r\n", b"ab", b"cd"]

        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            given.append(("read", timeout or 0))
            threading.Event().wait(0.05)
            return self.answer.pop(0)

        def write(self, buffer: bytes, timeout: float | None = None) -> None:
            given.append(("write", timeout or 0))

        def close(self) -> None:
            pass

    def dial(address: str, port: int, seconds: float) -> httpcore.NetworkStream:
        given.append(("dial", seconds))
        threading.Event().wait(0.05)
        return Stream()

    fetch(f"http://{PUBLIC}/", into=io.BytesIO(), max_bytes=LIMIT, deadline=30, dial=dial)

    steps = [step for step, _ in given]
    seconds = [seconds for _, seconds in given]
    assert steps[:2] == ["dial", "write"]
    assert steps[-4:] == ["read"] * 4
    assert 29 < seconds[0] <= 30
    assert sorted(seconds, reverse=True) == seconds
    assert seconds[-1] <= 30 - 4 * 0.05


# --- What the operator allows ---------------------------------------------------------


def real_fetch(url: str, *, allow: tuple[str, ...], deadline: float = 10) -> Fetched:
    return fetch(url, into=io.BytesIO(), max_bytes=LIMIT, deadline=deadline, allow=allow)


def test_an_allowed_place_is_reached_through_the_real_resolver_and_tcp(
    server: FetchServer,
) -> None:
    by_address = real_fetch(server.url("/ok"), allow=server.allow)
    by_name = real_fetch(
        f"http://LOCALHOST:{server.port}/ok", allow=(f" LocalHost:{server.port} ",)
    )

    assert by_address.bytes == by_name.bytes == len(PNG)


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("http://127.0.0.1:{port}/ok", "ip"),
        ("http://127.0.0.1/ok", "ip"),
        ("http://localhost:{port}/ok", "bare_host"),
        ("http://127.1:{port}/ok", "numeric_host"),
        ("http://[::1]:{port}/ok", "ip"),
        ("http://img.good.com:{port}/ok", "port"),
    ],
)
@pytest.mark.parametrize(
    "allow",
    [
        (),
        ("127.0.0.1",),
        ("127.0.0.1:",),
        ("127.0.0.1:1",),
        ("127.0.0.2:{port}",),
        ("*",),
        ("*:{port}",),
        ("{port}",),
        ("",),
    ],
)
def test_an_entry_opens_nothing_but_its_own_host_and_port(
    url: str, label: str, allow: tuple[str, ...], server: FetchServer, net: Net
) -> None:
    port = str(server.port)
    allowed = tuple(entry.replace("{port}", port) for entry in allow)

    with pytest.raises(FetchError) as caught:
        net.fetch(url.replace("{port}", port), allow=allowed)

    assert caught.value.label == label
    assert net.dialled == []


def test_a_name_that_leads_to_an_allowed_address_is_still_refused(net: Net) -> None:
    with pytest.raises(FetchError) as caught:
        net.fetch("http://evil-a.com/ok", allow=("127.0.0.1:80",))

    assert caught.value.label == "ip"
    assert net.dialled == []


def test_an_allowed_name_may_be_bare_and_private(net: Net) -> None:
    fetched = fetch(
        "http://intranet:8080/ok",
        into=io.BytesIO(),
        max_bytes=LIMIT,
        allow=("intranet:8080",),
        resolve=lambda host, port: {"intranet": ["10.0.0.5"]}[host],
        dial=net.dial,
    )

    assert fetched.url == "http://intranet:8080/ok"
    assert net.dialled == [("10.0.0.5", 8080)]


@pytest.mark.parametrize("url", ["http://u:p@127.0.0.1:{port}/ok", "ftp://127.0.0.1:{port}/ok"])
def test_an_allowed_place_still_takes_neither_credentials_nor_other_schemes(
    url: str, server: FetchServer
) -> None:
    with pytest.raises(FetchError) as caught:
        real_fetch(url.replace("{port}", str(server.port)), allow=server.allow)

    assert caught.value.label in ("credentials", "scheme")


def test_an_allowed_place_can_not_redirect_to_another_private_one(server: FetchServer) -> None:
    with serving() as neighbour:
        with pytest.raises(FetchError) as caught:
            real_fetch(server.url(f"/to?to={neighbour.url('/ok')}"), allow=server.allow)

        assert neighbour.seen == []
    assert (caught.value.label, caught.value.code) == ("ip", "source_redirects")


def test_an_allowed_place_may_redirect_within_itself(server: FetchServer) -> None:
    fetched = real_fetch(server.url("/r-3"), allow=server.allow)

    assert fetched.url == server.url("/ok")


# --- Certificates ---------------------------------------------------------------------


def test_the_certificate_must_hold_the_name_though_the_address_is_dialled(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with serving(authority.context_for("img.good.com")) as server:
        net = Net(server)

        fetched = net.fetch("https://img.good.com/ok")

        assert fetched == Fetched("https://img.good.com/ok", "image/png", len(PNG))
        assert net.dialled == [(PUBLIC, 443)]
        assert [seen.server_name for seen in server.seen] == ["img.good.com"]


@pytest.mark.parametrize("name", ["evil.com", "good.com", PUBLIC, "127.0.0.1"])
def test_a_certificate_for_something_else_is_refused_before_anything_is_asked(
    name: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with serving(authority.context_for(name)) as server:
        with pytest.raises(FetchError) as caught:
            Net(server).fetch("https://img.good.com/ok")

        assert server.seen == []
    assert (caught.value.label, caught.value.transient) == ("network", False)


def test_an_authority_that_nobody_named_is_not_trusted(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with serving(authority.context_for("img.good.com")) as server:
        with pytest.raises(FetchError) as caught:
            Net(server).fetch("https://img.good.com/ok")

        assert server.seen == []
    assert (caught.value.label, caught.value.transient) == ("network", False)


def test_an_address_in_numbers_needs_a_certificate_for_the_numbers(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with serving(authority.context_for(PUBLIC)) as server:
        fetched = Net(server).fetch(f"https://{PUBLIC}/ok")

    assert fetched.bytes == len(PNG)


def test_a_redirect_may_climb_to_https_but_never_fall_back(
    server: FetchServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with serving(authority.context_for("img.good.com")) as secure:
        dialled = []

        def dial(address: str, port: int, seconds: float) -> httpcore.NetworkStream:
            dialled.append(port)
            return Net(secure if port == 443 else server).dial(address, port, seconds)

        def get(url: str) -> Fetched:
            return fetch(
                url,
                into=io.BytesIO(),
                max_bytes=LIMIT,
                resolve=lambda host, port: NAMES[host],
                dial=dial,
            )

        climbed = get("http://img.good.com/r-https")
        with pytest.raises(FetchError) as caught:
            get("https://img.good.com/r-http")

    assert climbed.url == "https://img.good.com/ok"
    assert (caught.value.label, caught.value.code) == ("scheme", "source_redirects")
    assert dialled == [80, 443, 443]


# --- Many at once ---------------------------------------------------------------------


def test_thirty_two_threads_do_not_get_in_each_other_s_way(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    expected = {"/ok": PNG, "/jpeg": JPEG, "/html": "not_image", "/404": "status", "/r-3": PNG}
    with serving(authority.context_for("img.good.com")) as secure:
        net = Net(secure)

        def get(path: str) -> bytes | str:
            file = io.BytesIO()
            try:
                net.fetch(f"https://img.good.com{path}", into=file, deadline=30)
            except FetchError as error:
                return error.label
            return file.getvalue()

        paths = list(expected) * 20
        with ThreadPoolExecutor(32) as pool:
            got = list(pool.map(get, paths))

    assert got == [expected[path] for path in paths]


# --- Normal form ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        (" HTTP://IMG.Good.com:80 ", "http://img.good.com/"),
        ("https://img.good.com:443/a#b", "https://img.good.com/a"),
        ("https://img.good.com:80/a", "https://img.good.com:80/a"),
        ("http://img.good.com?a=b", "http://img.good.com/?a=b"),
        ("http://img.good.com/?", "http://img.good.com/?"),
        ("http://Bücher.com/ünï?q=ø", "http://xn--bcher-kva.com/%C3%BCn%C3%AF?q=%C3%B8"),
        ("http://img.good.com/a%20b%2Fc", "http://img.good.com/a%20b%2Fc"),
        ("http://img.good.com/a/../b", "http://img.good.com/a/../b"),
        ('http://img.good.com/<">', "http://img.good.com/%3C%22%3E"),
        ("http://img.good.com/a?s[]=1|2&t=~'", "http://img.good.com/a?s[]=1|2&t=~'"),
        ("http://[2606:2800:0220:1:0::1]:80/", "http://[2606:2800:220:1::1]/"),
    ],
)
def test_an_address_is_brought_into_normal_form(url: str, normal: str) -> None:
    assert check_url(url) == normal
    assert check_url(normal) == normal


@settings(deadline=None, max_examples=300)
@given(
    st.one_of(
        st.text(max_size=60),
        st.text(max_size=40).map("http://{}".format),
        st.text(max_size=40).map("https://img.good.com/{}".format),
        st.text("0123456789abcdefx:.[]@%#/\\①。-", max_size=40).map("http://{}/".format),
    )
)
def test_whatever_is_pasted_is_refused_with_a_label_or_stays_what_it_became(url: str) -> None:
    try:
        normal, label = check_url(url), None
    except FetchError as error:
        normal, label = "", error.label

    assert label in SHAPES or (normal.isascii() and check_url(normal) == normal)


@settings(deadline=None, max_examples=300)
@given(st.ip_addresses(v=4))
def test_no_wrapping_makes_an_ipv4_address_more_public(address: object) -> None:
    wrapped = [f"::ffff:{address}", f"::{address}", f"64:ff9b:1::{address}"]

    assert network.is_public(f"64:ff9b::{address}") == network.is_public(str(address))
    assert not any(map(network.is_public, wrapped))


# --- A look at the beginning ----------------------------------------------------------


def test_a_look_brings_the_beginning_and_the_announced_length(net):
    seen = net.peek("http://img.good.com/r-2")

    assert (seen.url, seen.bytes) == ("http://img.good.com/ok", len(PNG))
    assert PNG.startswith(seen.start[:100])


def test_a_look_does_not_wait_for_the_end_of_an_endless_file(net):
    seen = net.peek("http://img.good.com/big")

    assert len(seen.start) <= 2 * 65_536
    assert seen.bytes is None


@pytest.mark.parametrize(
    "url",
    [
        *(f"http://{name}/ok" for name in ("evil-a.com", "mixed.com", "metadata.com", "nat64.com")),
        "http://127.0.0.1/",
        "http://img.good.com:6379/",
        *(f"http://img.good.com/{path}" for path in ("r-int", "r-name", "r-file", "r-port")),
    ],
)
def test_a_look_goes_nowhere_where_a_download_would_not(net, url):
    with pytest.raises(FetchError) as look:
        net.peek(url)
    dialled = list(net.dialled)

    with pytest.raises(FetchError) as download:
        Net(net.server).fetch(url)

    assert look.value.label == download.value.label
    assert {address for address, _port in dialled} <= {PUBLIC}


@pytest.mark.parametrize("path", ["hang", "slowhdr", "hang-later"])
def test_a_look_has_one_deadline(net, path):
    began = time.monotonic()

    with pytest.raises(FetchError) as refused:
        net.peek(f"http://img.good.com/{path}", deadline=0.5)

    assert refused.value.label in {"timeout", "deadline"}
    assert time.monotonic() - began < 3
