"""`POST batches`: everything is judged before anything is stored or charged."""

import json
import uuid

import pytest

from accounts import plans
from batches import hosts
from batches.models import Batch, Item
from credits import ledger
from tests import clients
from tests.factories import give, make_original

pytestmark = pytest.mark.usefixtures("fake_tool", "valkey")

BATCHES = "/api/v1/batches"


@pytest.fixture
def alices(alice):
    give(alice, 100)
    return clients.with_key(alice)


@pytest.fixture
def original(alice):
    return make_original(alice, name="front.png")


def post(client, **body):
    return client.post(BATCHES, {"tool": "fake", **body}, format="json")


def nothing_happened(user, available: int = 125) -> bool:
    """No batch, no item, and the credits of the fixture are all there."""
    return (
        not Batch.objects.exists()
        and not Item.objects.exists()
        and ledger.balance(user) == (available, 0)
    )


def test_a_batch_starts_and_holds_its_price(alices, alice, original, valkey):
    hosts.say(valkey, queue="cpu", worker="a:1", about={"models": ["fake"]})
    response = post(
        alices,
        name="Autumn",
        settings={"style": "grey"},
        images=[{"id": "sku-1", "upload": str(original.uid)}, {"url": "https://a.io/b/shoe.jpg"}],
    )

    batch = Batch.objects.get()
    at = f"http://testserver{BATCHES}/{batch.uid}"
    assert response.status_code == 201
    assert response.json() == {
        "id": str(batch.uid),
        "name": "Autumn",
        "tool": "fake",
        "settings": {
            "style": "grey",
            "strength": 1.0,
            "mirrored": False,
            "copies": 1,
            "trouble": "none",
            "format": "png",
            "quality": None,
        },
        "notice": None,
        "status": "running",
        "total": 2,
        "counts": {
            "waiting": 2,
            "processing": 0,
            "done": 0,
            "needs_review": 0,
            "failed": 0,
            "cancelled": 0,
        },
        "progress": 0,
        "eta_seconds": None,
        "credits": {"quoted": 4, "held": 4, "used": 0, "released": 0, "cap": None},
        "created_at": f"{batch.created_at:%Y-%m-%dT%H:%M:%S.%fZ}",
        "started_at": f"{batch.started_at:%Y-%m-%dT%H:%M:%S.%fZ}",
        "finished_at": None,
        "links": {
            "self": at,
            "items": f"{at}/items",
            "results": f"{at}/results.zip",
            "page": f"http://testserver/batches/{batch.uid}/",
        },
    }
    assert ledger.balance(alice) == (121, 4)
    assert (response["X-Credits-Charged"], response["X-Credits-Remaining"]) == ("0", "121")
    assert [item.external_id for item in batch.items.order_by("position")] == ["sku-1", ""]


def test_start_false_leaves_a_quoted_batch_that_is_ready(alices, alice, original):
    response = post(alices, images=[{"upload": str(original.uid)}], start=False)

    assert response.status_code == 201
    assert response.json()["status"] == "ready"
    assert response.json()["credits"]["quoted"] == 2
    assert response.json()["started_at"] is None
    assert ledger.balance(alice) == (125, 0)


def test_a_sample_holds_only_its_own_images(alices, alice):
    images = [{"upload": str(make_original(alice, n).uid)} for n in range(4)]

    response = post(alices, images=images, sample=3)

    assert response.json()["credits"] == {
        "quoted": 8,
        "held": 6,
        "used": 0,
        "released": 0,
        "cap": None,
    }


def test_an_image_has_its_own_settings_on_top_of_the_batchs(alices, original):
    image = {"upload": str(original.uid), "name": "x.png", "settings": {"strength": 0.5}}

    post(alices, images=[image], settings={"style": "grey"})

    item = Item.objects.get()
    assert (item.settings["style"], item.settings["strength"]) == ("grey", 0.5)
    assert item.name == "x.png"


def test_two_images_of_one_name_are_numbered(alices, original):
    images = [{"upload": str(original.uid)}, {"upload": str(original.uid), "name": "FRONT.png"}]

    post(alices, images=images)

    names = Item.objects.order_by("position").values_list("name", flat=True)
    assert list(names) == ["front.png", "FRONT-2.png"]


