"""The doors for clients of Sirv AI Studio: shapes, names and codes that those programs know."""

import io
from urllib.parse import urlsplit

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from django.test import Client
from PIL import Image

from accounts import plans
from batches import lifecycle, links, own_addresses, progress, waiting
from batches.models import Batch, Item, Original, Result
from batches.states import BatchState, ItemState
from batches.zapier import api, table
from credits import ledger
from tests import clients
from tests.factories import bare_batch, bare_item, bare_result, done_batch, give, picture
from tools import outside
from tools.engines import provider, vision_language

pytestmark = pytest.mark.usefixtures("valkey")

DOORS = "/api/zapier"
OUTSIDE = "https://shop.example.com/mug.png"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch) -> None:
    """Nobody waits here for long: either the work is done at once, or it is not done."""
    monkeypatch.setattr(api, "PATIENCE", 0.05)


@pytest.fixture
def client(alice):
    """A program with Alice's key, whose credits are 100."""
    give(alice, 75)
    return clients.with_key(alice)


@pytest.fixture
def working(monkeypatch, rings_at_once, run_jobs) -> None:
    """There are workers: what somebody waits for is done meanwhile."""
    wait = waiting.until_ended

    def work_and_wait(item, **how):
        run_jobs()
        return wait(item, **how)

    monkeypatch.setattr(waiting, "until_ended", work_and_wait)


def post(client, door: str, **body):
    return client.post(f"{DOORS}/{door}", body, format="json")


def upload(client, data: bytes, name: str = "upload.png"):
    file = SimpleUploadedFile(name, data)
    return client.post(f"{DOORS}/upload", {"file": file}, format="multipart")


def mask(box: tuple[int, int, int, int]) -> bytes:
    """A mask of the size of `picture`, white within the box."""
    drawn = Image.new("L", (64, 48))
    drawn.paste(255, box)
    file = io.BytesIO()
    drawn.save(file, "PNG")
    return file.getvalue()


def sent(client, number: int = 0) -> str:
    """The address that an upload is given."""
    return upload(client, picture(number)).json()["url"]


def fetched(url: str) -> bytes:
    """What such a client reads: without any key, and no more than was announced."""
    answer = Client().get(urlsplit(url).path)
    assert answer.status_code == 200
    return b"".join(answer.streaming_content)[: int(answer["Content-Length"])]


def refusal(answer) -> tuple[int, str]:
    """The status and the code of a refusal, which has the shape of all refusals here."""
    body = answer.json()
    assert set(body) == {"error", "code"}
    assert body["error"]
    assert answer["Content-Type"] == "application/json"
    return answer.status_code, body["code"]


# --- Keys and files -------------------------------------------------------------------


def test_a_key_is_tested(client, alice):
    answer = client.get(f"{DOORS}/me")

    assert answer.status_code == 200
    assert answer.json() == {
        "id": str(alice.uid),
        "email": "alice@example.com",
        "credits": 100,
        "tier": "standard",
    }


def test_a_wrong_key_is_told_so(db):
    answer = clients.with_secret("sk_live_wrong").get(f"{DOORS}/me")

    assert refusal(answer) == (401, "NOT_AUTHENTICATED")
    assert answer["WWW-Authenticate"] == 'Bearer realm="api"'


def test_a_plan_without_the_api_lets_nobody_in(client, monkeypatch):
    monkeypatch.setattr(plans, "STANDARD", plans.replace(plans.STANDARD, api=False))

    assert refusal(client.get(f"{DOORS}/me")) == (403, "API_NOT_ENABLED")


def test_too_many_requests_are_told_when_to_come_back(client, monkeypatch):
    strict = plans.replace(plans.STANDARD, api_reads_per_hour=0)
    monkeypatch.setattr(plans, "STANDARD", strict)

    answer = client.get(f"{DOORS}/me")

    assert refusal(answer) == (429, "RATE_LIMITED")
    assert int(answer["Retry-After"]) > 0


def test_an_upload_gets_an_address_that_opens_without_a_key(client):
    answer = upload(client, picture(1))

    assert answer.status_code == 200
    assert fetched(answer.json()["url"]) == picture(1)
    again = upload(client, picture(1))
    assert (again.status_code, again.json()["id"]) == (200, answer.json()["id"])


