"""Descriptions, which are Markdown of the simplest kind, as HTML."""

import re
from collections.abc import Sequence

from django.utils.html import escape, format_html_join
from django.utils.safestring import SafeString, mark_safe


def prose(text: str) -> SafeString:
    """Paragraphs, lists and code of a description, which is Markdown of the simplest kind."""
    blocks = [block for block in re.split(r"\n\s*\n", text.strip()) if block]
    made = (_list(it) if it.startswith(("* ", "- ")) else _paragraph(it) for it in blocks)
    return SafeString("".join(made))


def without_choices(text: str) -> str:
    """A description without the list of choices that drf-spectacular adds to it."""
    return re.sub(r"\n*(^\* `[^`]*` - .*\n?)+\Z", "", text, flags=re.MULTILINE)


def _code(text: str) -> SafeString:
    """A line in which what stands between backticks is code, and ``**`` makes bold."""
    html = re.sub(r"(`+)(.+?)\1", r"<code>\2</code>", escape(" ".join(text.split())))
    return mark_safe(re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html))  # noqa: S308


def _paragraph(block: str) -> SafeString:
    return SafeString(f"<p>{_code(block)}</p>")


def _list(block: str) -> SafeString:
    lines: Sequence[str] = re.split(r"\n\s*[*-] ", block[2:])
    items = format_html_join("", "<li>{}</li>", ((_code(line),) for line in lines))
    return SafeString(f"<ul>{items}</ul>")