def test_null_is_the_same_as_nothing(alices, original):
    nulls = {"settings": None, "name": None, "sample": None, "max_credits": None, "reuse": None}

    response = post(
        alices, images=[{"upload": str(original.uid), "url": None, "settings": None}], **nulls
    )

    assert response.status_code == 201


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        pytest.param({"tool": "fly"}, "/tool", "unknown_tool", id="unknown tool"),
        pytest.param({"tool": None}, "/tool", "required", id="no tool"),
        pytest.param({"images": []}, "/images", "empty", id="no images"),
        pytest.param({"images": None}, "/images", "required", id="images missing"),
        pytest.param({"images": "x"}, "/images", "not_a_list", id="images no list"),
        pytest.param({"name": "x" * 201}, "/name", "max_length", id="long name"),
        pytest.param({"sample": -1}, "/sample", "min_value", id="negative sample"),
        pytest.param({"sample": "two"}, "/sample", "invalid", id="sample in words"),
        pytest.param({"sample": 10**30}, "/sample", "max_value", id="endless sample"),
        pytest.param({"max_credits": -1}, "/max_credits", "min_value", id="negative cap"),
        pytest.param({"max_credits": 1}, "/max_credits", "cap_exceeded", id="cap below quote"),
        pytest.param({"start": "perhaps"}, "/start", "invalid", id="start in words"),
        pytest.param({"reuse": "perhaps"}, "/reuse", "invalid", id="reuse in words"),
        pytest.param({"on_invalid": "ask"}, "/on_invalid", "invalid_choice", id="on_invalid"),
        pytest.param({"settings": []}, "/settings", "not_a_dict", id="settings a list"),
        pytest.param({"settings": {"strength": 3}}, "/settings/strength", "max_value", id="limit"),
        pytest.param(
            {"settings": {"style": "loud"}}, "/settings/style", "invalid_choice", id="choice"
        ),
        pytest.param(
            {"settings": {"a/b~c": 1}}, "/settings/a~1b~0c", "unknown_setting", id="escaped"
        ),
        pytest.param(
            {"settings": {"mirrored": True, "strength": 0}},
            "/settings/mirrored",
            "invalid",
            id="two settings that contradict each other",
        ),
        pytest.param(
            {"webhook_url": "http://10.0.0.1/"}, "/webhook_url", "source_not_allowed", id="hook"
        ),
        pytest.param(
            {"deliver": [{"to": "moon"}]}, "/deliver/0/to", "invalid_choice", id="deliver"
        ),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_stored(alices, alice, original, body, pointer, code):
    response = post(alices, **{"images": [{"upload": str(original.uid)}], **body})

    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "validation_failed")
    assert [(wrong["pointer"], wrong["code"]) for wrong in problem["errors"]] == [(pointer, code)]
    assert problem["errors"][0]["detail"]
    assert nothing_happened(alice)


@pytest.mark.parametrize(
    ("image", "pointer", "code"),
    [
        pytest.param("x.png", "", "row_invalid", id="no object"),
        pytest.param({}, "", "row_invalid", id="neither address nor upload"),
        pytest.param(
            {"url": "https://a.io/x.png", "upload": str(uuid.uuid4())},
            "",
            "row_invalid",
            id="both",
        ),
        pytest.param({"url": 5.5}, "/url", "row_invalid", id="url a number"),
        pytest.param({"url": ["https://a.io/"]}, "/url", "row_invalid", id="url a list"),
        pytest.param({"url": "ftp://a.io/x.png"}, "/url", "source_not_allowed", id="ftp"),
        pytest.param({"url": "http://127.0.0.1/"}, "/url", "source_not_allowed", id="private"),
        pytest.param({"upload": "front"}, "/upload", "source_missing", id="no id"),
        pytest.param({"upload": str(uuid.uuid4())}, "/upload", "source_missing", id="unknown id"),
        pytest.param({"file": "x"}, "/file", "row_invalid", id="unknown field"),
        pytest.param({"id": "x" * 256, "url": "https://a.io/"}, "/id", "row_invalid", id="id"),
        pytest.param(
            {"url": "https://a.io/", "settings": {"strength": 2}},
            "/settings/strength",
            "settings_invalid",
            id="setting",
        ),
        pytest.param(
            {"url": "https://a.io/", "settings": {"trouble": "unavailable"}},
            "/settings",
            "tool_unavailable",
            id="a model that is not here",
        ),
    ],
)
class TestABadRow:
    """One image that can't be used."""

    def test_fails_the_request_with_a_pointer(self, alices, alice, original, image, pointer, code):
        good = {"upload": str(original.uid)}

        response = post(alices, images=[good, good, good, image])

        problem = response.json()
        assert (response.status_code, problem["code"]) == (422, "validation_failed")
        assert [(wrong["pointer"], wrong["code"]) for wrong in problem["errors"]] == [
            (f"/images/3{pointer}", code)
        ]
        assert nothing_happened(alice)

    def test_becomes_a_failed_item_at_no_cost_when_asked_for(
        self, alices, alice, original, image, pointer, code
    ):
        response = post(alices, images=[{"upload": str(original.uid)}, image], on_invalid="skip")

        assert response.status_code == 201
        assert response.json()["counts"]["failed"] == 1
        assert response.json()["credits"]["quoted"] == 2
        assert ledger.balance(alice) == (123, 2)
        items = alices.get(response.json()["links"]["items"]).json()["results"]
        assert items[1]["error"]["code"] == code
        assert "our side" not in items[1]["error"]["message"]