def test_files_that_all_have_one_name_are_told_apart(client):
    for number in range(3):
        sent(client, number)
    upload(client, picture(3), name="mug.png")

    names = list(Original.objects.order_by("pk").values_list("name", flat=True))
    assert len(set(names)) == 4
    assert all(name.startswith("upload-") and name.endswith(".png") for name in names[:3])
    assert names[3] == "mug.png"


@pytest.mark.parametrize(
    ("data", "refused"),
    [
        (b"\0" * (20 * 2**20 + 1), (413, "FILE_TOO_LARGE")),
        (b"%PDF-1.7 ", (415, "FORMAT_UNSUPPORTED")),
        (b"", (422, "FILE_EMPTY")),
    ],
    ids=["large", "pdf", "empty"],
)
def test_what_is_no_image_is_refused(client, data, refused):
    assert refusal(upload(client, data)) == refused


# --- One picture ----------------------------------------------------------------------


def test_a_tool_is_called_with_the_very_address_of_an_upload(client, alice, working):
    answer = post(client, "upscale", image_url=sent(client), scale=2, model="topaz", face=True)

    item = Item.objects.get()
    assert answer.status_code == 200
    assert answer.json() == {
        "id": str(item.uid),
        "image_url": answer.json()["image_url"],
        "credits_used": 1,
        "model": "fast",
        "scale": 2,
        "ignored": ["face"],
    }
    made = Image.open(io.BytesIO(fetched(answer.json()["image_url"])))
    assert made.size == (128, 96)
    assert (answer["X-Credits-Charged"], answer["X-Credits-Remaining"]) == ("1", "99")
    assert ledger.balance(alice) == (99, 0)
    assert item.name.startswith("upload-")


def test_what_came_out_goes_into_the_next_tool(client, working):
    first = post(client, "upscale", image_url=sent(client))

    second = post(client, "upscale", image_url=first.json()["image_url"])

    assert (first.status_code, second.status_code) == (200, 200)
    made = Item.objects.get(uid=second.json()["id"]).original
    assert made.sha256 == Result.objects.get(item__uid=first.json()["id"]).sha256


def test_a_mask_may_be_an_upload_too(client, working):
    address = upload(client, mask((20, 10, 40, 30))).json()["url"]

    answer = post(
        client, "object-removal", image_url=sent(client), mask_url=address, model="patchmatch"
    )

    assert (answer.status_code, answer.json()["credits_used"]) == (200, 3)


def test_an_image_that_fails_costs_nothing(client, alice, working):
    address = upload(client, mask((0, 0, 0, 0))).json()["url"]

    answer = post(client, "object-removal", image_url=sent(client), mask_url=address)

    assert refusal(answer) == (422, "MASK_EMPTY")
    assert "white" in answer.json()["error"]
    assert answer["X-Credits-Charged"] == "0"
    assert ledger.balance(alice) == (100, 0)


def test_a_call_whose_answer_was_lost_is_paid_for_once(client, alice, working, monkeypatch):
    body = {"image_url": sent(client)}

    def call():
        headers = {"HTTP_IDEMPOTENCY_KEY": "k"}
        return client.post(f"{DOORS}/upscale", body, format="json", **headers)

    def away(*_args, **_kwargs):
        raise OperationalError("the database is away")

    with monkeypatch.context() as broken:
        broken.setattr(waiting, "until_ended", away)
        assert call().status_code == 503

    answer = call()

    item = Item.objects.get()
    assert (answer.status_code, answer.json()["id"]) == (200, str(item.uid))
    assert ledger.balance(alice) == (100 - item.price, 0)


def test_a_job_whose_answer_was_lost_is_made_once(client, alice, monkeypatch):
    body = {"images": [{"image_url": sent(client)}]}

    def call():
        headers = {"HTTP_IDEMPOTENCY_KEY": "k"}
        return client.post(f"{DOORS}/batch/upscale", body, format="json", **headers)

    def away(*_args, **_kwargs):
        raise OperationalError("the database is away")

    with monkeypatch.context() as broken:
        broken.setattr(progress, "of", away)
        assert call().status_code == 503

    assert call().json()["job_id"] == str(Batch.objects.get().uid)


