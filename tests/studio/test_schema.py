"""The OpenAPI document says what the API does."""

import io
import json

import pytest
from django.core.management import call_command
from django.urls import reverse

from batches import outbox
from batches.states import BatchState
from tests import clients, contract
from tests.factories import bare_batch, bare_item, give
from tests.studio.test_access import TABLE

pytestmark = pytest.mark.usefixtures("valkey")


@pytest.fixture
def document(api, db) -> dict:
    response = api.get("/api/v1/schema")
    assert response.status_code == 200
    return response.json()


def test_the_document_is_made_without_a_warning(capsys):
    out = io.StringIO()

    call_command("spectacular", "--fail-on-warn", "--validate", "--format=openapi-json", stdout=out)

    assert json.loads(out.getvalue())["openapi"].startswith("3.")


def test_every_route_is_in_the_document(document):
    described = {
        (path, method) for path, methods in document["paths"].items() for method in methods
    }

    expected = set()
    for (name, method), route in TABLE.items():
        if name == "schema" or name.startswith("zapier:"):  # those are described elsewhere
            continue
        args = {"": [], "tool": ["SLUG"]}.get(route.of, ["00000000-0000-0000-0000-000000000000"])
        path = reverse(f"api:{name}", args=args)
        path = path.replace("SLUG", "{slug}").replace(str(args[0]) if args else "\0", "{uid}")
        expected.add((path, method))
    assert described == expected


def operations(document: dict) -> dict[str, dict]:
    """Every operation by its id."""
    return {
        operation["operationId"]: operation
        for methods in document["paths"].values()
        for operation in methods.values()
    }


def test_every_operation_says_what_it_may_refuse(document):
    by_status = {
        name: set(map(int, operation["responses"]))
        for name, operation in operations(document).items()
    }

    read = {401, 403, 404, 429, 503}
    write = read | {400, 409, 413, 415, 422}
    assert by_status["tools_list"] == {200, 401, 429, 503}
    assert by_status["batches_read"] == {200, 304} | read
    assert by_status["batches_results"] == {200, 206, 416} | read
    assert by_status["batches_list"] == {200, 422} | read
    assert by_status["batches_create"] == {201, 402} | write - {404}
    assert by_status["batches_start"] == {200, 402} | write
    assert by_status["batches_pause"] == {200} | write
    assert by_status["webhooks_delete"] == {204} | read
    assert by_status["uploads_create"] == {200, 201} | write - {404}


def test_refusals_name_their_codes(document):
    refused = operations(document)["batches_create"]["responses"]

    assert (
        "`api_not_enabled`, `batch_limit_exceeded`, `permission_denied`, `scope_missing`"
        in (refused["403"]["description"])
    )
    assert "`idempotency_in_flight`" in refused["409"]["description"]
    assert "`state_conflict`" not in refused["409"]["description"]
    figures = shape_of(document, "PaymentRequiredProblem")
    assert {"required", "available"} < set(figures)
    assert figures["code"]["enum"] == ["insufficient_credits"]


def test_the_headers_of_answers_are_described(document):
    created = operations(document)["batches_create"]["responses"]
    read = operations(document)["batches_read"]["responses"]

    limits = {"X-Request-Id", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"}
    charged = {"X-Credits-Charged", "X-Credits-Remaining"}
    assert set(created["201"]["headers"]) == limits | charged | {"Idempotent-Replayed"}
    assert set(created["429"]["headers"]) == limits | charged | {"Retry-After"}
    assert set(created["401"]["headers"]) == {"X-Request-Id", "WWW-Authenticate"}
    assert set(read["304"]["headers"]) == limits | {"ETag"}


def test_what_may_be_sent_twice_takes_a_key_and_nothing_else_does(document):
    with_key = {
        name
        for name, operation in operations(document).items()
        if any(told["name"] == "Idempotency-Key" for told in operation.get("parameters", ()))
    }

    posts = {
        methods["post"]["operationId"]
        for methods in document["paths"].values()
        if "post" in methods
    }
    assert with_key == posts


def test_open_routes_need_no_key_and_all_others_name_their_scope(document):
    for name, operation in operations(document).items():
        if name in {"tools_list", "tools_read"}:
            assert "security" not in operation
            assert "Open to everybody" in operation["description"]
        else:
            assert operation["security"] == [{"apiKey": []}, {"cookieAuth": []}]
            assert "needs the scope `" in operation["description"]


def test_examples_are_as_the_schemas_beside_them_say(document):
    shown = [
        (content["example"], content["schema"])
        for operation in operations(document).values()
        for told in (operation.get("requestBody", {}), *operation["responses"].values())
        for content in told.get("content", {}).values()
        if "example" in content
    ]

    assert len(shown) > 15
    for example, schema in shown:
        contract.validate(example, schema)


def test_what_webhooks_send_is_described(document):
    assert set(document["webhooks"]) == {*outbox.EVENTS, outbox.PING}


def test_a_client_would_notice_a_time_without_its_zone(document):
    with pytest.raises(AssertionError, match="date-time"):
        contract.validate("2026-01-31T12:00:00+00:00", {"type": "string", "format": "date-time"})


def test_keys_and_sessions_are_both_described(document):
    assert set(document["components"]["securitySchemes"]) == {"apiKey", "cookieAuth"}
    assert document["components"]["securitySchemes"]["apiKey"]["scheme"] == "bearer"


def shape_of(document: dict, name: str) -> dict:
    return document["components"]["schemas"][name]["properties"]


def test_a_batch_and_an_item_have_exactly_the_described_fields(document, alice):
    client = clients.with_key(alice)
    batch = bare_batch(alice, state=BatchState.RUNNING)
    bare_item(batch)

    read = client.get(f"/api/v1/batches/{batch.uid}").json()
    item = client.get(f"/api/v1/batches/{batch.uid}/items").json()["results"][0]

    assert set(read) == set(shape_of(document, "Batch"))
    assert set(read["counts"]) == set(shape_of(document, "Counts"))
    assert set(read["credits"]) == set(shape_of(document, "Spending"))
    assert set(read["links"]) == set(shape_of(document, "Links"))
    assert set(item) == set(shape_of(document, "Item"))


def test_a_problem_has_exactly_the_described_fields(document, alice):
    problem = clients.with_key(alice).post("/api/v1/batches", {}, format="json").json()

    assert set(problem) == set(shape_of(document, "Problem"))
    described = shape_of(document, "ProblemError")
    assert set(problem["errors"][0]) == set(described)


@pytest.mark.usefixtures("fake_tool")
def test_a_request_that_the_document_describes_is_taken(document, alice):
    give(alice, 10)
    described = shape_of(document, "NewBatchRequest")
    body = {
        "tool": "fake",
        "settings": {},
        "images": [{"id": "a", "url": "https://a.io/x.png", "name": "x", "settings": {}}],
        "name": "x",
        "sample": 1,
        "max_credits": 9,
        "start": True,
        "on_invalid": "fail",
        "reuse": False,
        "name_pattern": "{name}.{ext}",
        "deliver": [{"to": "zip"}],
        "webhook_url": "https://a.io/hook",
    }

    response = clients.with_key(alice).post("/api/v1/batches", body, format="json")

    assert response.status_code == 201
    assert set(described) == set(body)
    assert set(body["images"][0]) | {"upload"} == set(shape_of(document, "ImageRequest"))
