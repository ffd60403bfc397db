"""A bucket as a store: against moto's server, over HTTP, with everything that may go wrong."""

import io
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import botocore.retries.standard
import pytest
from moto.core import set_initial_no_auth_action_count

from batches.stores import guarding
from batches.stores.base import StoreError
from batches.stores.endpoints import judged
from batches.stores.s3 import S3

PNG = b"\x89PNG" + bytes(range(256)) * 8


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    """boto3 waits up to a second before its second try."""
    backoff = botocore.retries.standard.ExponentialBackoff
    monkeypatch.setattr(backoff, "delay_amount", lambda *_args: 0)


@pytest.fixture
def store(s3) -> S3:
    return connected(s3)


def connected(s3, **options) -> S3:
    given = {
        "bucket": "pictures",
        "key_id": "testing",
        "secret": "testing",
        "endpoint": s3.url,
        "allow": [s3.host],
    }
    return S3(**{**given, **options})


def write(store, path: str, data: bytes = PNG) -> None:
    store.write(path, io.BytesIO(data), size=len(data), content_type="image/png")


def read(store, path: str, *, max_bytes: int = 10**8) -> bytes:
    file = io.BytesIO()
    store.read(path, into=file, max_bytes=max_bytes)
    return file.getvalue()


def refusal(call, *args, **kwargs) -> StoreError:
    with pytest.raises(StoreError) as caught:
        call(*args, **kwargs)
    return caught.value


@pytest.mark.parametrize(
    "path", ["shoe.png", "Schuhe/großer  Schuh.png", "靴/左 100%.png", "a&b=c?d#e/+f.png", "a\\b"]
)
def test_what_is_written_is_what_is_read_whatever_the_name(store, s3, path):
    write(store, path)

    stored = s3.client.get_object(Bucket="pictures", Key=path)
    assert (stored["Body"].read(), stored["ContentType"]) == (PNG, "image/png")
    assert read(store, path) == PNG
    found = store.stat(path)
    assert (found.path, found.bytes, found.content_type) == (path, len(PNG), "image/png")
    assert found.fingerprint
    assert found.changed_at.tzinfo


def test_the_file_stays_open_after_it_was_sent(store):
    file = io.BytesIO(PNG)

    store.write("a.png", file, size=len(PNG), content_type="image/png")

    assert not file.closed


def test_a_large_file_goes_up_in_parts(store, s3):
    data = os.urandom(1024) * (9 * 1024)

    write(store, "large.png", data)

    parts = [asked for asked in s3.requests if "partNumber" in asked]
    assert len(parts) == 2
    assert read(store, "large.png") == data


def test_parts_of_a_file_that_did_not_come_through_are_no_file(store, s3):
    s3.faults = [("PUT", "large.png", "500 InternalError")] * 3

    error = refusal(write, store, "large.png", bytes(9 * 2**20))

    assert (error.code, error.transient) == ("store_unreachable", True)
    assert store.stat("large.png") is None
    assert "Uploads" not in s3.client.list_multipart_uploads(Bucket="pictures")


def test_everything_stays_below_the_prefix(s3):
    store = connected(s3, prefix="/shop/2026/")
    s3.client.put_object(Bucket="pictures", Key="outside.png", Body=b"x")

    write(store, "shoes/a.png")

    keys = [entry["Key"] for entry in s3.client.list_objects_v2(Bucket="pictures")["Contents"]]
    assert keys == ["outside.png", "shop/2026/shoes/a.png"]
    assert [found.path for found in store.walk("", recursive=True)] == ["shoes/a.png"]
    assert store.folders("") == ["shoes"]
    assert store.stat("outside.png") is None


def test_a_folder_is_walked_page_by_page(store, s3):
    client = s3.client
    for key in ("a/1 ü.png", "a/2.png", "a/b/3.png", "a/b/c/4.png", "ab/5.png", "a/", "a//6.png"):
        client.put_object(Bucket="pictures", Key=key, Body=b"x")
    pages = store._client.get_paginator("list_objects_v2")
    store._client.get_paginator = lambda _name: _Small(pages)

    flat = [found.path for found in store.walk("a", recursive=False)]
    whole = [found.path for found in store.walk("a", recursive=True)]

    assert flat == ["a/1 ü.png", "a/2.png"]
    assert whole == ["a/1 ü.png", "a/2.png", "a/b/3.png", "a/b/c/4.png"]
    assert store.folders("") == ["a", "ab"]
    assert store.folders("a") == ["b"]