def test_a_call_that_was_given_up_runs_anew_under_its_key(client, alice, monkeypatch):
    body = {"image_url": sent(client)}

    answers = [
        client.post(f"{DOORS}/upscale", body, format="json", HTTP_IDEMPOTENCY_KEY="k")
        for _try in range(2)
    ]

    assert [refusal(answer) for answer in answers] == [(503, "TIMED_OUT")] * 2
    assert Item.objects.count() == 2
    assert ledger.balance(alice) == (100, 0)


def test_an_image_that_takes_too_long_is_cancelled(client, alice):
    answer = post(client, "upscale", image_url=sent(client))

    assert refusal(answer) == (503, "TIMED_OUT")
    assert answer["Retry-After"]
    assert Batch.objects.get().state == BatchState.CANCELLED
    assert ledger.balance(alice) == (100, 0)


def test_beyond_the_bound_of_waits_nothing_begins(client, alice, monkeypatch):
    monkeypatch.setattr(waiting, "_places", waiting.BoundedSemaphore(1))
    address = sent(client)
    with waiting.place():
        answer = post(client, "upscale", image_url=address)

    assert refusal(answer) == (429, "RATE_LIMITED")
    assert answer["Retry-After"] == "5"
    assert not Batch.objects.exists()


def test_a_call_that_is_sent_twice_runs_once(client, working):
    body = {"image_url": sent(client)}

    answers = [
        client.post(f"{DOORS}/upscale", body, format="json", HTTP_IDEMPOTENCY_KEY="k")
        for _try in range(2)
    ]

    assert answers[0].json() == answers[1].json()
    assert answers[1]["Idempotent-Replayed"] == "true"
    assert Item.objects.count() == 1
    other = client.post(f"{DOORS}/upscale", {}, format="json", HTTP_IDEMPOTENCY_KEY="k")
    assert refusal(other) == (422, "IDEMPOTENCY_MISMATCH")


def test_without_credits_nothing_begins(alice, settings):
    settings.WELCOME_CREDITS = 0
    client = clients.with_key(alice)

    answer = post(client, "upscale", image_url=sent(client))

    assert refusal(answer) == (402, "INSUFFICIENT_CREDITS")
    assert not Batch.objects.exists()


@pytest.mark.parametrize(
    ("door", "body", "refused", "said"),
    [
        ("upscale", {}, "VALIDATION_FAILED", "image_url"),
        ("upscale", {"image_url": "http://127.0.0.1/x.png"}, "SOURCE_NOT_ALLOWED", "image_url"),
        ("upscale", {"image_url": OUTSIDE, "scale": "big"}, "VALIDATION_FAILED", "scale"),
        ("replace-bg", {"image_url": OUTSIDE}, "VALIDATION_FAILED", "prompt"),
        ("object-removal", {"image_url": OUTSIDE}, "VALIDATION_FAILED", "mask_url"),
        (
            "object-removal",
            {"image_url": OUTSIDE, "mask_url": "ftp://x"},
            "VALIDATION_FAILED",
            "mask_url",
        ),
        (
            "image-to-image",
            {"image_url": OUTSIDE, "prompt": "a hat", "model": "provider"},
            "TOOL_UNAVAILABLE",
            "STUDIO_PROVIDER",
        ),
    ],
    ids=["no-image", "private", "setting", "no-prompt", "no-mask", "mask", "no-engine"],
)
def test_what_is_wrong_is_said_in_the_callers_words(client, alice, door, body, refused, said):
    answer = post(client, door, **body)

    assert refusal(answer) == (422, refused)
    assert said in answer.json()["error"]
    assert not Batch.objects.exists()
    assert ledger.balance(alice) == (100, 0)


def test_what_is_no_json_object_is_refused(client):
    answer = client.post(f"{DOORS}/upscale", [1], format="json")

    assert refusal(answer) == (422, "VALIDATION_FAILED")


def test_a_door_that_is_not_there_says_which_there_are(client):
    answer = client.post(f"{DOORS}/virtual-try-on", {}, format="json")

    assert refusal(answer) == (404, "NOT_FOUND")
    assert "virtual-try-on" in answer.json()["error"]
    assert "remove-bg" in answer.json()["error"]
    assert refusal(client.get(f"{DOORS}/upscale")) == (405, "METHOD_NOT_ALLOWED")


