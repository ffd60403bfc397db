"""The OpenAPI document says what the API does."""

import io
import json

import pytest
from django.core.management import call_command
from django.urls import reverse

from batches.states import BatchState
from tests import clients
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
        if name == "schema":
            continue
        args = {"": [], "tool": ["SLUG"]}.get(route.of, ["00000000-0000-0000-0000-000000000000"])
        path = reverse(f"api:{name}", args=args)
        path = path.replace("SLUG", "{slug}").replace(str(args[0]) if args else "\0", "{uid}")
        expected.add((path, method))
    assert described == expected


def test_every_operation_may_answer_with_a_problem(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            content = operation["responses"]["default"]["content"]
            assert "application/problem+json" in content, (path, method)


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
    described = shape_of(document, "Problem")["errors"]["items"]["properties"]
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