class _Small:
    """A paginator that asks for two keys at a time."""

    def __init__(self, pages):
        self.pages = pages

    def paginate(self, **where):
        return self.pages.paginate(**where, PaginationConfig={"PageSize": 2})


def test_copies_and_deletions(store, s3):
    write(store, "a ü.png")
    store.copy("a ü.png", "aside/a.png")
    store.delete("a ü.png")
    store.delete("a ü.png")
    store.describe("aside/a.png", text="x", product="y")  # nowhere to put it, and no error

    assert read(store, "aside/a.png") == PNG
    assert store.stat("a ü.png") is None
    assert refusal(store.copy, "nothing.png", "b.png").code == "store_missing"


def test_a_missing_bucket_says_so(s3):
    store = connected(s3, bucket="nowhere")

    assert refusal(store.check).code == "store_missing"
    assert refusal(write, store, "a.png").code == "store_missing"


def test_a_missing_file_says_so(store):
    assert refusal(read, store, "a.png").code == "store_missing"


def test_wrong_keys_say_so(s3):
    with_signatures = set_initial_no_auth_action_count(0)

    error = with_signatures(lambda: refusal(connected(s3).check))()

    assert (error.code, error.transient) == ("store_credentials", False)


def test_a_body_that_ends_early_is_no_file(store, s3):
    write(store, "a.png")
    s3.faults = [("GET", "a.png", "cut")]

    error = refusal(read, store, "a.png")

    assert (error.code, error.transient) == ("store_unreachable", True)
    assert read(store, "a.png") == PNG


def test_a_file_beyond_the_limit_is_not_read(store):
    write(store, "a.png", bytes(3 * 2**20))

    error = refusal(read, store, "a.png", max_bytes=2**20)

    assert (error.code, error.params) == ("file_too_large", {"size": 3.0, "max": 1})


def test_slow_down_is_obeyed_after_a_few_tries(store, s3):
    s3.faults = [("PUT", "a.png", "503 SlowDown")] * 3

    error = refusal(write, store, "a.png")

    assert (error.code, error.transient) == ("store_limit", True)
    assert error.retry_after > 0
    assert len([asked for asked in s3.requests if asked.startswith("PUT")]) == 3
    write(store, "a.png")


def test_one_slow_down_is_not_even_noticed(store, s3):
    s3.faults = [("PUT", "a.png", "503 SlowDown")]

    write(store, "a.png")

    assert read(store, "a.png") == PNG


def test_clocks_that_differ_say_so(store, s3):
    s3.clock_is_off_by = timedelta(minutes=20)

    assert refusal(write, store, "a.png").code == "store_clock"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("403 AccessDenied", "store_forbidden"),
        ("403 SignatureDoesNotMatch", "store_credentials"),
        ("400 ExpiredToken", "store_credentials"),
        ("400 InvalidRequest", "store_refused"),
        ("409 OperationAborted", "store_refused"),
    ],
)
def test_other_refusals_are_told_apart(store, s3, fault, code):
    s3.faults = [("PUT", "a.png", fault)]

    error = refusal(write, store, "a.png")

    assert (error.code, error.transient) == (code, False)


@pytest.mark.parametrize("path", ["", "/a.png", "a//b.png", "../a.png", "a/./b", "a\n.png"])
def test_a_path_that_could_be_read_in_two_ways_is_never_sent(store, s3, path):
    assert refusal(write, store, path).code == "store_path"
    assert s3.requests == []


def test_a_key_has_1024_bytes_at_most(store, s3):
    assert refusal(write, store, "ü" * 513).code == "store_name_too_long"
    assert s3.requests == []


