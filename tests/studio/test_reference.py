"""The reference page says what the OpenAPI document says, in either of its versions."""

import re

import pytest
from django.urls import reverse
from django.utils import translation

from accounts import authentication, idempotency
from batches import lifecycle
from credits.ledger import InsufficientCredits
from studio import problems
from studio.reference import page
from studio.reference.prose import prose
from studio.reference.reading import read
from studio.reference.refusals import REFUSALS
from studio.schema import openapi_document

REF = "#/components/schemas/"


def document(operation: dict, schemas: dict, *, path: str = "/api/v1/mugs/{uid}", **more) -> dict:
    whole = {"operationId": "mugs_do", "tags": ["mugs"], "responses": {}, **operation}
    method = whole.pop("method", "post")
    return {"paths": {path: {method: whole}}, "components": {"schemas": schemas}, **more}


def operation_of(operation: dict, schemas: dict | None = None, **more):
    [group] = read(document(operation, schemas or {}, **more), base="https://studio.test").groups
    return group.operations[0]


def body_of(schema: dict, schemas: dict | None = None):
    content = {"application/json": {"schema": schema}}
    return operation_of({"requestBody": {"content": content}}, schemas).bodies[0]


def field_of(schema: dict, schemas: dict | None = None):
    return body_of({"type": "object", "properties": {"it": schema}}, schemas).fields[0]


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, "string"),
        ({"type": "string", "format": "uuid"}, "uuid"),
        ({"type": "string", "format": "binary"}, "file"),
        ({"type": "string", "contentMediaType": "application/octet-stream"}, "file"),
        ({"type": ["integer", "null"]}, "integer"),
        ({"type": "array", "items": {"type": "integer"}}, "array of integer"),
        (
            {"oneOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
            "string or integer",
        ),
        ({}, "anything"),
    ],
)
def test_a_field_says_of_what_kind_it_is(schema, kind):
    assert field_of(schema).kind == kind


@pytest.mark.parametrize(
    ("schema", "facts"),
    [
        ({"type": "string", "nullable": True}, ("may be null",)),
        ({"type": ["string", "null"]}, ("may be null",)),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, ("may be null",)),
        ({"type": "string", "minLength": 1, "maxLength": 20}, ("at most 20 characters",)),
        ({"type": "integer", "minimum": 2, "maximum": 4}, ("2 to 4",)),
        ({"type": "integer", "minimum": 0, "maximum": 2**63 - 1}, ("0 or more",)),
        ({"type": "boolean", "default": False}, ("default: false",)),
        ({"type": "string", "default": "fail"}, ("default: fail",)),
    ],
)
def test_a_field_says_what_it_may_hold(schema, facts):
    assert field_of(schema).facts == facts


def test_choices_are_shown_once_wherever_the_document_keeps_them():
    field = field_of(
        {
            "allOf": [{"$ref": f"{REF}Colour"}],
            "description": "Of the `mug`.\n\n* `red` - Red\n* `blue` - Blue",
        },
        {"Colour": {"type": "string", "enum": ["red", "blue"], "description": "* `red` - Red"}},
    )

    assert field.choices == ("red", "blue")
    assert field.text == "<p>Of the <code>mug</code>.</p>"


def test_what_a_request_can_not_send_is_left_out_and_objects_are_folded_in():
    handle = {"type": "object", "required": ["side"], "properties": {"side": {"type": "string"}}}
    body = body_of(
        {"$ref": f"{REF}Mug"},
        {
            "Handle": handle,
            "Mug": {
                "type": "object",
                "required": ["handles"],
                "properties": {
                    "id": {"type": "string", "readOnly": True},
                    "handles": {"type": "array", "items": {"$ref": f"{REF}Handle"}},
                },
            },
        },
    )

    [field] = body.fields
    assert (field.name, field.required) == ("handles", True)
    assert [(inner.name, inner.required) for inner in field.fields] == [("side", True)]


def test_objects_in_a_circle_come_to_an_end():
    member = {"type": "object", "properties": {"inner": {"$ref": f"{REF}Folder"}}}

    field = field_of({"$ref": f"{REF}Folder"}, {"Folder": member})

    [inner] = field.fields
    assert (inner.name, inner.fields) == ("inner", ())


def answering(schema: dict, **media) -> dict:
    return {"responses": {"200": {"content": {"application/json": {"schema": schema, **media}}}}}


MUG = {"type": "object", "properties": {"name": {"type": "string"}, "litres": {"type": "number"}}}


def test_an_answer_leads_to_the_object_that_it_holds_and_shows_it():
    told = read(document(answering({"$ref": f"{REF}Mug"}), {"Mug": MUG}), base="")

    [answer] = told.groups[0].operations[0].answers
    assert (answer.phrase, answer.of, answer.paged) == ("OK", "Mug", False)
    assert answer.samples[0].code == '{\n  "name": "mug.jpg",\n  "litres": 1.0\n}'
    assert [shape.name for shape in told.shapes] == ["Mug"]


def test_a_page_of_a_list_leads_to_what_the_list_holds():
    paged = {
        "type": "object",
        "properties": {
            "next": {"type": "string"},
            "previous": {"type": "string"},
            "results": {"type": "array", "items": {"$ref": f"{REF}Mug"}},
        },
    }
    schemas = {"Mug": MUG, "Mugs": paged}

    [answer] = operation_of(answering({"$ref": f"{REF}Mugs"}), schemas).answers

    assert (answer.of, answer.paged) == ("Mug", True)


def test_examples_of_the_document_come_before_made_up_ones():
    given = {
        "made": {"summary": "A mug", "value": {"name": "blue"}},
        "none": {"value": {"name": ""}},
    }

    [answer] = operation_of(answering(MUG, examples=given)).answers

    assert [sample.title for sample in answer.samples] == ["A mug", "none"]
    assert answer.samples[0].code == '{\n  "name": "blue"\n}'


