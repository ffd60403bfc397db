"""`manage.py fetchweights`."""

import io
import sys

import pytest
from django.core.management import CommandError, call_command

from tests.weights.file_server import FileServer
from tests.weights.small_models import pin
from tools import registry
from tools.engines import weights
from tools.engines.sources import Address

CONTENT = bytes(range(256)) * 1000
FILES = ("usual", "quick", "fine", "stray")


@pytest.fixture
def server():
    with FileServer({f"/{name}.onnx": CONTENT + name.encode() for name in FILES}) as server:
        yield server


@pytest.fixture(autouse=True)
def site(server, tmp_path, monkeypatch):
    """One tool with a default, a fast and an extra model, and weights that no tool uses."""
    kinds = {"usual": "default", "quick": "fast", "fine": "extra", "stray": "default"}
    manifest = {}
    for name, kind in kinds.items():
        source = Address(f"{server.url}/{name}.onnx")
        manifest[name] = pin(name, server.files[f"/{name}.onnx"], source, kind=kind)
    monkeypatch.setattr(weights, "MANIFEST", manifest)
    monkeypatch.setattr(weights, "_folder", tmp_path / "weights")
    monkeypatch.delenv("STUDIO_WEIGHTS_FROM", raising=False)
    for tool in registry.all():
        monkeypatch.setattr(type(tool), "artefacts", ())
    tool = registry.get("remove-background")
    monkeypatch.setattr(type(tool), "artefacts", ("usual", "quick", "fine"))


def run(*args: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("fetchweights", *args, stdout=out, stderr=err)
    except CommandError as failed:
        err.write(f"CommandError: {failed} ({failed.returncode})")
    return out.getvalue(), err.getvalue()


def there() -> list[str]:
    return sorted(path.stem for path in weights.weights_folder().glob("*.onnx"))


def test_without_names_it_gets_what_the_default_and_fast_choices_need(server):
    out, err = run()

    assert there() == ["quick", "usual"]
    assert f"usual: fetched from {server.url}/usual.onnx (licence: CC0-1.0)" in out
    assert err == ""


def test_with_names_it_gets_those():
    run("fine")

    assert there() == ["fine"]


def test_all_are_all():
    run("--all")

    assert there() == sorted(FILES)


def test_a_second_run_fetches_nothing(server):
    run()
    server.asked.clear()

    out, _ = run()

    assert server.asked == []
    assert out.splitlines() == [
        "usual: there (licence: CC0-1.0)",
        "quick: there (licence: CC0-1.0)",
    ]


def test_a_damaged_file_is_fetched_again():
    run("usual")
    weights.path("usual").write_bytes(b"half")

    out, _ = run("usual")

    assert "fetched from" in out
    assert weights.verify("usual")


def test_a_failure_names_every_source_and_does_not_stop_the_others(server):
    del server.files["/usual.onnx"]

    out, err = run()

    assert there() == ["quick"]
    assert "usual: FAILED" in out
    assert f"  {server.url}/usual.onnx: the server answered 404" in err
    assert "CommandError: Not fetched: usual." in err
    assert "STUDIO_WEIGHTS_FROM" in err
    assert err.endswith("(1)")


def test_a_name_that_is_not_known_fetches_nothing_at_all(server):
    _, err = run("usual", "nonsense")

    assert "Known: usual, quick, fine, stray" in err
    assert server.asked == []


def test_a_list_shows_what_there_is_and_fetches_nothing(server):
    run("quick")
    server.asked.clear()

    out, _ = run("--list")

    lines = {line.split()[0]: line for line in out.splitlines()}
    assert list(lines) == ["NAME", *FILES]
    assert "missing" in lines["usual"]
    assert "there" in lines["quick"]
    assert "remove-background" in lines["quick"]
    assert "remove-background" not in lines["stray"]
    assert "CC0-1.0" in lines["fine"]
    assert server.asked == []


def test_the_remark_of_an_extra_is_printed(monkeypatch):
    from dataclasses import replace

    monkeypatch.setitem(
        weights.MANIFEST, "fine", replace(weights.MANIFEST["fine"], note="Mind the licence.")
    )

    out, _ = run("fine")

    assert "Mind the licence." in out


def test_where_there_is_no_terminal_progress_comes_in_lines(capsys):
    run("usual")

    assert "usual: downloading, 100 %" in capsys.readouterr().err


def test_in_a_terminal_progress_is_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    run("usual")

    assert "usual: downloading: 100%" in terminal.getvalue()
    assert "\r" in terminal.getvalue()