def test_a_batch_of_nothing_but_bad_rows_is_finished_at_once(alices):
    response = post(alices, images=[{"url": "ftp://a.io/"}], on_invalid="skip")

    assert (response.status_code, response.json()["status"]) == (201, "finished")


def test_all_bad_rows_are_named_at_once(alices):
    response = post(alices, images=[{"url": "ftp://a.io/"}, {"url": "https://a.io/"}, {}])

    pointers = [wrong["pointer"] for wrong in response.json()["errors"]]
    assert pointers == ["/images/0/url", "/images/2"]


def test_somebody_elses_upload_is_as_good_as_none(alices, bob):
    theirs = make_original(bob)

    response = post(alices, images=[{"upload": str(theirs.uid)}])

    assert response.json()["errors"][0]["code"] == "source_missing"


def test_more_images_than_the_plan_takes_are_refused_before_they_are_looked_at(alices, alice):
    most = plans.plan_for(alice).batch_images

    response = post(alices, tool="fly", images=["nonsense"] * (most + 1))

    assert (response.status_code, response.json()["code"]) == (403, "batch_limit_exceeded")
    assert nothing_happened(alice)


def test_as_many_images_as_the_plan_takes_are_taken(alices, alice):
    give(alice, 2000)
    most = plans.plan_for(alice).batch_images

    response = post(alices, images=[{"url": f"https://a.io/{n}.png"} for n in range(most)])

    assert (response.status_code, response.json()["total"]) == (201, most)


def test_too_few_credits_are_said_in_figures_and_nothing_is_stored(alices, alice):
    images = [{"url": f"https://a.io/{n}.png"} for n in range(63)]

    response = post(alices, images=images)

    problem = response.json()
    assert (response.status_code, problem["code"]) == (402, "insufficient_credits")
    assert (problem["required"], problem["available"]) == (126, 125)
    assert "126" in problem["detail"]
    assert (response["X-Credits-Charged"], response["X-Credits-Remaining"]) == ("0", "125")
    assert nothing_happened(alice)


def test_a_tool_that_cannot_run_is_refused(alices, alice, original):
    response = post(
        alices, images=[{"upload": str(original.uid)}], settings={"trouble": "unavailable"}
    )

    assert (response.status_code, response.json()["code"]) == (422, "tool_unavailable")
    assert nothing_happened(alice)


def test_a_transparent_jpg_is_refused(alices):
    response = post(
        alices,
        tool="remove-background",
        settings={"format": "jpg", "background": "transparent"},
        images=[{"url": "https://a.io/x.png"}],
    )

    assert (response.status_code, response.json()["code"]) == (422, "validation_failed")
    assert response.json()["errors"][0]["pointer"].startswith("/settings/")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"{", id="cut short"),
        pytest.param(b"[1,]", id="comma"),
        pytest.param(b'{"tool": NaN}', id="nan"),
        pytest.param(b'{"tool": "\xff"}', id="not utf-8"),
        pytest.param(b"[" * 600 + b'"\\u0000"' + b"]" * 600, id="deep, with NUL in it"),
        pytest.param(b"[" * 100_000, id="too deep"),
        pytest.param(b'{"sample": ' + b"1" * 5000 + b"}", id="endless number"),
    ],
)
def test_what_is_no_json_is_a_bad_request(alices, body):
    response = alices.generic("POST", BATCHES, body, content_type="application/json")

    assert (response.status_code, response.json()["code"]) == (400, "parse_error")
    assert response["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ('{"tool": "\\u0000"}', ["/tool"]),
        (
            '{"images": [{"id": "ok"}, {"id": "a\\ud800"}], "name": "\\u0000"}',
            ["/images/1/id", "/name"],
        ),
        ('{"settings": {"\\udfff": 1}}', ["/settings"]),
        ('"\\u0000"', [""]),
    ],
)
def test_json_with_a_text_that_is_none_is_told_where(alices, body, pointers):
    response = alices.generic("POST", BATCHES, body, content_type="application/json")

    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "validation_failed")
    assert [error["pointer"] for error in problem["errors"]] == pointers
    assert {error["code"] for error in problem["errors"]} == {"not_text"}