def test_refusals_are_told_by_their_codes_and_headers_once_for_all():
    problem = {"type": "object", "properties": {"code": {"type": "string", "enum": ["a", "b"]}}}
    one = {"type": "object", "properties": {"code": {"const": "c"}}}
    header = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    content = {"application/problem+json": {"schema": {"$ref": f"{REF}Problem"}}}
    responses = {
        "409": {"content": content, "headers": header},
        "429": {"content": {"application/problem+json": {"schema": one}}, "headers": header},
        "304": {"headers": header},
    }

    told = read(document({"responses": responses}, {"Problem": problem}), base="")

    [operation] = told.groups[0].operations
    assert [(it.status, it.codes) for it in operation.refusals] == [
        ("409", ("a", "b")),
        ("429", ("c",)),
    ]
    assert [(it.status, it.headers) for it in operation.answers] == [("304", ("Retry-After",))]
    assert [(it.name, it.kind) for it in told.headers] == [("Retry-After", "integer")]
    assert told.shapes == ()


def test_a_second_way_to_send_a_body_tells_only_what_is_different():
    form = {**MUG, "properties": {**MUG["properties"], "file": {"type": "string"}}}
    content = {"application/json": {"schema": MUG}, "multipart/form-data": {"schema": form}}

    bodies = operation_of({"requestBody": {"content": content}}).bodies

    assert [[it.name for it in body.fields] for body in bodies] == [["name", "litres"], ["file"]]


def test_the_call_has_what_it_needs_and_nothing_else():
    schema = {**MUG, "required": ["name"]}
    content = {"application/json": {"schema": schema}}
    header = {"in": "header", "name": "Idempotency-Key", "schema": {"type": "string"}}

    call = operation_of({"requestBody": {"content": content}, "parameters": [header]}).curl

    assert call == (
        'curl "https://studio.test/api/v1/mugs/$ID" \\\n'
        '  -H "Authorization: Bearer $KEY" \\\n'
        '  -H "Idempotency-Key: order-4711" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        """  -d '{"name": "mug.jpg"}'"""
    )


def test_a_file_goes_in_by_a_form_and_comes_out_into_a_file():
    form = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
    sent = operation_of({"requestBody": {"content": {"multipart/form-data": {"schema": form}}}})
    got = operation_of(
        {"method": "get", "responses": {"200": {"content": {"application/zip": {}}}}},
        path="/api/v1/mugs/{uid}/results.zip",
    )

    assert sent.curl.endswith("-F file=@mug.jpg")
    assert got.curl.startswith(
        'curl -o results.zip "https://studio.test/api/v1/mugs/$ID/results.zip"'
    )


def test_scopes_follow_the_method_and_open_doors_need_none():
    assert operation_of({"method": "get"}).scope == "read"
    assert operation_of({"method": "delete"}).scope == "run"
    door = operation_of({"method": "get", "security": []})
    assert door.scope == ""
    assert "Authorization" not in door.curl


def test_messages_of_the_site_are_told_with_an_example():
    content = {"application/json": {"schema": MUG, "example": {"name": "red"}}}
    post = {"summary": "A mug is done.", "requestBody": {"content": content}}

    told = read(document({}, {}, webhooks={"mug.done": {"post": post}}), base="")

    [message] = told.messages
    assert (message.name, message.text) == ("mug.done", "<p>A mug is done.</p>")
    assert message.sample == '{\n  "name": "red"\n}'


def test_descriptions_become_paragraphs_lists_and_code_and_nothing_else():
    assert prose("One `<b>`\nline.\n\nTwo.\n\n* `a` - **x**\n* b & c") == (
        "<p>One <code>&lt;b&gt;</code> line.</p><p>Two.</p>"
        "<ul><li><code>a</code> - <strong>x</strong></li><li>b &amp; c</li></ul>"
    )


def codes_of_problems() -> set[str]:
    refusals = [
        lifecycle.StateConflict,
        lifecycle.BatchTooLarge,
        lifecycle.ToolUnavailable,
        InsufficientCredits,
    ]
    errors = [
        authentication.ScopeMissing,
        idempotency.IdempotencyMismatch,
        idempotency.IdempotencyInFlight,
    ]
    return {
        *problems._CODES.values(),
        *(str(kind.code) for kind in refusals),
        *(kind.default_code for kind in errors),
    }


def test_every_code_of_a_refusal_is_explained_once():
    told = [refusal.code for refusal in REFUSALS]

    assert codes_of_problems() <= set(told)
    assert len(told) == len(set(told))


def test_the_page_shows_every_operation_and_all_its_anchors_lead_somewhere(client, db, settings):
    settings.SITE_URL = "https://studio.example.com"
    page.rendered.cache_clear()

    html = client.get(reverse("reference")).content.decode()

    page.rendered.cache_clear()
    given = re.findall(r'\bid="([^"]+)"', html)
    ids = set(given)
    assert len(ids) == len(given)
    for path, methods in openapi_document()["paths"].items():
        for method, operation in methods.items():
            assert operation["operationId"] in ids, (method, path)
    assert set(re.findall(r'href="#([^"]+)"', html)) <= ids
    assert set(re.findall(r'data-copy="([^"]+)"', html)) <= ids
    assert 'curl "https://studio.example.com/api/v1/' in html.replace("&quot;", '"')
    assert len(html) < 400_000, "it has to be read on phones, too"


def test_the_page_is_made_once_for_each_language(db):
    with translation.override("en"):
        assert page.rendered("en") is page.rendered("en")
