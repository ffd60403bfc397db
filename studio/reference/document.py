"""The schemas of an OpenAPI document (3.0 or 3.1): what they refer to, are called and look like."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from django.utils.translation import gettext as _

METHODS = ("get", "post", "put", "patch", "delete")

DEEPEST = 6
"""Levels of objects in objects that are looked into; a document may well go in circles."""

NAME = "x-name"
"""Where a resolved schema keeps the name that it was referred to by."""

UUID = "3f0d6c1e-8f3b-4a52-9d57-2c1f6f0a7b11"
TOOL = "remove-background"
_BY_FORMAT = {
    "uuid": UUID,
    "date-time": "2026-11-27T08:00:00Z",
    "date": "2026-11-27",
    "uri": "https://shop.example.com/mug.jpg",
    "email": "ada@example.com",
}
_BY_NAME = {"slug": TOOL, "tool": TOOL, "name": "mug.jpg", "url": _BY_FORMAT["uri"]}
_GIVEN = ("example", "const", "default")

Schema = Mapping[str, Any]


class Document:
    """An OpenAPI document to ask about its schemas."""

    def __init__(self, raw: Schema) -> None:
        self.raw = raw

    def operations(self) -> Iterator[tuple[str, str, Schema]]:
        """Path, method and operation, with the parameters that its whole path has."""
        for path, item in self.raw["paths"].items():
            for method in METHODS:
                if method in item:
                    both = [*item.get("parameters", []), *item[method].get("parameters", [])]
                    parameters = [self.resolved(one) for one in both]
                    yield path, method, {**item[method], "parameters": parameters}

    def messages(self) -> Iterator[tuple[str, Schema]]:
        """Name and operation of what the site sends by itself."""
        for name, item in self.raw.get("webhooks", {}).items():
            for method in METHODS:
                if method in item:
                    yield name, item[method]

    @cached_property
    def named_in_answers(self) -> frozenset[str]:
        """The objects that answers are, or that their lists hold."""
        answers = (
            self.resolved(answer)
            for _path, _method, operation in self.operations()
            for status, answer in operation["responses"].items()
            if is_good(status)
        )
        media = (one for answer in answers for one in answer.get("content", {}).values())
        return frozenset(self.named(one.get("schema", {}))[0] for one in media) - {""}

    def named(self, schema: Schema) -> tuple[str, bool]:
        """The name of the object that an answer is, and whether it is a page of a list of them."""
        members = self.resolved(schema).get("properties", {})
        if set(members) == {"next", "previous", "results"}:
            return _last(members["results"].get("items", {}).get("$ref", "")), True
        return _last(schema.get("$ref", "")), False

    def resolved(self, raw: Schema) -> Schema:
        """The schema itself: references followed, and what stands beside them laid over."""
        schema = dict(raw)
        while reference := schema.pop("$ref", ""):
            target: Any = self.raw
            for step in reference.removeprefix("#/").split("/"):
                target = target[step]
            schema = {NAME: _last(reference), **target, **schema}
        for part in schema.pop("allOf", []):
            inner = self.resolved(part)
            both = {**inner.get("properties", {}), **schema.get("properties", {})}
            needed = [*inner.get("required", []), *schema.get("required", [])]
            schema = {**inner, **schema}
            if both:
                schema |= {"properties": both, "required": needed}
        return schema

    def inside(self, schema: Schema) -> Schema:
        """The schema of what an array holds; of several kinds, the one that says most."""
        for one in self._variants(schema):
            if one.keys() & {"properties", "enum", "items"}:
                return self.inside(one)
        if "items" in schema:
            return self.inside(self.resolved(schema["items"]))
        return schema

    def nullable(self, schema: Schema) -> bool:
        """Whether null will do, in either version's way of saying so."""
        variants = self._variants(schema)
        kinds = [schema.get("type"), *(one.get("type") for one in variants)]
        return bool(schema.get("nullable")) or any(
            "null" in kind if isinstance(kind, list) else kind == "null" for kind in kinds
        )

    def is_file(self, schema: Schema) -> bool:
        """Whether the bytes of a file are meant, in either version's way of saying so."""
        return schema.get("format") == "binary" or "contentMediaType" in schema

    def kind(self, schema: Schema) -> str:
        """What a value is, for people: "uuid", "array of object", "string or integer"."""
        if variants := self._variants(schema):
            kinds = dict.fromkeys(map(self.kind, variants))
            kinds.pop("null", None)
            return _(" or ").join(kinds)
        kind = _type_of(schema)
        if kind == "array":
            inner = self.kind(self.resolved(schema.get("items", {})))
            return _("array of {kind}").format(kind=inner)
        form = schema.get("format", "")
        if self.is_file(schema):
            return _("file")
        if kind == "string" and form:
            return str(form)
        return kind or _("anything")

    def example(self, raw: Schema, name: str = "", depth: int = 0) -> Any:
        """A value as the schema has it; what the document gives as an example comes first."""
        schema = self.resolved(raw)
        for key in _GIVEN:
            if schema.get(key) is not None:
                return schema[key]
        if given := schema.get("examples") or schema.get("enum"):
            return next(iter(given.values() if isinstance(given, Mapping) else given))
        if variants := self._variants(schema):
            return self.example(variants[0], name, depth)
        return self._made_up(schema, name, depth)

    def least(self, raw: Schema, name: str = "") -> Any:
        """The smallest body that will do: what is needed, and whatever has an example."""
        schema = self.resolved(raw)
        members = schema.get("properties", {})
        if schema.get("example") is not None or schema.get("examples"):
            return self.example(schema, name)
        if _type_of(schema) == "array":
            return [self.least(schema["items"], name)]
        if not members:
            return self.example(schema, name)
        needed = schema.get("required") or [one for one in members if one == "url"]
        return {one: self.least(members[one], one) for one in members if one in needed}

    def example_of(self, media: Schema) -> Any:
        """What a body of this kind looks like; None where the document gives no example."""
        for example in media.get("examples", {}).values():
            return self.resolved(example).get("value")
        return media.get("example")

    def _made_up(self, schema: Schema, name: str, depth: int) -> Any:
        kind = _type_of(schema)
        if kind == "object" and depth < DEEPEST:
            members = schema.get("properties", {}).items()
            return {one: self.example(inner, one, depth + 1) for one, inner in members}
        if kind == "array" and depth < DEEPEST:
            least = max(schema.get("minItems", 1), 1)
            return [self.example(schema.get("items", {}), name, depth + 1)] * least
        if kind == "string":
            return _BY_FORMAT.get(schema.get("format", "")) or _BY_NAME.get(name, "…")
        plain = {"integer": schema.get("minimum", 1), "number": 1.0, "boolean": True, "array": []}
        return plain.get(kind, {})

    def _variants(self, schema: Schema) -> list[Schema]:
        return [self.resolved(one) for one in schema.get("oneOf") or schema.get("anyOf") or ()]


def is_good(status: str) -> bool:
    """Whether an answer of this status says that things went as they were asked for."""
    return status.startswith(("2", "3"))


def _type_of(schema: Schema) -> str:
    kind = schema.get("type", "")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind:
        return str(kind)
    return "object" if "properties" in schema else "string" if "enum" in schema else ""


def _last(reference: str) -> str:
    return reference.rpartition("/")[2]