def test_the_address_is_below_the_public_one_if_there_is_any(s3):
    public = connected(s3, prefix="shop", public_url="https://cdn.example.com/")

    assert public.url("a b.png") == "https://cdn.example.com/shop/a%20b.png"
    assert connected(s3).url("a.png") == ""


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://169.254.169.254",
        "https://169.254.169.254",
        "https://10.0.0.7",
        "https://localhost",
        "https://minio",
        "https://s3.internal",
        "http://s3.example.com",  # not encrypted
        "https://s3.example.com:22",
        "https://s3.example.com/bucket",
        "https://user@s3.example.com",
        "ftp://s3.example.com",
    ],
)
def test_endpoints_that_are_not_called(endpoint):
    assert refusal(judged, endpoint).code == "store_not_allowed"
    assert refusal(S3, bucket="b", key_id="k", secret="s", endpoint=endpoint).code == (
        "store_not_allowed"
    )


def test_endpoints_that_are():
    assert judged("https://s3.example.com/") == "https://s3.example.com"
    allow = ["minio:9000", "minio:80"]
    assert judged("http://minio:9000", allow=allow) == "http://minio:9000"
    assert judged("http://minio", allow=allow) == "http://minio"


@pytest.mark.parametrize("address", ["169.254.169.254", "127.0.0.1", "10.0.0.7", "fd00::1"])
def test_a_name_that_leads_into_the_private_network_is_not_dialled(s3, address):
    port = int(s3.host.rpartition(":")[2])
    answers = iter([["93.184.216.34", address]] * 9)
    resolver = guarding.Resolver(resolve=lambda _host, _port: next(answers))
    store = connected(
        s3,
        endpoint=f"http://minio:{port}",
        allow=[f"minio:{port}"],
        resolver=resolver,
    )

    error = refusal(store.check)

    assert (error.code, error.transient) == ("store_not_allowed", False)
    assert s3.requests == []


def test_the_address_that_was_judged_is_the_one_that_is_dialled(s3):
    port = int(s3.host.rpartition(":")[2])
    asked = []

    def rebinding(_host, _port):
        asked.append(1)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    allow = [f"minio:{port}"]
    store = connected(
        s3,
        endpoint=f"http://minio:{port}",
        allow=allow,
        resolver=guarding.Resolver(allow=allow, resolve=rebinding),
    )

    store.check()

    assert len(asked) == 1
    assert len(s3.requests) == 1


def test_nothing_around_us_counts(s3, tmp_path):
    """A machine full of credentials, proxies and configuration: none of it is even looked at."""
    config = tmp_path / "config"
    config.write_text("[default]\nregion = mars-1\nendpoint_url = http://127.0.0.1:9\n")
    credentials = tmp_path / "credentials"
    credentials.write_text("[default]\naws_access_key_id = AMBIENT\naws_secret_access_key = x\n")
    program = f"""
from batches.stores.s3 import S3
store = S3(bucket="pictures", key_id="OURS", secret="ours", endpoint={s3.url!r},
           allow=[{s3.host!r}])
store.check()
print(store._client._request_signer._credentials.access_key)
none = S3(bucket="pictures", key_id="", secret="", endpoint={s3.url!r}, allow=[{s3.host!r}])
try:
    none.check()
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={
            **os.environ,
            "AWS_CONFIG_FILE": str(config),
            "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
            "AWS_ACCESS_KEY_ID": "AMBIENT",
            "AWS_SECRET_ACCESS_KEY": "ambient",
            "AWS_PROFILE": "nobody",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            "AWS_CA_BUNDLE": "/nowhere",
            "HTTP_PROXY": "http://127.0.0.1:9",
            "http_proxy": "http://127.0.0.1:9",
            "DJANGO_SETTINGS_MODULE": "studio.settings",
        },
        check=False,
    )

    assert done.stdout.splitlines()[0] == "OURS", done.stderr
    assert "AMBIENT" not in done.stdout
    assert len(s3.requests) == 1


def test_nobody_there_is_a_reason_to_come_back_later(s3):
    store = connected(s3, endpoint="http://127.0.0.1:9", allow=["127.0.0.1:9"])

    error = refusal(store.check)

    assert (error.code, error.transient) == ("store_unreachable", True)
