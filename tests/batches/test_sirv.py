"""A Sirv account as a store: against a server that keeps the real one's rules."""

import io
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from batches.stores import guarding
from batches.stores.base import StoreError
from batches.stores.sirv import Sirv
from tests import sirv_server

PNG = b"\x89PNG" + bytes(range(256)) * 8


@pytest.fixture
def account() -> Iterator[sirv_server.SirvServer]:
    with sirv_server.serving() as running:
        yield running


@pytest.fixture
def store(account) -> Sirv:
    return connected(account)


def connected(account, *, secret: str = "", resolver: guarding.Resolver | None = None) -> Sirv:
    return Sirv(
        client_id=account.client_id,
        client_secret=secret or account.client_secret,
        cdn=sirv_server.CDN,
        api=account.url,
        resolver=resolver or guarding.Resolver(allow=[account.host]),
    )


def write(store, path: str, data: bytes = PNG) -> None:
    store.write(path, io.BytesIO(data), size=len(data), content_type="image/png")


def read(store, path: str, *, max_bytes: int = 10**6) -> bytes:
    file = io.BytesIO()
    store.read(path, into=file, max_bytes=max_bytes)
    return file.getvalue()


def refusal(call, *args, **kwargs) -> StoreError:
    with pytest.raises(StoreError) as caught:
        call(*args, **kwargs)
    return caught.value


def test_the_account_tells_its_name_and_its_cdn(store):
    assert store.check() == {"account": "alice", "cdn": sirv_server.CDN}


@pytest.mark.parametrize(
    "path",
    ["shoe.png", "Schuhe/großer Schuh.png", "靴/左 100%.png", "a&b=c?d#e/+f.png", "😀/x.png"],
)
def test_what_is_written_is_what_is_read_whatever_the_name(store, account, path):
    write(store, path)

    assert account.files[f"/{path}"].data == PNG
    assert account.files[f"/{path}"].content_type == "image/png"
    assert read(store, path) == PNG
    found = store.stat(path)
    assert (found.path, found.bytes, found.content_type) == (path, len(PNG), "image/png")
    assert found.changed_at.tzinfo


def test_an_upload_is_not_held_in_memory(store, account):
    class File(io.BytesIO):
        longest = 0

        def read(self, size=-1):
            data = super().read(size)
            self.longest = max(self.longest, len(data))
            return data

    file = File(bytes(5_000_000))

    store.write("large.png", file, size=5_000_000, content_type="image/png")

    assert len(account.files["/large.png"].data) == 5_000_000
    assert file.longest < 200_000


def test_nothing_and_a_folder_are_no_file(store):
    write(store, "folder/a.png")

    assert store.stat("folder/b.png") is None
    assert store.stat("folder") is None


def test_one_token_serves_many_calls_and_many_threads(store, account):
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: write(store, f"{number}.png"), range(24)))

    assert account.tokens_given == 1
    assert len(account.files) == 24


def test_a_token_is_renewed_before_it_ends(store, account):
    account.token_seconds = 0.2

    store.check()
    time.sleep(0.11)  # half of its life
    store.check()

    assert account.tokens_given == 2
    assert account.asked.count("GET /v2/account") == 2  # neither was refused


def test_a_token_that_ended_early_is_replaced_in_the_middle_of_the_work(store, account):
    store.check()
    account.pass_time(1300)
    barrier = threading.Barrier(6)

    def work(number: int) -> None:
        barrier.wait()
        write(store, f"{number}.png")

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))

    assert {file.data for file in account.files.values()} == {PNG}
    assert len(account.files) == 6
    assert account.tokens_given == 2


def test_wrong_credentials_say_so(account):
    error = refusal(connected(account, secret="wrong").check)

    assert (error.code, error.transient) == ("store_credentials", False)


def test_credentials_that_were_revoked_say_so(store, account):
    store.check()
    account.pass_time(1300)
    account.client_secret = "another"

    assert refusal(write, store, "a.png").code == "store_credentials"


def test_the_hourly_limit_says_when_it_ends(store, account):
    account.hourly = 1
    write(store, "a.png")

    error = refusal(write, store, "b.png")

    assert (error.code, error.transient) == ("store_limit", True)
    assert 3500 < error.retry_after <= 3600
    account.pass_time(3700)
    write(store, "b.png")


def test_a_taken_name_is_told_from_a_forbidden_folder(store, account):
    account.overwrites = False
    account.closed_folders = {"/private"}
    write(store, "a.png")

    assert refusal(write, store, "a.png").code == "store_name_taken"
    assert refusal(write, store, "private/a.png").code == "store_forbidden"


def test_a_client_that_may_only_read_is_told_so(store, account):
    account.scope = ["account:read", "files:read"]

    assert refusal(write, store, "a.png").code == "store_forbidden"


