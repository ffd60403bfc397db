"""How the OpenAPI document tells of an operation: what it takes, and all that it may answer.

Most of that follows from what a view is: who may use it, whether its POST may be sent twice,
whether it charges. So it is told here, once, and a new view gets it by itself. A view that
refuses for reasons of its own names their codes in `may_refuse`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import is_serializer
from rest_framework.fields import ListField
from rest_framework.permissions import SAFE_METHODS, AllowAny

Schema = dict[str, Any]

EXAMPLES = Path(__file__).with_name("api_examples.json")
"""Recorded by `tests/batches/test_api_examples.py`, which notices when they get old."""

OPERATION_WORDS = {"me": "account", "credits": "account"}
"""Tags of operations that are not called as the first part of their address."""

TEXT: Schema = {"type": "string"}
FIGURE: Schema = {"type": "integer", "minimum": 0}

IDEMPOTENCY_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": (
        "The same key with the same request gets the first answer again, for 24 hours; nothing is "
        "done twice. With another request it is refused (422), and while the first one runs (409)."
    ),
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": 255,
        "pattern": "^[!-~]([ -~]*[!-~])?$",
    },
}

HEADERS: Mapping[str, Schema] = {
    "X-Request-Id": {
        "description": "The id of this request, for questions; yours, if you sent one.",
        "required": True,
        "schema": TEXT,
    },
    "RateLimit-Limit": {
        "description": "Requests of this kind (reads, or writes) that an hour has.",
        "schema": FIGURE,
    },
    "RateLimit-Remaining": {"description": "How many of them are left.", "schema": FIGURE},
    "RateLimit-Reset": {"description": "Seconds until the next hour begins.", "schema": FIGURE},
    "Retry-After": {
        "description": "Seconds after which to ask again.",
        "required": True,
        "schema": FIGURE,
    },
    "WWW-Authenticate": {"description": "How to sign in.", "required": True, "schema": TEXT},
    "Idempotent-Replayed": {
        "description": "There where this is the answer to an earlier request with the same key.",
        "schema": {"type": "string", "const": "true"},
    },
    "X-Credits-Charged": {
        "description": "Credits that this request took at once; batches pay image by image.",
        "schema": FIGURE,
    },
    "X-Credits-Remaining": {"description": "Credits that can be spent now.", "schema": FIGURE},
}
"""The headers that more than one operation answers with."""

RATE_LIMITS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
CREDITS = ("X-Credits-Charged", "X-Credits-Remaining")


class Operation(AutoSchema):
    """One method of one view, in the words of OpenAPI."""

    def get_operation(self, *args: Any, **kwargs: Any) -> Schema | None:
        """The operation with its refusals, its headers and the key that makes it safe to repeat."""
        operation: Schema | None = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        if self._is_idempotent():
            operation.setdefault("parameters", []).append(IDEMPOTENCY_KEY)
        responses = operation["responses"]
        for status, codes in sorted(self._refusals().items()):
            responses[str(status)] = problem_response(status, codes)
        for status, response in responses.items():
            if "content" not in response or not response["description"]:
                response["description"] = _MEANINGS[status]
            named = {name: {"$ref": f"#/components/headers/{name}"} for name in self._named(status)}
            response["headers"] = {**response.get("headers", {}), **named}
        operation["responses"] = dict(sorted(responses.items()))
        return operation

    def get_summary(self) -> str | None:
        """The first sentence of what a method says of itself."""
        return super().get_summary() or self._said()[0]

    def get_description(self) -> str:  # type: ignore[override]  # as drf-spectacular has it
        """What else a method says of itself, and what a key needs for it."""
        needed = f"A key needs the scope `{'read' if self._is_safe() else 'run'}`."
        return "\n\n".join(
            part
            for part in (self._said()[1], "Open to everybody." if self._is_open() else needed)
            if part
        )

    def get_tags(self) -> list[str]:
        """What it is about: the first part of its address."""
        first = str(super().get_tags()[0])
        return [OPERATION_WORDS.get(first, first)]

    def get_auth(self) -> list[Schema]:
        """Nothing where everybody may ask; a key would change nothing."""
        return [] if self._is_open() else super().get_auth()

    def _map_basic_serializer(self, serializer: Any, direction: str) -> Schema:
        """Answers hold all that they may hold: what is not there is null."""
        schema: Schema = super()._map_basic_serializer(serializer, direction)
        if direction == "request" and _is_strict(serializer):
            schema["additionalProperties"] = False
        if direction == "response":
            for told in schema.get("properties", {}).values():
                told.pop("readOnly", None)
            if schema.get("properties"):
                schema["required"] = sorted(schema["properties"])
        return schema

    def _insert_field_validators(self, field: Any, schema: Schema) -> None:
        """A list that must hold something says so."""
        super()._insert_field_validators(field, schema)
        if isinstance(field, ListField) and not field.allow_empty:
            schema["minItems"] = 1

    # --- What the view is ---

    def _is_open(self) -> bool:
        return AllowAny in self.view.permission_classes

    def _is_safe(self) -> bool:
        return self.method in SAFE_METHODS

    def _is_idempotent(self) -> bool:
        return hasattr(getattr(self.view, self.method.lower(), None), "idempotent")

    def _charges(self) -> bool:
        return self.method == "POST" and getattr(self.view, "may_charge", False)

    def _reads_query(self) -> bool:
        """Whether what stands behind the question mark is validated."""
        return any(is_serializer(told) for told in self.get_override_parameters())

    def _said(self) -> tuple[str, str]:
        summary, _blank, rest = super().get_description().partition("\n\n")
        first, dot, more = " ".join(summary.split()).partition(". ")
        return first + dot.strip(), "\n\n".join(part for part in (more, rest) if part)

    def _codes(self) -> Iterator[str]:
        """The stable codes of all that may go wrong."""
        yield from ("not_authenticated", "rate_limited", "unavailable")
        if not self._is_open():
            yield from ("api_not_enabled", "scope_missing")
        is_a_page = self._is_safe() and self._get_paginator()
        if "{" in self.path or is_a_page:
            yield "not_found"
        if is_a_page or self._reads_query():
            yield "validation_failed"
        if self._is_safe():
            return
        yield "permission_denied"
        if self.method == "POST":
            yield from ("parse_error", "bad_request", "file_too_large", "format_unsupported")
            yield "validation_failed"
        if self._is_idempotent():
            yield from ("idempotency_in_flight", "idempotency_mismatch")
        if self._charges():
            yield from ("insufficient_credits", "tool_unavailable")
        yield from getattr(self.view, "may_refuse", ())

    def _refusals(self) -> dict[int, list[str]]:
        from studio.problems import status_of  # it imports views, and they are made of this

        found: dict[int, list[str]] = {}
        for code in sorted(set(self._codes())):
            found.setdefault(status_of(code), []).append(code)
        return found

    def _named(self, status: str) -> Iterator[str]:
        """The headers of an answer with this status."""
        yield "X-Request-Id"
        if status != "401":  # keys are looked at before requests are counted
            yield from RATE_LIMITS
            if self._charges():
                yield from CREDITS
        if status in {"429", "503"}:
            yield "Retry-After"
        elif status == "401":
            yield "WWW-Authenticate"
        elif self._is_idempotent():
            yield "Idempotent-Replayed"


def complete(result: Schema, **_about: Any) -> Schema:
    """Add what operations refer to, and answers that were recorded; drf-spectacular calls it."""
    from studio.problems import CODES  # it imports views, and they are made of this

    components = result["components"]
    components["headers"] = dict(HEADERS)
    schemas = components.setdefault("schemas", {})
    schemas |= {"Problem": PROBLEM, "ProblemError": PROBLEM_ERROR}
    for status, codes in CODES.items():
        schemas[_problem_name(status)] = _problem(status, codes)
    components["schemas"] = dict(sorted(schemas.items()))
    examples = json.loads(EXAMPLES.read_text())
    for methods in result["paths"].values():
        for operation in methods.values():
            _show(operation, examples.get(operation["operationId"], {}))
    return result


def _show(operation: Schema, example: Schema) -> None:
    """Show what a real client has asked and been told."""
    asked = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if asked and "request" in example:
        asked["example"] = example["request"]
    for status, answer in example.get("answers", {}).items():
        for told in operation["responses"][status]["content"].values():
            told["example"] = answer


PROBLEM: Schema = {
    "type": "object",
    "description": "What went wrong (RFC 9457). It cost nothing.",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {**TEXT, "description": "The status in words."},
        "status": {"type": "integer"},
        "detail": {**TEXT, "description": "What went wrong and what to do, for people."},
        "code": {**TEXT, "description": "What went wrong, for programs: it does not change."},
        "request_id": TEXT,
        "errors": {
            "type": "array",
            "description": "All that is wrong with the request.",
            "items": {"$ref": "#/components/schemas/ProblemError"},
        },
    },
}

PROBLEM_ERROR: Schema = {
    "type": "object",
    "description": "One thing that is wrong with a request.",
    "required": ["pointer", "code", "detail"],
    "properties": {
        "pointer": {**TEXT, "description": "A JSON pointer into the request."},
        "code": TEXT,
        "detail": TEXT,
    },
}

FIGURES: Mapping[int, Schema] = {
    402: {
        "required": {**FIGURE, "description": "Credits that it needs."},
        "available": {**FIGURE, "description": "Credits that can be spent."},
    },
}
"""Members that every problem of a status has."""

ADDED: Mapping[int, Schema] = {
    403: {"scope": {**TEXT, "description": "The scope that the key lacks."}},
}
"""Members that some problems of a status have."""


def problem_response(status: int, codes: Iterable[str]) -> Schema:
    """A refusal of this status, for one of these reasons."""
    said = ", ".join(f"`{code}`" for code in codes)
    content = {"schema": {"$ref": f"#/components/schemas/{_problem_name(status)}"}}
    return {
        "description": f"{HTTPStatus(status).phrase}: {said}.",
        "content": {"application/problem+json": content},
    }


def _is_strict(serializer: Any) -> bool:
    """Whether it refuses what it does not know."""
    from batches.serializers import Strict  # views are made of both

    return isinstance(serializer, Strict)


def _problem_name(status: int) -> str:
    phrase = HTTPStatus(status).phrase
    return f"{phrase.title().replace(' ', '')}Problem"


def _problem(status: int, codes: Iterable[str]) -> Schema:
    """The problems of one status."""
    always = FIGURES.get(status, {})
    return {
        **PROBLEM,
        "required": [*PROBLEM["required"], *always],
        "properties": {
            **PROBLEM["properties"],
            "status": {"type": "integer", "const": status},
            "code": {**PROBLEM["properties"]["code"], "enum": sorted(codes)},
            **always,
            **ADDED.get(status, {}),
        },
    }


_MEANINGS = {
    "200": "What was asked for.",
    "201": "Made.",
    "202": "Taken; it goes on.",
    "204": "Done.",
    "206": "The part that was asked for.",
    "304": "Nothing has changed.",
    "416": "There is no such part.",
}