@pytest.mark.parametrize("row", [None, 7, "x", []])
def test_a_row_that_is_no_object_is_told_by_its_number(alices, row):
    images = [{"url": "https://a.io/x.png"}, row]

    response = alices.post(BATCHES, {"tool": "fake", "images": images}, format="json")

    assert response.status_code == 422
    assert [error["pointer"] for error in response.json()["errors"]] == ["/images/1"]


def test_a_list_is_no_batch(alices):
    response = alices.post(BATCHES, [1], format="json")

    assert response.json()["errors"][0]["pointer"] == ""


def test_a_character_beyond_the_basic_plane_is_text_like_any_other(alices, original):
    body = {"tool": "fake", "name": "\U0001f45f", "images": [{"upload": str(original.uid)}]}

    response = alices.generic(
        "POST", BATCHES, json.dumps(body), content_type="application/json"
    )  # written as two escaped halves

    assert response.json()["name"] == "\U0001f45f"


def test_a_form_is_no_json(alices):
    response = alices.post(BATCHES, {"tool": "fake"}, format="multipart")

    assert (response.status_code, response.json()["code"]) == (415, "format_unsupported")


def test_a_body_beyond_the_limit_is_refused_unread(alices, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000

    response = post(alices, name="x" * 1000)

    assert (response.status_code, response.json()["code"]) == (413, "file_too_large")


# --- Sent twice -----------------------------------------------------------------------


def test_a_batch_that_is_sent_twice_with_one_key_is_made_once(alices, alice, original):
    body = {"tool": "fake", "images": [{"upload": str(original.uid)}]}
    first = alices.post(BATCHES, body, format="json", HTTP_IDEMPOTENCY_KEY="autumn")
    give(alice, 1)

    again = alices.post(BATCHES, body, format="json", HTTP_IDEMPOTENCY_KEY="autumn")

    assert (again.status_code, again.content) == (201, first.content)
    assert again["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first
    assert again["X-Credits-Remaining"] == first["X-Credits-Remaining"] == "123"
    assert Batch.objects.count() == 1


def test_a_refusal_for_want_of_credits_is_replayed_too(alices, alice):
    body = {"tool": "fake", "images": [{"url": f"https://a.io/{n}.png"} for n in range(63)]}
    first = alices.post(BATCHES, body, format="json", HTTP_IDEMPOTENCY_KEY="autumn")
    give(alice, 100)

    again = alices.post(BATCHES, body, format="json", HTTP_IDEMPOTENCY_KEY="autumn")

    assert (again.status_code, again.content) == (402, first.content)
    assert again["Content-Type"] == "application/problem+json"


def test_another_body_with_the_same_key_is_refused(alices, original):
    body = {"tool": "fake", "images": [{"upload": str(original.uid)}]}
    alices.post(BATCHES, body, format="json", HTTP_IDEMPOTENCY_KEY="autumn")

    other = alices.post(
        BATCHES, {**body, "name": "Winter"}, format="json", HTTP_IDEMPOTENCY_KEY="autumn"
    )

    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    assert Batch.objects.count() == 1


@pytest.mark.parametrize(
    ("field", "value", "pointer"),
    [
        ("sample", "1", "/sample"),
        ("max_credits", True, "/max_credits"),
        ("name", 5, "/name"),
        ("start", "yes", "/start"),
        ("start", 1, "/start"),
        ("images", [{"url": "https://a.io/x.png", "id": 7}], "/images/0/id"),
        ("deliver", [{"to": "library", "tags": ["red", 5]}], "/deliver/0/tags/1"),
    ],
)
def test_a_value_of_another_type_is_refused_and_not_guessed_at(alices, field, value, pointer):
    body = {"tool": "fake", "images": [{"url": "https://a.io/x.png"}], field: value}

    response = alices.post("/api/v1/batches", body, format="json")

    assert response.status_code == 422
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]
