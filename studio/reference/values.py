"""The reference as plain values: what the templates show."""

from dataclasses import dataclass

from django.utils.safestring import SafeString

PREFIX = "/api/v1/"
"""What all paths begin with, which lists leave out."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """A member of an object, or a parameter of a request."""

    name: str
    kind: str
    """Such as "string" or "array of objects"."""
    required: bool = False
    text: SafeString
    facts: tuple[str, ...] = ()
    """What it may hold, in words: bounds, the default, that it may be null."""
    choices: tuple[str, ...] = ()
    of: str = ""
    """The name of an object that the page describes elsewhere."""
    fields: tuple["Field", ...] = ()


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A body as it goes over the wire."""

    title: str
    code: str


@dataclass(frozen=True, kw_only=True)
class Body:
    """One kind of body that a request may have."""

    media_type: str
    fields: tuple[Field, ...]
    """Of a second kind of body, those that the first has not, or has otherwise."""
    kind: str
    text: SafeString


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What an operation answers with one status, where things go as they were asked for."""

    status: str
    phrase: str
    text: SafeString
    media_types: tuple[str, ...]
    of: str
    """The name of the object in it, where the page describes that."""
    paged: bool
    """Whether it is a page of a list of such objects."""
    fields: tuple[Field, ...]
    headers: tuple[str, ...]
    """Names; what they mean is said once, for all operations."""
    samples: tuple[Sample, ...]


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A status of refusals, and the codes that it comes with."""

    status: str
    codes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A method on a path."""

    anchor: str
    method: str
    path: str
    title: str
    text: SafeString
    scope: str
    """What a key must have; empty where none is needed."""
    parameters: tuple[tuple[str, tuple[Field, ...]], ...]
    """By the place that they stand in: path, query, header."""
    bodies: tuple[Body, ...]
    answers: tuple[Answer, ...]
    refusals: tuple[Refused, ...]
    curl: str
    deprecated: bool

    @property
    def short(self) -> str:
        """The path without what all paths begin with."""
        return self.path.removeprefix(PREFIX)

    @property
    def shown_answer(self) -> Answer | None:
        """The first answer that has something to show."""
        return next((answer for answer in self.answers if answer.samples), None)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Operations about one thing."""

    anchor: str
    title: str
    text: SafeString
    operations: tuple[Operation, ...]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """An object that answers hold, or that the site sends."""

    anchor: str
    name: str
    text: SafeString
    fields: tuple[Field, ...]
    sample: str


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The whole document."""

    groups: tuple[Group, ...]
    messages: tuple[Shape, ...]
    """What the site sends by itself."""
    shapes: tuple[Shape, ...]
    headers: tuple[Field, ...]
    """Of answers."""
