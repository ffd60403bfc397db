"""Every code that can fail an image has a sentence, whatever figures come with it."""

import re
import string
from pathlib import Path

import pytest
from django.conf import settings
from django.utils.functional import Promise

from batches import fetch, messages

CODES = [code for code in messages.TEXTS if "." not in code]
RAISED = re.compile(r'(?:ImageProblem|ToolError|ImageRefused|StoreError)\(\s*"([a-z_]+)"')
GIVEN = re.compile(r'(?:_stop|fail_item)\(\s*item, "([a-z_]+)"')


def codes_in_the_code() -> set[str]:
    found = set()
    for package in ("batches", "tools"):
        for path in Path(settings.BASE_DIR, package).rglob("*.py"):
            source = path.read_text()
            found |= {*RAISED.findall(source), *GIVEN.findall(source)}
    return found


@pytest.mark.parametrize("code", CODES)
def test_a_code_without_figures_is_a_whole_sentence(code):
    text = messages.text(code)

    assert text.endswith((".", "?", ": "))
    assert "{" not in text


def test_every_code_that_the_downloader_uses_has_a_sentence():
    assert {*fetch.CODES.values(), *fetch.STATUS_CODES.values()} <= set(CODES)


def test_every_code_that_tools_engines_and_workers_use_has_a_sentence():
    found = codes_in_the_code()

    assert {"file_damaged", "no_subject", "source_missing", "worker_lost"} <= found
    assert found <= set(CODES)


@pytest.mark.parametrize("code", messages.TEXTS)
def test_every_figure_in_a_sentence_has_a_default_or_names_the_sentence(code):
    base, _, figure = code.partition(".")
    fields = {name for _, name, _, _ in string.Formatter().parse(str(messages.TEXTS[code])) if name}

    assert fields - {figure} <= set(messages.DEFAULTS.get(base, {}))


def test_figures_are_put_into_the_sentence():
    assert messages.text("dimensions_too_large", {"w": 9000, "h": 6000, "max": 50}) == (
        "9000 × 6000 px is more than this model takes (50 MP)."
    )


@pytest.mark.parametrize(
    ("params", "part"),
    [
        ({}, "this address. Check"),
        ({"seconds": 20}, "(no answer in 20 s)"),
        ({"status": 503}, "(error 503)"),
        ({"unheard_of": 1}, "this address. Check"),
    ],
)
def test_a_better_sentence_is_used_where_its_figure_is_known(params, part):
    assert part in messages.text("source_unreachable", params)


def test_a_figure_can_not_smuggle_a_format_in():
    text = messages.text("row_invalid", {"detail": "{0.__class__} {code} %s"})

    assert text.endswith("{0.__class__} {code} %s")


def test_an_unknown_code_gets_the_general_sentence():
    assert messages.text("of_tomorrow", {"w": 1}) == messages.text("processing_failed")


@pytest.mark.parametrize("code", messages.TEXTS)
def test_sentences_are_translated_when_they_are_read_and_not_before(code):
    assert isinstance(messages.TEXTS[code], Promise)
