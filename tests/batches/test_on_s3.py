"""A site whose files lie in buckets: everything that reads, copies and removes them, over HTTP."""

import hashlib
import io
import zipfile
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from PIL import Image

from batches import library, lifecycle, reconcile, storage
from batches.models import Batch, Item, Original, Result
from batches.states import BatchState
from tests import clients
from tests.factories import give, picture

pytestmark = pytest.mark.usefixtures("fake_tool", "rings_at_once")


def keys(s3, bucket: str) -> set[str]:
    listed = s3.client.list_objects_v2(Bucket=bucket)
    return {entry["Key"] for entry in listed.get("Contents", ())}


def body(response) -> bytes:
    return b"".join(response.streaming_content)  # at its end the client closes it


def begun(client, *numbers: int) -> Batch:
    """A batch as a program makes it: files, then the batch, which starts."""
    images = []
    for number in numbers:
        file = SimpleUploadedFile(f"{number}.png", picture(number))
        made = client.post("/api/v1/uploads", {"file": file}, format="multipart")
        images.append({"upload": made.json()["id"]})
    made = client.post("/api/v1/batches", {"tool": "fake", "images": images}, format="json")
    return Batch.objects.get(uid=made.json()["id"])


@pytest.fixture
def delete(django_capture_on_commit_callbacks):
    def delete(batch: Batch) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            lifecycle.delete(batch)

    return delete


def test_a_batch_runs_is_seen_downloaded_and_deleted(alice, on_s3, run_jobs, delete):
    alices = clients.with_key(alice)
    give(alice, 10)
    batch = begun(alices, 1, 2)
    run_jobs()
    batch.refresh_from_db()
    results = list(Result.objects.filter(item__batch=batch))
    item = Item.objects.filter(batch=batch).first()
    assert (batch.state, len(results)) == (BatchState.FINISHED, 2)

    shown = alices.get(f"/api/v1/items/{item.uid}/result")
    small = alices.get(f"/api/v1/items/{item.uid}/result/thumbnail")
    whole = alices.get(f"/api/v1/batches/{batch.uid}/results.zip")
    etag = whole["ETag"]
    data = body(whole)
    part = alices.get(
        f"/api/v1/batches/{batch.uid}/results.zip", HTTP_RANGE="bytes=100-399", HTTP_IF_RANGE=etag
    )

    result = item.results.get()
    assert hashlib.sha256(body(shown)).hexdigest() == result.sha256
    assert shown["Content-Length"] == str(result.bytes)
    assert Image.open(io.BytesIO(body(small))).format == "WEBP"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 4
    assert (part.status_code, body(part)) == (206, data[100:400])

    delete(batch)
    assert keys(on_s3, "originals") | keys(on_s3, "results") == set()


def test_the_same_work_again_and_the_library_have_copies_of_their_own(
    alice, on_s3, run_jobs, delete
):
    alices = clients.with_key(alice)
    give(alice, 10)
    first = begun(alices, 1)
    run_jobs()
    second = begun(alices, 1)
    run_jobs()
    made, again = (Result.objects.get(item__batch=batch) for batch in (first, second))

    asset = library.add(alice, made)
    original = library.add(alice, Original.objects.get())
    delete(first)

    assert again.key != made.key
    assert hashlib.sha256(storage.read(storage.RESULTS, again.key)).hexdigest() == made.sha256
    assert hashlib.sha256(storage.read(storage.RESULTS, asset.key)).hexdigest() == made.sha256
    assert storage.read(storage.RESULTS, original.key) == picture(1)
    assert made.key not in keys(on_s3, "results")


def test_a_file_that_is_gone_is_not_found(alice, on_s3):
    alices = clients.with_key(alice)
    begun(alices, 1)
    original = Original.objects.get()
    storage.delete(storage.ORIGINALS, original.key, original.key)

    response = alices.get(f"/api/v1/uploads/{original.uid}/file")

    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    with pytest.raises(FileNotFoundError):
        storage.copy(storage.ORIGINALS, original.key, "copy.png")
    with pytest.raises(FileNotFoundError):
        storage.read_at_most(storage.ORIGINALS, original.key, 10)


def test_the_sweeper_lists_a_bucket_and_asks_about_no_file(alice, on_s3):
    begun(clients.with_key(alice), 1, 2)
    for folder in ("", "a/", "a/b/"):
        storage.save(storage.ORIGINALS, f"{folder}nobodys.png", b"x")
    on_s3.requests.clear()

    young = reconcile.sweep_orphans(now=timezone.now())
    old = reconcile.sweep_orphans(now=timezone.now() + timedelta(hours=2))

    assert (young, old) == (0, 3)
    assert len(keys(on_s3, "originals")) == 4
    asked = [asked.split()[0] for asked in on_s3.requests]
    assert asked.count("HEAD") == 0
    assert asked.count("DELETE") == 3
