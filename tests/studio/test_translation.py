"""No word reaches anybody but through Django's translation."""

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from django.conf import settings
from django.test import Client
from django.utils import translation
from django.utils.translation import trans_real

from studio.reference import page
from tests import pages

pytestmark = pytest.mark.usefixtures("valkey")

APPS = ("accounts", "batches", "credits", "studio", "tools")
SPOKEN = re.compile(r"(aria-label|aria-valuetext|title|placeholder|alt|data-says-.*)")
"""Attributes that somebody reads or hears."""
LETTER = re.compile(r"[^\W\d_]")
SILENT = {"script", "style", "kbd", "code", "pre"}
"""What stands in these is not prose."""
NOTATION = re.compile(
    r"https?://|#rrggbb|\b(JPG|PNG|WebP|GIF|AVIF|HEIC|BMP|TIFF|ZIP)\b"
    r"|\b(aria|data)-[a-z]+(=\"[^\"]*\")?"  # of a template that is part of a tag
)
"""What has letters and is the same in every language."""
DATA = re.compile(r"(?:https://)?shop\.example[\w./-]*|\b(?:mug|cup)-\d+[\w.-]*")
"""Names of the pictures in `tests.pages`."""


class Words(HTMLParser):
    """Collects what a page says: its text, and the attributes that are spoken."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._silent = 0
        self._open: list[tuple[str, bool]] = []

    def handle_starttag(self, tag, attributes) -> None:
        attributes = dict(attributes)
        silent = (
            tag in {"script", "style", "kbd", "code", "pre"} or attributes.get("translate") == "no"
        )
        if tag not in {"meta", "link", "img", "input", "br", "hr"}:
            self._open.append((tag, silent))
            self._silent += silent
        if not silent and not self._silent:
            self.found += [value for name, value in attributes.items() if SPOKEN.fullmatch(name)]

    def handle_startendtag(self, tag, attributes) -> None:
        self.handle_starttag(tag, attributes)
        if self._open and self._open[-1][0] == tag:
            self.handle_endtag(tag)

    def handle_endtag(self, tag) -> None:
        while self._open:
            opened, silent = self._open.pop()
            self._silent -= silent
            if opened == tag:
                break

    def handle_data(self, data) -> None:
        if not self._silent:
            self.found.append(data)


def words_of(html: str) -> list[str]:
    """What a page says that has letters in it."""
    parser = Words()
    parser.feed(html)
    parser.close()
    said = (" ".join((text or "").split()) for text in parser.found)
    return [text for text in said if LETTER.search(NOTATION.sub("", text))]


def literals_of(template: str) -> list[str]:
    """Words that a template says without asking for their translation."""
    for block in ("comment", "blocktranslate"):
        template = re.sub(rf"{{% {block}\b.*?{{% end{block} %}}", "", template, flags=re.DOTALL)
    return words_of(re.sub(r"{%.*?%}|{{.*?}}|{#.*?#}", "", template, flags=re.DOTALL))


def test_the_finder_of_literals_finds_them():
    template = """
      {% load i18n %}{% comment %}Not this.{% endcomment %}<p{% if a %} class="b"{% endif %}>Hello
      {{ name }}</p><a title="{% translate 'not this' %}" aria-label="Close">{% blocktranslate %}
      nor <b>this</b>{% endblocktranslate %}</a><i translate="no">x@y.z</i><img alt="A dog">
    """

    assert literals_of(template) == ["Hello", "Close", "A dog"]


def test_templates_say_nothing_untranslated():
    templates = [
        path
        for folder in ("templates", *(f"{app}/templates" for app in APPS))
        for path in sorted((settings.BASE_DIR / folder).rglob("*.html"))
    ]

    found = {
        str(path.relative_to(settings.BASE_DIR)): literals
        for path in templates
        if (literals := literals_of(path.read_text()))
    }

    assert len(templates) > 20
    assert found == {}


SAYING_KEYWORDS = {"label", "help_text", "verbose_name", "verbose_name_plural", "description"}
SAYING_CALLS = {"add_error", "ValidationError", "success", "info", "warning", "error"}
NOT_SAYING = {"log", "logger", "stdout", "stderr"}


def untranslated(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of literals that become labels, messages or errors of forms."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = getattr(function, "attr", getattr(function, "id", ""))
        owner = getattr(getattr(function, "value", None), "id", "")
        said = [word.value for word in node.keywords if word.arg in SAYING_KEYWORDS]
        if name in SAYING_CALLS and owner not in NOT_SAYING:
            said += node.args[1:] if name != "ValidationError" else node.args[:1]
        for value in said:
            if isinstance(value, ast.JoinedStr):
                words = [part.value for part in value.values if isinstance(part, ast.Constant)]
                if LETTER.search("".join(map(str, words))):
                    yield node.lineno, ast.unparse(value)
            elif isinstance(value, ast.Constant) and LETTER.search(str(value.value)):
                yield node.lineno, str(value.value)


DESCRIPTION = {"serializers.py", "schema.py", "webhook_bodies.py"}
"""The description of the API is in English, like its names; and so are modules `…api`."""


def test_the_finder_of_messages_finds_them():
    source = """
