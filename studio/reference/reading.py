"""Reads an OpenAPI document into the values that the page shows.

Nothing here knows a route by name: what the document says is what is shown. The words of the
document are English, like the names in it; the words that are ours (what a field may hold) are
translated.
"""

import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from django.utils.text import slugify
from django.utils.translation import gettext as _

from accounts.models import READ, RUN
from studio.reference import curl
from studio.reference.document import DEEPEST, NAME, Document, Schema, is_good
from studio.reference.prose import prose, without_choices
from studio.reference.values import (
    Answer,
    Body,
    Field,
    Group,
    Operation,
    Reference,
    Refused,
    Sample,
    Shape,
)

READING = {"get", "head", "options"}
PLACES = ("path", "query", "header")
LARGEST_LIMIT = 2**31 - 1
"""From here on, bounds are those of a column of the database, and tell a reader nothing."""
_STATUSES = set(HTTPStatus)


def read(raw: Schema, *, base: str) -> Reference:
    """What the document says. ``base`` is the site's address, which the examples call."""
    return _Reader(Document(raw), base).reference()


class _Reader:
    """Walks through one document."""

    def __init__(self, document: Document, base: str) -> None:
        self._document = document
        self._base = base

    def reference(self) -> Reference:
        raw = self._document.raw
        known = {tag["name"]: tag.get("description", "") for tag in raw.get("tags", [])}
        found: dict[str, list[Operation]] = {name: [] for name in known}
        for path, method, operation in self._document.operations():
            tag = next(iter(operation.get("tags", [])), "api")
            found.setdefault(tag, []).append(self._operation(path, method, operation))
        return Reference(
            groups=tuple(
                Group(
                    anchor=f"about-{slugify(tag)}",  # an operation may be called like its tag
                    title=tag.replace("_", " ").replace("-", " ").capitalize(),
                    text=prose(known.get(tag, "")),
                    operations=tuple(operations),
                )
                for tag, operations in found.items()
                if operations
            ),
            messages=tuple(self._message(*one) for one in self._document.messages()),
            shapes=tuple(self._shape(name) for name in sorted(self._document.named_in_answers)),
            headers=tuple(self._headers()),
        )

    def _operation(self, path: str, method: str, operation: Schema) -> Operation:
        title, text = _title_of(operation)
        content = self._document.resolved(operation.get("requestBody", {})).get("content", {})
        answers = sorted(operation["responses"].items())
        scope = READ if method in READING else RUN
        return Operation(
            anchor=slugify(operation["operationId"]),
            method=method.upper(),
            path=path,
            title=title,
            text=prose(text),
            scope="" if curl.is_open(self._document, operation) else scope,
            parameters=tuple(
                (place, fields)
                for place in PLACES
                if (fields := tuple(self._parameters(operation, place)))
            ),
            bodies=tuple(self._bodies(content)),
            answers=tuple(
                self._answer(status, self._document.resolved(answer))
                for status, answer in answers
                if is_good(status)
            ),
            refusals=tuple(
                self._refused(status, self._document.resolved(answer))
                for status, answer in answers
                if not is_good(status)
            ),
            curl=curl.command(self._document, path, method, operation, base=self._base),
            deprecated=bool(operation.get("deprecated")),
        )

    def _parameters(self, operation: Schema, place: str) -> Iterator[Field]:
        for one in operation["parameters"]:
            if one["in"] == place:
                yield self._outside_a_body(one["name"], one)

    def _outside_a_body(self, name: str, told: Schema) -> Field:
        """A parameter or a header, which keeps its description beside its schema."""
        schema = {**told.get("schema", {})}
        if text := told.get("description"):
            schema["description"] = text
        return self._field(name, schema, required=told.get("required", False))

    def _bodies(self, content: Schema) -> Iterator[Body]:
        """Where a body can be sent in several ways, the later ones tell what is different."""
        known: tuple[Field, ...] = ()
        for media_type, media in content.items():
            schema = self._document.resolved(media.get("schema", {}))
            fields = self._fields(schema, skip="readOnly")
            yield Body(
                media_type=media_type,
                fields=tuple(field for field in fields if field not in known),
                kind=self._document.kind(schema),
                text=prose(schema.get("description", "")),
            )
            known = known or fields

    def _answer(self, status: str, answer: Schema) -> Answer:
        content = answer.get("content", {})
        media: Schema = next((one for kind, one in content.items() if "json" in kind), {})
        schema = media.get("schema", {})
        name, paged = self._document.named(schema)
        described = name in self._document.named_in_answers
        number = int(status) if status.isdigit() else 0
        resolved = self._document.resolved
        return Answer(
            status=status,
            phrase=HTTPStatus(number).phrase if number in _STATUSES else "",
            text=prose(answer.get("description", "")),
            media_types=tuple(content),
            of=name if described else "",
            paged=paged,
            fields=() if described else self._fields(resolved(schema), skip="writeOnly"),
            headers=tuple(sorted(answer.get("headers", {}))),
            samples=tuple(self._samples(media)) if media else (),
        )

    def _refused(self, status: str, answer: Schema) -> Refused:
        """The codes are those of the body's schema, where it lists them."""
        media: Schema = next(iter(answer.get("content", {}).values()), {})
        schema = self._document.resolved(media.get("schema", {}))
        code = self._document.resolved(schema.get("properties", {}).get("code", {}))
        given = [code["const"]] if "const" in code else code.get("enum", [])
        return Refused(status=status, codes=tuple(map(str, given)))

    def _headers(self) -> Iterator[Field]:
        """Each header of an answer, once."""
        found: dict[str, Schema] = {}
        for _path, _method, operation in self._document.operations():
            for answer in map(self._document.resolved, operation["responses"].values()):
                found = {**answer.get("headers", {}), **found}
        for name, told in sorted(found.items()):
            # In which answers it has to be is of no interest here.
            yield self._outside_a_body(name, {**self._document.resolved(told), "required": False})

    def _samples(self, media: Schema) -> Iterator[Sample]:
        named = media.get("examples", {})
        for name, example in named.items():
            given = self._document.resolved(example)
            yield Sample(title=given.get("summary", name), code=_pretty(given.get("value")))
        if not named:
            example = self._document.example_of(media)
            made = example or self._document.example(media.get("schema", {}))
            yield Sample(title="", code=_pretty(made))

    def _message(self, name: str, operation: Schema) -> Shape:
        content = self._document.resolved(operation.get("requestBody", {})).get("content", {})
        media: Schema = next(iter(content.values()), {})
        title, text = _title_of(operation)
        sample = next(self._samples(media), Sample(title="", code=""))
        return Shape(
            anchor=f"message-{slugify(name)}",
            name=name,
            text=prose(f"{title}.\n\n{text}" if title else text),
            fields=self._fields(self._document.resolved(media.get("schema", {}))),
            sample=sample.code,
        )

    def _shape(self, name: str) -> Shape:
        reference = {"$ref": f"#/components/schemas/{name}"}
        schema = self._document.resolved(reference)
        return Shape(
            anchor=f"object-{slugify(name)}",
            name=name,
            text=prose(schema.get("description", "")),
            fields=self._fields(schema, skip="writeOnly"),
            sample=_pretty(self._document.example(reference)),
        )

    def _fields(
        self, schema: Schema, *, skip: str = "", seen: tuple[str, ...] = ()
    ) -> tuple[Field, ...]:
        needed = schema.get("required", [])
        return tuple(
            self._field(name, inner, required=name in needed, skip=skip, seen=seen)
            for name, inner in schema.get("properties", {}).items()
            if not (skip and inner.get(skip))
        )

    def _field(
        self,
        name: str,
        raw: Schema,
        *,
        required: bool,
        skip: str = "",
        seen: tuple[str, ...] = (),
    ) -> Field:
        """``seen`` are the names of the objects around it, so that a circle comes to its end."""
        schema = self._document.resolved(raw)
        inside = self._document.inside(schema)
        of = str(inside.get(NAME, ""))
        described = of in self._document.named_in_answers
        elsewhere = of in seen or (described and skip != "readOnly")
        deep = elsewhere or len(seen) >= DEEPEST
        return Field(
            name=name,
            kind=self._document.kind(schema),
            required=required,
            text=prose(without_choices(str(schema.get("description", "")))),
            facts=tuple(self._facts(schema)),
            choices=tuple(str(one) for one in inside.get("enum", ()) if one not in ("", None)),
            of=of if described and elsewhere else "",
            fields=() if deep else self._fields(inside, skip=skip, seen=(*seen, of)),
        )

    def _facts(self, schema: Schema) -> Iterator[str]:
        """What a value must be like, in words."""
        if self._document.nullable(schema):
            yield _("may be null")
        if (shortest := schema.get("minLength", 0)) > 1:
            yield _("at least {n} characters").format(n=shortest)
        if longest := schema.get("maxLength"):
            yield _("at most {n} characters").format(n=longest)
        low, high = schema.get("minimum"), schema.get("maximum")
        if high is not None and high >= LARGEST_LIMIT:
            high = None
        if low is not None and high is not None:
            yield _("{low} to {high}").format(low=low, high=high)
        elif low is not None:
            yield _("{low} or more").format(low=low)
        elif high is not None:
            yield _("{high} at most").format(high=high)
        if most := schema.get("maxItems"):
            yield _("at most {n} entries").format(n=most)
        if schema.get("default") not in (None, "", [], {}):
            value = json.dumps(schema["default"], ensure_ascii=False).strip('"')
            yield _("default: {value}").format(value=value)


def _title_of(operation: Schema) -> tuple[str, str]:
    """What an operation does, in one line, and what else there is to say of it."""
    title, text = operation.get("summary", ""), operation.get("description", "")
    if not title:
        title, _break, text = text.partition("\n\n")
    return " ".join(title.replace("`", "").split()).removesuffix("."), text


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
