"""Calls as one types them into a shell."""

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

from studio.reference.document import TOOL, Document, Schema

JSON = "application/json"
FORM = "multipart/form-data"
SHORT = 44
"""Characters of a body that stays on one line."""


def command(document: Document, path: str, method: str, operation: Schema, *, base: str) -> str:
    """The call with the key in ``$KEY`` and an id in ``$ID``."""
    content = document.resolved(operation.get("requestBody", {})).get("content", {})
    address = re.sub(r"{(?:slug|tool)}", TOOL, path)
    address = re.sub(r"{\w+}", "$ID", address)
    start = "curl"
    if method != "get" and (method != "post" or not content):
        start += f" -X {method.upper()}"
    if name := _file_name(path, operation):
        start += f" -o {name}"
    lines = [f'{start} "{base}{address}"']
    if not is_open(document, operation):
        lines.append('-H "Authorization: Bearer $KEY"')
    lines += [
        f'-H "{one["name"]}: order-4711"'
        for one in operation["parameters"]
        if one["in"] == "header" and one["name"].lower() == "idempotency-key"
    ]
    if JSON in content:
        lines += [f'-H "Content-Type: {JSON}"', f"-d {_body(document, content[JSON])}"]
    elif FORM in content:
        lines += _form(document, content[FORM])
    return " \\\n  ".join(lines)


def is_open(document: Document, operation: Schema) -> bool:
    """Whether nobody has to say who they are."""
    needed = operation.get("security", document.raw.get("security"))
    return needed in ([], [{}])


def _body(document: Document, media: Schema) -> str:
    body: Any = document.example_of(media)
    if body is None:
        body = document.least(media.get("schema", {}))
    text = json.dumps(body, ensure_ascii=False)
    if len(text) > SHORT:
        text = json.dumps(body, ensure_ascii=False, indent=2).replace("\n", "\n  ")
    return shlex.quote(text)


def _form(document: Document, media: Schema) -> Iterator[str]:
    schema = document.resolved(media.get("schema", {}))
    needed = schema.get("required", [])
    for name, raw in schema.get("properties", {}).items():
        member = document.resolved(raw)
        if document.is_file(member):
            table = "CSV" in member.get("description", "")
            yield f"-F {name}=@{'products.csv' if table else 'mug.jpg'}"
        elif name in needed:
            yield f"-F {name}={shlex.quote(str(document.example(member, name)))}"


def _file_name(path: str, operation: Schema) -> str:
    """Where to put what comes back, when that is a file."""
    good = (answer for status, answer in operation["responses"].items() if status.startswith("2"))
    kinds = [kind for answer in good for kind in answer.get("content", {})]
    if not kinds or any("json" in kind for kind in kinds):
        return ""
    last = path.rpartition("/")[2]
    if "." in last:
        return last
    return f"{last}.{'webp' if kinds == ['image/webp'] else 'png'}"
