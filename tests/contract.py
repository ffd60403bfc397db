"""Holds every answer that a test gets from the API to what the OpenAPI document says of it."""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import Any

from django.conf import settings
from django.urls import Resolver404
from jsonschema_rs import Draft202012Validator
from rest_framework.test import APIClient

from studio.schema import openapi_document

NOT_OF_AN_OPERATION = {405, 500}
"""Statuses that no operation has: there is none, or it is broken."""

URLCONF = "studio.urls"

UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
ADDRESS = re.compile(r"https?://[!-~]+")


class CheckedClient(APIClient):
    """A client that fails the test where the document is wrong about an answer."""

    def request(self, **request: Any) -> Any:
        """Ask, and hold the answer against the document."""
        response = super().request(**request)
        with suppress(Resolver404):
            check(str(request["REQUEST_METHOD"]), response.resolver_match.route, response)
        return response


def path_of(route: str) -> str:
    """A route of Django's as the document writes it."""
    return "/" + re.sub(r"<\w+:(\w+)>", r"{\1}", route)


def operation_of(method: str, route: str) -> dict[str, Any] | None:
    """What the document says of a method of a route, if it knows it."""
    operation: dict[str, Any] | None = (
        openapi_document()["paths"].get(path_of(route), {}).get(method.lower())
    )
    return operation


def check(method: str, route: str, response: Any) -> None:
    """Fail where an answer has a status, a header or a body that the document doesn't know."""
    if settings.ROOT_URLCONF != URLCONF:
        return  # the document would be that of a test's own addresses
    path, operation = path_of(route), operation_of(method, route)
    if operation is None or response.status_code in NOT_OF_AN_OPERATION:
        return
    told = operation["responses"].get(str(response.status_code))
    assert told, f"{method} {path} answers {response.status_code}, which is not documented"
    for name, header in told["headers"].items():
        told_of = _resolved(header)
        assert name in response.headers or not told_of.get("required"), f"no {name}"
    kind = response.headers.get("Content-Type", "").split(";")[0]
    if "content" not in told:
        assert not response.content, f"{method} {path} {response.status_code} has a body"
        return
    assert kind in told["content"], f"{method} {path} {response.status_code} answers {kind}"
    if kind.endswith("json"):
        validate(json.loads(response.content), told["content"][kind]["schema"])
        if kind.endswith("problem+json"):
            code = json.loads(response.content)["code"]
            assert f"`{code}`" in told["description"], f"{method} {path} answers {code}"


def validate(value: Any, schema: dict[str, Any]) -> None:
    """Fail where a value is not what a schema of the document says."""
    errors = [
        f"{list(error.instance_path)}: {error.message}"
        for error in _validator(json.dumps(schema)).iter_errors(value)
    ]
    assert errors == [], errors


def _resolved(header: dict[str, Any]) -> dict[str, Any]:
    name = header.get("$ref", "").rpartition("/")[2]
    return openapi_document()["components"]["headers"][name] if name else header


@cache
def _validator(schema: str) -> Draft202012Validator:
    whole = {**json.loads(schema), "components": openapi_document()["components"]}
    formats = {"date-time": UTC_TIME.fullmatch, "uri": ADDRESS.fullmatch}
    return Draft202012Validator(
        whole,
        validate_formats=True,
        formats={name: partial(_fits, fits) for name, fits in formats.items()},
    )


def _fits(fits: Callable[[str], object], value: str) -> bool:
    return bool(fits(value))