messages.info(request, "Saved.")
messages.info(request, _("Saved."))
form.add_error(None, f"{n} wrong")
CharField(label="Name", max_length=3)
log.warning("%s", "for us alone")
raise ValidationError("No.", code="no")
"""

    assert [text for _line, text in untranslated(source)] == [
        "Saved.",
        "f'{n} wrong'",
        "Name",
        "No.",
    ]


def test_views_and_forms_say_nothing_untranslated():
    found = []
    for app in APPS:
        for path in sorted((settings.BASE_DIR / app).rglob("*.py")):
            if {"migrations", "management", "engines"} & set(path.parts):
                continue
            if path.name in DESCRIPTION or path.stem.endswith("api"):
                continue
            where = path.relative_to(settings.BASE_DIR)
            found += [f"{where}:{line}: {text}" for line, text in untranslated(path.read_text())]

    assert found == []


class Bracketed(trans_real.DjangoTranslation):
    """English in which each translated text is between brackets: what is outside was forgotten."""

    def gettext(self, message):
        return f"⟦{message.rpartition(trans_real.CONTEXT_SEPARATOR)[2]}⟧"

    def ngettext(self, singular, plural, number):
        return self.gettext(singular if number == 1 else plural)


@pytest.fixture
def bracketed(monkeypatch):
    """The site in that language."""
    page.rendered.cache_clear()
    with monkeypatch.context() as patch:
        patch.setitem(trans_real._translations, "en", Bracketed("en"))
        with translation.override("en"):
            yield
    translation.activate(settings.LANGUAGE_CODE)  # requests left the brackets on in this thread
    page.rendered.cache_clear()


def outside(text: str) -> str:
    """What of a text is not between brackets."""
    before = None
    while before != text:
        before, text = text, re.sub(r"⟦[^⟦⟧]*⟧", "", text)
    return text


def test_every_page_speaks_through_translation(world, bracketed):
    names = re.compile("|".join([DATA.pattern, NOTATION.pattern, *map(re.escape, world.data)]))
    forgotten = {}

    for look in pages.LOOKS:
        browser = Client()
        if user := world.user(look.who):
            browser.force_login(user)
        said = words_of(browser.get(look.path(world)).content.decode())
        assert any("⟦" in text for text in said), look
        # Together: elements within a translated text part it into several.
        left = outside("\n".join(names.sub("", text) for text in said))
        if outside_of := [line for line in left.split("\n") if LETTER.search(line)]:
            forgotten[look.label] = outside_of

    assert forgotten == {}


def test_failures_speak_through_translation_too(bracketed, rf):
    from studio import failures

    for status in (400, 500, 503):
        said = words_of(failures.page(rf.get("/"), status).content.decode())
        assert [text for text in said if LETTER.search(outside(text))] == []