# --- Which model runs -----------------------------------------------------------------


def chosen(door: str, **body):
    return table.read(table.DOORS[door], body).settings


@pytest.fixture
def configure(settings, monkeypatch):
    """Services that the operator has set up; the engines forget them after the test."""
    for engine in (provider, vision_language):
        monkeypatch.setattr(engine, "_configuration", engine._configuration)

    def change(name: str) -> None:
        known = {**getattr(settings, name), "url": "http://127.0.0.1:1/v1", "model": "x"}
        setattr(settings, name, known)
        outside.configure()

    return change


def test_their_models_are_our_nearest_that_can_run(settings, configure):
    assert chosen("upscale", model="esrgan")["model"] == "fast"
    settings.ENGINE_QUEUES = ["gpu", "cpu"]
    assert chosen("upscale", model="esrgan")["model"] == "quality"
    assert chosen("alt-text", model="gemini-flash")["model"] == "basic"
    configure("VLM")
    assert chosen("alt-text", model="gemini-flash")["model"] == "vlm"
    assert chosen("remove-bg", model="bria")["model"] == "u2net"
    assert chosen("remove-bg", model="u2netp")["model"] == "u2netp"
    assert "model" not in chosen("remove-bg", model="tomorrows-model")


def test_words_paint_where_somebody_paints(configure):
    asked = {"prompt": "a beach", "ref_image_url": "https://a.io/sand.png"}
    assert chosen("replace-bg", prompt="a beach") == {"prompt": "a beach", "model": "composed"}
    assert chosen("replace-bg", **asked) == {
        "background": "https://a.io/sand.png",
        "model": "composed",
    }
    configure("PROVIDER")

    assert chosen("replace-bg", **asked) == {
        "prompt": "a beach",
        "background": "https://a.io/sand.png",
        "model": "provider",
    }


@pytest.mark.parametrize(("scale", "ours"), [(1, 2), (3, 3), (10, 4), ("4", 4), ("x", "x")])
def test_scales_mean_the_nearest_of_ours(scale, ours):
    assert chosen("upscale", scale=scale)["scale"] == ours


# --- Whose addresses ------------------------------------------------------------------


@pytest.fixture
def result(alice) -> Result:
    return bare_result(bare_item(bare_batch(alice, state="finished"), state=ItemState.DONE))


def addresses_of(original: Original, result: Result) -> list[str]:
    return [
        links.upload_link(original),
        f"http://testserver/api/v1/uploads/{original.uid}/file",
        links.result_link(result),
        f"http://testserver/api/v1/items/{result.item.uid}/result",
        f"http://testserver/items/{result.item.uid}/result/?position=0",
    ]


def test_all_addresses_of_ones_own_are_known_again(alice, client, result):
    sent(client, 7)
    addresses = addresses_of(Original.objects.get(), result)

    found = own_addresses.pictures(alice, addresses, host="testserver")

    digests = [found[address].sha256 for address in addresses]
    assert (
        digests
        == [Original.objects.get(pk=found[addresses[0]].pk).sha256] * 2 + [result.sha256] * 3
    )
    assert Original.objects.count() == 2
    assert own_addresses.pictures(alice, [OUTSIDE, "http://[x/", ""], host="testserver") == {}


def test_somebody_elses_are_not_found(alice, client, bob, result):
    sent(client, 7)
    give(bob, 10)
    theirs = clients.with_key(bob)

    for address in addresses_of(Original.objects.get(), result):
        assert refusal(post(theirs, "upscale", image_url=address)) == (404, "SOURCE_MISSING")
    masked = post(theirs, "object-removal", image_url=OUTSIDE, mask_url=links.result_link(result))
    assert refusal(masked) == (404, "SOURCE_MISSING")
    assert not Batch.objects.filter(owner=bob).exists()


def test_a_link_that_was_taken_back_is_not_found(client, alice, result):
    link = links.result_link(result)
    links.revoke(result.item.batch)

    assert refusal(post(client, "upscale", image_url=link)) == (404, "SOURCE_MISSING")
    assert refusal(post(client, "upscale", image_url=f"{link}x")) == (404, "SOURCE_MISSING")


