"""`uploads`: pictures come in, are judged by their content, and are there for their owner."""

import hashlib
import io

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image

from batches.models import Original
from tests import clients
from tests.factories import picture


def upload(client, data: bytes, *, name: str = "front.png", **headers):
    return client.post(
        "/api/v1/uploads", {"file": SimpleUploadedFile(name, data)}, format="multipart", **headers
    )


@pytest.fixture
def alices(alice):
    return clients.with_key(alice)


def test_an_upload_comes_back_as_what_is_in_the_file(alices):
    data = picture(size=(64, 48))

    response = upload(alices, data, name="front.png")

    assert response.status_code == 201
    assert response.json() == {
        "id": str(Original.objects.get().uid),
        "name": "front.png",
        "bytes": len(data),
        "width": 64,
        "height": 48,
        "format": "png",
        "sha256": hashlib.sha256(data).hexdigest(),
        "url": f"http://testserver/api/v1/uploads/{Original.objects.get().uid}/file",
    }


def test_the_same_file_once_more_is_the_same_upload(alices):
    first = upload(alices, picture(1), name="one.png")

    second = upload(alices, picture(1), name="two.png")

    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == {**first.json(), "name": "two.png"}
    assert Original.objects.count() == 1


def test_the_same_file_of_somebody_else_is_another_upload(alices, bob):
    mine = upload(alices, picture(1))

    theirs = upload(clients.with_key(bob), picture(1))

    assert theirs.status_code == 201
    assert theirs.json()["id"] != mine.json()["id"]


def test_a_jpeg_that_is_called_png_is_taken_for_what_it_is(alices):
    response = upload(alices, picture(kind="JPEG"), name="really.png")

    assert response.status_code == 201
    assert response.json()["format"] == "jpg"


def animation() -> bytes:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green", "blue")]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        pytest.param(b"", 422, "file_empty", id="nothing"),
        pytest.param(b"%PDF-1.7 " + b"x" * 100, 415, "format_unsupported", id="pdf"),
        pytest.param(b"just some words " * 20, 415, "format_unsupported", id="text"),
        pytest.param(picture()[:-40], 422, "file_damaged", id="truncated"),
        pytest.param(animation(), 422, "image_animated", id="animated"),
        pytest.param(picture(size=(4, 4)), 422, "dimensions_too_small", id="tiny"),
    ],
)
def test_a_bad_file_is_refused_with_the_code_that_a_failed_image_carries(
    alices, data, status, code
):
    response = upload(alices, data, name="picture.png")

    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response["Content-Type"] == "application/problem+json"
    assert not Original.objects.exists()


def test_a_byte_over_twenty_mebibytes_is_too_much(alices):
    response = upload(alices, picture() + b"\0" * (20 * 2**20 + 1 - len(picture())))

    assert (response.status_code, response.json()["code"]) == (413, "file_too_large")
    assert "20.1 MB" in response.json()["detail"]


def test_exactly_twenty_mebibytes_are_taken(alices):
    data = picture()

    response = upload(alices, data + b"\0" * (20 * 2**20 - len(data)))

    assert response.status_code == 201
    assert response.json()["bytes"] == 20 * 2**20


def test_a_file_that_is_announced_as_too_large_is_not_even_read(alices):
    class Unread(io.BytesIO):
        def read(self, *_args):
            raise AssertionError("the body was read")

    response = alices.generic(
        "POST",
        "/api/v1/uploads",
        content_type="multipart/form-data; boundary=x",
        **{"wsgi.input": Unread(), "CONTENT_LENGTH": str(25 * 2**20)},
    )

    assert (response.status_code, response.json()["code"]) == (413, "file_too_large")


def test_a_form_without_a_file_is_told_what_is_missing(alices):
    response = alices.post("/api/v1/uploads", {"image": "x"}, format="multipart")

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/file"


def test_two_files_at_once_are_refused_rather_than_one_dropped(alices):
    files = [SimpleUploadedFile(f"{n}.png", picture(n)) for n in range(2)]

    response = alices.post("/api/v1/uploads", {"file": files}, format="multipart")

    assert response.status_code == 422
    assert not Original.objects.exists()


def test_json_is_no_form(alices):
    response = alices.post("/api/v1/uploads", {"file": "x"}, format="json")

    assert (response.status_code, response.json()["code"]) == (415, "format_unsupported")


def test_an_upload_that_is_sent_twice_with_one_key_is_answered_once(alices):
    first = upload(alices, picture(3), HTTP_IDEMPOTENCY_KEY="k1")

    again = upload(alices, picture(3), HTTP_IDEMPOTENCY_KEY="k1")
    other = upload(alices, picture(4), HTTP_IDEMPOTENCY_KEY="k1")

    assert (again.status_code, again.content) == (201, first.content)
    assert again["Idempotent-Replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


def test_the_owner_reads_an_upload_and_gets_its_bytes(alices):
    data = picture(5)
    made = upload(alices, data, name="schön/../Zoë.png").json()

    read = alices.get(f"/api/v1/uploads/{made['id']}")
    file = alices.get(made["url"])
    saved = alices.get(made["url"], {"download": "1"})

    assert read.json() == made
    assert b"".join(file.streaming_content) == data
    assert file["Content-Type"] == "image/png"
    assert file["X-Content-Type-Options"] == "nosniff"
    assert file["Cache-Control"].startswith("private")
    assert file["Content-Disposition"].startswith("inline")
    assert saved["Content-Disposition"] == "attachment; filename*=utf-8''Zo%C3%AB.png"
    file.close()
    saved.close()


def test_an_upload_has_a_thumbnail(alices):
    made = upload(alices, picture(6)).json()

    thumbnail = alices.get(f"/api/v1/uploads/{made['id']}/thumbnail")

    assert thumbnail["Content-Type"] == "image/webp"
    assert Image.open(io.BytesIO(b"".join(thumbnail.streaming_content))).format == "WEBP"
    thumbnail.close()


def test_a_browser_that_asks_for_pictures_gets_its_picture(alices):
    made = upload(alices, picture(7)).json()

    file = alices.get(made["url"], HTTP_ACCEPT="image/png")

    assert file.status_code == 200
    file.close()


def test_a_file_that_left_the_storage_is_not_found(alices):
    from batches import storage

    made = upload(alices, picture(8)).json()
    storage.delete(storage.ORIGINALS, Original.objects.get().key)

    response = alices.get(made["url"])

    assert (response.status_code, response.json()["code"]) == (404, "not_found")