@pytest.mark.parametrize("fault", ["drop", "500", "503"])
def test_a_server_that_fails_half_way_may_be_asked_again(store, account, fault):
    account.faults = [("upload", fault)]

    error = refusal(write, store, "a.png")

    assert (error.code, error.transient) == ("store_unreachable", True)
    assert account.files == {}
    write(store, "a.png")
    assert account.files["/a.png"].data == PNG


def test_a_server_that_keeps_half_of_a_file_is_seen_through_by_stat(store, account):
    account.faults = [("upload", "truncate")]

    write(store, "a.png")

    assert store.stat("a.png").bytes == len(PNG) // 2


def test_a_download_that_ends_early_is_no_file(store, account):
    account.put("/a.png", PNG)
    account.faults = [("download", "cut")]

    error = refusal(read, store, "a.png")

    assert (error.code, error.transient) == ("store_unreachable", True)
    assert read(store, "a.png") == PNG


def test_a_file_beyond_the_limit_is_not_read(store, account):
    account.put("/a.png", bytes(3 * 2**20))

    error = refusal(read, store, "a.png", max_bytes=2**20)

    assert error.code == "file_too_large"
    assert error.params == {"size": 3.0, "max": 1}
    store.check()  # and the connection is not left in the middle of it


def test_an_answer_that_drips_for_ever_is_cut(account):
    account.put("/a.png", bytes(200))
    account.faults = [("download", "drip")]
    store = connected(account)
    store._http = guarding.pool_manager(guarding.Resolver(allow=[account.host]), seconds=0.3)

    begun = time.monotonic()
    error = refusal(read, store, "a.png")

    assert error.code == "store_unreachable"
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize("path", ["", "/a.png", "a//b.png", "../a.png", "a/./b", "a\n.png"])
def test_a_path_that_could_be_read_in_two_ways_is_never_sent(store, account, path):
    assert refusal(write, store, path).code == "store_path"
    assert account.asked == []


def test_a_path_has_1024_characters_at_most(store, account):
    write(store, "ü" * 1023)
    error = refusal(write, store, "ü" * 1024)

    assert (error.code, error.params) == ("store_name_too_long", {"max": 1024})
    assert len(account.files) == 1


def test_300_megabytes_are_the_most(store, account):
    error = refusal(
        store.write, "a.png", io.BytesIO(), size=300 * 2**20 + 1, content_type="image/png"
    )

    assert (error.code, error.params["max"]) == ("file_too_large", 300)
    assert account.asked == []


def test_a_folder_is_walked_page_by_page(store, account):
    for number in range(230):
        account.put(f"/many/{number:03}.png", b"x")
    account.put("/many/below/deep/z.png", b"x")
    account.put("/other/a.png", b"x")

    flat = [found.path for found in store.walk("many", recursive=False)]
    whole = [found.path for found in store.walk("many", recursive=True)]

    assert flat == [f"many/{number:03}.png" for number in range(230)]
    assert whole == [*flat, "many/below/deep/z.png"]
    assert store.folders("") == ["many", "other"]
    assert store.folders("many") == ["below"]
    assert len(list(store.walk("", recursive=True))) == 232


def test_a_folder_that_is_not_there_says_so(store):
    assert refusal(list, store.walk("nowhere", recursive=False)).code == "store_missing"


def test_copies_deletions_and_words_reach_the_file(store, account):
    write(store, "a.png")
    store.copy("a.png", "aside/a.png")
    store.describe("a.png", text="A red shoe", product="sku-1")
    store.delete("a.png")
    store.delete("a.png")

    assert list(account.files) == ["/aside/a.png"]
    assert refusal(store.copy, "a.png", "b.png").code == "store_missing"


def test_alt_text_and_sku_lie_with_the_file(store, account):
    write(store, "a.png")

    store.describe("a.png", text="Ein roter Schuh", product="sku-1")

    assert account.files["/a.png"].meta == {
        "description": "Ein roter Schuh",
        "product": {"id": "sku-1"},
    }


def test_the_address_is_that_of_the_accounts_cdn(store, account):
    assert store.url("Schuhe/a b.png") == f"https://{sirv_server.CDN}/Schuhe/a%20b.png"


@pytest.mark.parametrize("address", ["169.254.169.254", "127.0.0.1", "10.0.0.7", "fd00::1"])
def test_a_name_that_leads_into_the_private_network_is_not_dialled(account, address):
    resolver = guarding.Resolver(resolve=lambda _host, _port: ["93.184.216.34", address])
    store = connected(account, resolver=resolver)

    error = refusal(store.check)

    assert (error.code, error.transient) == ("store_not_allowed", False)
    assert account.asked == []


def test_nobody_there_is_a_reason_to_come_back_later(account):
    store = connected(account)
    account.shutdown()
    account.server_close()

    error = refusal(store.check)

    assert (error.code, error.transient) == ("store_unreachable", True)