def test_a_result_that_is_too_large_to_be_worked_on_is_refused(client, result):
    Result.objects.update(bytes=21 * 2**20)

    answer = post(client, "upscale", image_url=links.result_link(result))

    assert refusal(answer) == (413, "FILE_TOO_LARGE")


# --- Many pictures --------------------------------------------------------------------


def test_a_batch_is_made_asked_about_and_read(client, rings_at_once, run_jobs):
    images = [
        {"id": "a", "image_url": sent(client, 1)},
        {"id": 7, "image_url": "http://127.0.0.1/private.png"},
        {"image_url": links.upload_link(Original())},
    ]

    made = post(client, "batch/upscale", images=images, model="esrgan", scale=2)

    job = Batch.objects.get()
    assert (made.status_code, made.json()) == (
        200,
        {
            "id": str(job.uid),
            "job_id": str(job.uid),
            "status": "queued",
            "total": 3,
            "estimated_credits": 2,
            "poll_url": f"http://testserver{DOORS}/batch/status/{job.uid}",
            "model": "fast",
            "scale": 2,
        },
    )
    waiting_ = client.get(made.json()["poll_url"]).json()
    assert (waiting_["status"], waiting_["pending"], waiting_["credits_used"]) == (
        "processing",
        1,
        0,
    )
    run_jobs()
    ended = client.get(made.json()["poll_url"]).json()
    image_url = ended["results"][0]["image_url"]
    assert ended == {
        "id": str(job.uid),
        "job_id": str(job.uid),
        "status": "completed",
        "total": 3,
        "completed": 1,
        "failed": 2,
        "pending": 0,
        "progress": 100,
        "credits_used": 1,
        "credits_remaining": 99,
        "results": [
            {"id": "a", "status": "completed", "image_url": image_url},
            {
                "id": "7",
                "status": "failed",
                "error": ended["results"][1]["error"],
                "code": "SOURCE_NOT_ALLOWED",
            },
            {
                "id": "3",
                "status": "failed",
                "error": ended["results"][2]["error"],
                "code": "SOURCE_MISSING",
            },
        ],
    }
    assert Image.open(io.BytesIO(fetched(image_url))).size == (128, 96)


def test_a_batch_of_texts_tells_them_with_their_pictures(client, alice):
    sent(client)
    batch = bare_batch(alice, state=BatchState.FINISHED)
    item = bare_item(batch, state=ItemState.DONE, external_id="x", original=Original.objects.get())
    Result.objects.create(item=item, format="txt", text="A mug.", bytes=6, sha256="0" * 64)

    (told,) = client.get(f"{DOORS}/batch/status/{batch.uid}").json()["results"]

    assert (told["id"], told["alt_text"]) == ("x", "A mug.")
    assert fetched(told["image_url"]) == picture()


def test_a_batch_of_nothing_that_works_has_failed(client, run_jobs):
    made = post(client, "batch/remove-bg", images=[{"image_url": "ftp://x/y.png"}])
    run_jobs()

    told = client.get(made.json()["poll_url"]).json()
    assert (told["status"], told["failed"], told["credits_used"]) == ("failed", 1, 0)


def test_more_images_than_the_plan_takes_are_refused(client, alice):
    alice.batch_images = 2
    alice.save()

    answer = post(client, "batch/alt-text", images=[{"image_url": OUTSIDE}] * 3)

    assert refusal(answer) == (403, "BATCH_LIMIT_EXCEEDED")
    for images in ([], "x", [{"id": "a"}], None):
        assert refusal(post(client, "batch/alt-text", images=images)) == (422, "VALIDATION_FAILED")
    assert not Batch.objects.exists()


def test_asking_about_a_job_costs_the_same_for_five_images_and_for_fifty(
    client, alice, django_assert_max_num_queries
):
    for count in (5, 50):
        batch = done_batch(alice, count)
        with django_assert_max_num_queries(8):
            told = client.get(f"{DOORS}/batch/status/{batch.uid}").json()
        assert len(told["results"]) == count


def test_a_job_that_was_cancelled_tells_what_was_done(client, alice, run_jobs):
    made = post(client, "batch/upscale", images=[{"image_url": sent(client)}])
    lifecycle.cancel(Batch.objects.get())

    told = client.get(made.json()["poll_url"]).json()

    assert (told["status"], told["results"][0]["code"]) == ("failed", "CANCELLED")
