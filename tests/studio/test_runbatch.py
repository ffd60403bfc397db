"""`manage.py runbatch`: files and folders through real workers, from a terminal."""

import io
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from PIL import Image

from batches.models import Result
from batches.names import Names
from credits import ledger
from studio.management.commands import runbatch
from tests import factories
from tests.studio.conftest import eventually, family, is_running
from tools import registry

pytestmark = pytest.mark.worker

ROOT = Path(__file__).parents[2]
FAST = ("--tool", "remove-background", "--set", "model=u2netp")


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def fill(folder: Path, pictures: list[bytes], *names: str) -> Path:
    """Write a picture under each of these names; each time it begins with another one."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(pictures[number % len(pictures)])
    return folder


def money(place, email: str = "local@localhost") -> tuple[int, int, int]:
    """Available and held credits of an account, and what it has paid in all."""
    [found] = place.rows(
        "SELECT available, held, (SELECT -coalesce(sum(held_delta), 0) FROM credits_ledgerentry "
        "WHERE account_id = account.id AND kind = 'capture') FROM credits_creditaccount account "
        "JOIN accounts_user ON owner_id = accounts_user.id WHERE email = ?",
        email,
    )
    return found


def picture_at(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


def run_on_a_small_plan(place, *arguments: object, **env: str):
    """The same command where a batch takes two images instead of five hundred."""
    code = (
        "import dataclasses, sys; sys.path.insert(0, sys.argv.pop(1))\n"
        "from studio import embedded; embedded.prepare('runbatch')\n"
        "import django; django.setup()\n"
        "from accounts import plans\n"
        "plan = dataclasses.replace(plans.STANDARD, batch_images=2)\n"
        "plans.plan_for = lambda user: plan\n"
        "from django.core.management import execute_from_command_line\n"
        "execute_from_command_line(['manage.py', 'runbatch', *sys.argv[1:]])\n"
    )
    line = [sys.executable, "-c", code, str(ROOT), *map(str, arguments)]
    return place.run_line(line, DJANGO_SETTINGS_MODULE="studio.settings", **env)


def test_files_and_folders_keep_their_tree_and_collisions_are_numbered(place, tmp_path, pictures):
    photos = fill(
        tmp_path / "photos",
        pictures,
        "a.jpg",
        "a.png",
        "sub/deep/c.jpg",
        ".hidden.jpg",
        ".git/d.jpg",
        "out/old.jpg",
    )
    others = fill(tmp_path / "others", pictures[4:], "a.jpg", "single.webp.jpg")
    (photos / "link.jpg").symlink_to(photos / "a.jpg")
    out = photos / "out"

    done = place.run(
        "runbatch",
        photos,
        others / "a.jpg",
        others / "single.webp.jpg",
        photos / "a.jpg",
        photos / ".hidden.jpg",
        *FAST,
        "--out",
        out,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == f"7 done. The results are in {out}.\n"
    assert tree(out) == {
        "old.jpg",
        "a.png",
        "a-2.png",
        "a-3.png",
        "link.png",
        "sub/deep/c.png",
        "single.webp.png",
        ".hidden.png",
    }
    sizes = {name: picture_at(out / name).size for name in ("a.png", "a-2.png", "a-3.png")}
    assert sizes == {
        "a.png": picture_at(photos / "a.jpg").size,
        "a-2.png": picture_at(photos / "a.png").size,
        "a-3.png": picture_at(others / "a.jpg").size,
    }
    assert (out / "a.png").read_bytes() == (out / "link.png").read_bytes()
    assert all(picture_at(out / name).mode == "RGBA" for name in sizes)
    assert money(place) == (19, 0, 6)  # 25 to begin with; the link is the same picture
    assert place.run("checkledger").returncode == 0
    assert place.processes() == {}


def test_failures_are_listed_with_their_codes_and_the_rest_is_saved(used_place, tmp_path, pictures):
    bad = fill(tmp_path / "mixed", pictures, "good.jpg", "sub/fine.jpg")
    (bad / "empty.jpg").write_bytes(b"")
    (bad / "letter.txt").write_text("Dear all")
    (bad / "sub" / "cut.jpg").write_bytes(pictures[0][:2000])
    Image.new("RGB", (64, 64), "white").save(bad / "sub" / "blank.png")

    done = used_place.run("runbatch", bad, *FAST, "--out", tmp_path / "out")

    assert done.returncode == 1
    assert done.stdout == ""
    listed = done.stderr[done.stderr.index("4 of 6 failed, and cost nothing:") :].splitlines()[1:]
    assert [(line.split(": ")[0].strip(), line.rsplit("[")[-1]) for line in listed] == [
        (str(bad / "empty.jpg"), "file_empty]"),
        (str(bad / "letter.txt"), "format_unsupported]"),
        (str(bad / "sub" / "blank.png"), "no_subject]"),
        (str(bad / "sub" / "cut.jpg"), "file_damaged]"),
    ]
    assert "The file is empty." in listed[0]
    assert tree(tmp_path / "out") == {"good.png", "sub/fine.png"}
    assert used_place.rows(
        "SELECT count(*), sum(price) FROM batches_item WHERE batch_id = "
        "(SELECT max(id) FROM batches_batch) AND state = 'done'"
    ) == [(2, 2)]


def test_no_source_is_overwritten_by_a_result(used_place, tmp_path, pictures):
    here = fill(tmp_path / "here", pictures, "a.png", "b.jpg", "sub/c.png")
    originals = {name: (here / name).read_bytes() for name in tree(here)}

    done = used_place.run("runbatch", here, *FAST, "--out", here)

    assert done.returncode == 0, done.stderr
    assert {name: (here / name).read_bytes() for name in originals} == originals
    assert tree(here) - set(originals) == {"a-2.png", "b.png", "sub/c-2.png"}


def test_a_format_that_is_asked_for_gives_the_ending(used_place, tmp_path, pictures):
    here = fill(tmp_path / "here", pictures, "a.jpg")

    done = used_place.run(
        "runbatch",
        here / "a.jpg",
        *FAST,
        "--set",
        "format=jpg",
        "--set",
        "background=#ffffff",
        "--out",
        tmp_path / "out",
    )

    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "out") == {"a.jpg"}
    assert picture_at(tmp_path / "out" / "a.jpg").format == "JPEG"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tool", "paint"], "There is no tool 'paint'. Choose one of: add-shadow, alt-text, "),
        ([*FAST, "--set", "size=3"], "Unknown setting. Choose one of: model, background, crop"),
        (["--tool", "remove-background", "--set", "model=best"], "Choose one of: u2net, u2netp"),
        ([*FAST, "--set", "quality=900"], "less than or equal to 100"),
        ([*FAST, "--set", "format=jpg"], "JPG can't be transparent. Choose PNG"),
        ([*FAST, "--set", "model"], "--set takes NAME=VALUE, not 'model'."),
        ([*FAST, "--user", "nobody@b.example"], "There is no account nobody@b.example."),
    ],
)
def test_what_can_not_be_done_is_refused_with_what_can(
    used_place, tmp_path, pictures, arguments, said
):
    here = fill(tmp_path / "here", pictures, "a.jpg")

    done = used_place.run("runbatch", here, *arguments, "--out", tmp_path / "out")

    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: ")
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


def test_places_without_files_and_files_in_the_way_are_refused(used_place, tmp_path, pictures):
    (tmp_path / "empty" / ".git").mkdir(parents=True)
    (tmp_path / "empty" / ".git" / "config").touch()
    here = fill(tmp_path / "here", pictures, "a.jpg")

    nothing = used_place.run("runbatch", tmp_path / "empty", *FAST, "--out", tmp_path / "out")
    nowhere = used_place.run("runbatch", here, here / "no", *FAST, "--out", tmp_path / "out")
    blocked = used_place.run("runbatch", here, *FAST, "--out", here / "a.jpg")

    assert (nothing.returncode, nowhere.returncode, blocked.returncode) == (1, 1, 1)
    assert nothing.stderr == "CommandError: There are no files in these places.\n"
    assert nowhere.stderr == f"CommandError: {here / 'no'} is not there.\n"
    assert blocked.stderr == f"CommandError: {here / 'a.jpg'} can't be used: File exists.\n"


def test_missing_weights_are_named_with_the_command_that_fetches_them(
    used_place, tmp_path, pictures
):
    here = fill(tmp_path / "here", pictures, "a.jpg")

    done = used_place.run(
        "runbatch", here, *FAST, "--out", tmp_path / "out", STUDIO_WEIGHTS_DIR=str(tmp_path)
    )

    assert done.returncode == 1
    assert "manage.py fetchweights u2netp" in done.stderr


def test_a_named_user_pays_if_there_is_enough_and_is_refused_before_anything_if_not(
    used_place, tmp_path, pictures
):
    here = fill(tmp_path / "here", pictures, "a.jpg", "b.jpg", "c.jpg")
    used_place.run("createapikey", "payer@b.example")
    line = (here, *FAST, "--out", tmp_path / "out", "--user", "Payer@b.example")
    batches = used_place.rows("SELECT count(*) FROM batches_batch")

    # The first of the two batches could be paid for, and still must not begin.
    refused = run_on_a_small_plan(used_place, *line, STUDIO_WELCOME_CREDITS="2")

    assert refused.returncode == 1
    assert refused.stderr.endswith("CommandError: Not enough credits: 3 needed, 2 left.\n")
    assert tree(tmp_path / "out") == set()
    assert used_place.rows("SELECT count(*) FROM batches_batch") == batches

    used_place.run("grantcredits", "payer@b.example", "1")
    local = used_place.rows("SELECT count(*) FROM credits_ledgerentry WHERE kind = 'hold'")
    paid = used_place.run("runbatch", *line)

    assert paid.returncode == 0, paid.stderr
    assert tree(tmp_path / "out") == {"a.png", "b.png", "c.png"}
    assert money(used_place, "payer@b.example") == (0, 0, 3)
    holds = used_place.rows("SELECT count(*) FROM credits_ledgerentry WHERE kind = 'hold'")
    assert holds[0][0] == local[0][0] + 1, "somebody else paid too"


def test_the_local_account_is_given_what_it_lacks_and_batches_are_as_large_as_the_plan_allows(
    place, tmp_path, pictures
):
    here = fill(tmp_path / "here", pictures, "a.jpg", "b.jpg", "c.jpg")

    done = run_on_a_small_plan(
        place, here, *FAST, "--out", tmp_path / "out", STUDIO_WELCOME_CREDITS="1"
    )

    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "out") == {"a.png", "b.png", "c.png"}
    assert money(place) == (0, 0, 3)
    assert place.rows(
        "SELECT count(*), batches_batch.state FROM batches_item JOIN batches_batch "
        "ON batch_id = batches_batch.id GROUP BY batch_id ORDER BY batch_id"
    ) == [(2, "finished"), (1, "finished")]


def test_ctrl_c_keeps_what_is_finished_gives_credits_back_and_leaves_nobody(
    place, tmp_path, pictures
):
    here = fill(tmp_path / "here", pictures, *(f"{number:02d}.jpg" for number in range(12)))
    out = tmp_path / "out"
    runner = place.start("runbatch", here, *FAST, "--out", out, STUDIO_ENGINE_WORKERS="1")
    eventually(lambda: out.exists() and tree(out))
    relatives = family(runner.pid)

    runner.send_signal(signal.SIGINT)
    said, _ = runner.communicate(timeout=30)

    kept = tree(out)
    assert runner.returncode == 130
    assert said.endswith("CommandError: Stopped. What was finished is kept.\n")
    assert 1 <= len(kept) < 12
    assert all(name.endswith(".png") for name in kept), "drafts were left"
    assert money(place) == (25 - len(kept), 0, len(kept))
    assert place.rows("SELECT state, count(*) FROM batches_item GROUP BY state ORDER BY state") == [
        ("cancelled", 12 - len(kept)),
        ("done", len(kept)),
    ]
    assert place.run("checkledger").returncode == 0
    assert any("valkey-server" in line or "valkey" in line for line in relatives.values())
    assert any("tools.engines.guard" in line for line in relatives.values())
    assert not [line for pid, line in relatives.items() if is_running(pid)]


def test_a_killed_runbatch_leaves_nobody(place, tmp_path, pictures):
    here = fill(tmp_path / "here", pictures, *(f"{number:02d}.jpg" for number in range(12)))
    runner = place.start("runbatch", here, *FAST, "--out", tmp_path / "out")
    eventually(lambda: (tmp_path / "out").exists() and tree(tmp_path / "out"))
    relatives = family(runner.pid)
    assert len(relatives) >= 4

    runner.kill()
    runner.communicate()

    eventually(lambda: not any(map(is_running, relatives)), seconds=5)


def test_a_place_that_can_not_be_written_ends_the_batch_and_gives_credits_back(
    place, tmp_path, pictures
):
    here = fill(tmp_path / "here", pictures, *(f"sub/{number}.jpg" for number in range(4)))
    out = fill(tmp_path / "out", pictures, "sub")

    done = place.run("runbatch", here, *FAST, "--out", out, STUDIO_ENGINE_WORKERS="1")

    assert done.returncode == 1
    assert "can't be written: " in done.stderr
    assert "Traceback" not in done.stderr
    assert tree(out) == {"sub"}
    assert money(place)[1] == 0
    assert place.rows("SELECT state FROM batches_batch") == [("cancelled",)]


def test_a_batch_that_somebody_else_cancels_ends_with_what_was_finished(place, tmp_path, pictures):
    here = fill(tmp_path / "here", pictures, *(f"{number:02d}.jpg" for number in range(12)))
    out = tmp_path / "out"
    runner = place.start("runbatch", here, *FAST, "--out", out, STUDIO_ENGINE_WORKERS="1")
    eventually(lambda: out.exists() and tree(out))

    place.shell(
        "from batches import lifecycle; from batches.models import Batch\n"
        "lifecycle.cancel(Batch.objects.get())"
    )
    said, _ = runner.communicate(timeout=30)

    assert runner.returncode == 1
    assert "Somebody cancelled the batch." in said
    assert money(place) == (25 - len(tree(out)), 0, len(tree(out)))


def test_two_at_once_on_an_empty_folder_share_workers_and_one_takes_over_from_the_other(
    place, tmp_path, pictures
):
    short = fill(tmp_path / "short", pictures, "a.jpg")
    long = fill(tmp_path / "long", pictures, *(f"{number:02d}.jpg" for number in range(8)))

    first = place.start("runbatch", short, *FAST, "--out", tmp_path / "out" / "short")
    eventually((place.data / "logs" / "valkey.log").exists)
    second = place.start("runbatch", long, *FAST, "--out", tmp_path / "out" / "long")
    ends = [runner.communicate(timeout=90)[0] for runner in (first, second)]

    assert (first.returncode, second.returncode) == (0, 0), ends
    assert (place.data / "run" / "supervisor.lock").read_text() == str(second.pid)
    assert len(tree(tmp_path / "out" / "short")) == 1
    assert len(tree(tmp_path / "out" / "long")) == 8
    assert place.run("checkledger").returncode == 0


def test_a_long_path_with_spaces_and_umlauts_runs_a_batch(new_place, tmp_path, pictures):
    far = new_place("Fotos für den Katalog; " * 6)
    here = fill(tmp_path / "here", pictures, "grüße an alle.jpg")

    done = far.run("runbatch", here, *FAST, "--out", tmp_path / "aus gabe")
    target = (far.data / "run" / "valkey.sock").readlink()
    target.parent.rmdir()  # as a restart of the machine would
    again = far.run("runbatch", here, *FAST, "--out", tmp_path / "aus gabe")

    assert len(os.fsencode(far.data)) > 100
    assert (done.returncode, again.returncode) == (0, 0), done.stderr + again.stderr
    assert tree(tmp_path / "aus gabe") == {"grüße an alle.png"}
    fresh = (far.data / "run" / "valkey.sock").readlink()
    assert fresh != target
    fresh.parent.rmdir()


def test_an_outside_valkey_is_used_and_no_other_is_started(
    place, tmp_path, pictures, settings, valkey
):
    here = fill(tmp_path / "here", pictures, "a.jpg")

    done = place.run(
        "runbatch",
        here,
        *FAST,
        "--out",
        tmp_path / "out",
        REDIS_URL=settings.RQ_QUEUES["io"]["URL"],
    )

    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "out") == {"a.png"}
    assert not (place.data / "valkey").exists()


def test_an_outside_valkey_that_does_not_answer_is_an_error_on_one_line(place, tmp_path, pictures):
    here = fill(tmp_path / "here", pictures, "a.jpg")

    done = place.run(
        "runbatch", here, *FAST, "--out", tmp_path / "out", REDIS_URL="redis://127.0.0.1:1/0"
    )

    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: The server that REDIS_URL names does not answer")
    assert place.processes() == {}


def test_a_tool_runs_on_the_best_kind_of_engine_that_there_is(used_place, tmp_path, pictures):
    here = fill(tmp_path / "here", pictures, "a.jpg")
    for log in (used_place.data / "logs").glob("?pu-*"):
        log.unlink()

    done = used_place.run(
        "runbatch",
        here,
        *FAST,
        "--out",
        tmp_path / "out",
        STUDIO_ENGINE_QUEUES="gpu,cpu",
        STUDIO_ENGINE_WORKERS="1",
    )

    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "out") == {"a.png"}
    assert {log.name for log in (used_place.data / "logs").glob("?pu-*")} == {"cpu-1.log"}


def test_where_only_gpus_serve_and_there_is_none_nothing_is_begun(used_place, tmp_path, pictures):
    here = fill(tmp_path / "here", pictures, "a.jpg")

    done = used_place.run(
        "runbatch", here, *FAST, "--out", tmp_path / "out", STUDIO_ENGINE_QUEUES="gpu"
    )

    assert done.returncode == 1
    assert "No GPU was found here, so nobody here runs remove-background." in done.stderr
    assert used_place.processes() == {}


# --- Names, without processes ---------------------------------------------------------------


def test_further_results_and_texts_have_names_too(alice, fake_tool, tmp_path):
    sources = [
        runbatch.Source(Path("x/a.jpg"), Path("x")),
        runbatch.Source(Path("x/a.bmp"), Path("x")),
        runbatch.Source(Path("a-2.jpg"), Path()),
    ]
    order = runbatch.Order(
        fake_tool, {"format": "webp"}, alice, top_up=True, out=tmp_path, pattern="", reuse=True
    )

    runbatch._name_stems(sources, order)
    names = runbatch._name_targets(sources, order, taken=["A-2.WEBP"])
    text = runbatch.Order(
        registry.get("fake-text"), {}, alice, top_up=True, out=tmp_path, pattern="", reuse=True
    )
    texts = [runbatch.Source(Path("a.jpg"), Path())]
    runbatch._name_stems(texts, text)
    runbatch._name_targets(texts, text, taken=[])

    assert [source.target for source in sources] == ["x/a.webp", "x/a-2.webp", "a-2-2.webp"]
    assert names.unique("x/a.webp") == "x/a-3.webp"
    assert texts[0].target == "a.txt"


def test_each_of_several_results_is_saved(alice, fake_tool, tmp_path):
    batch = factories.bare_batch(alice)
    item = factories.bare_item(batch)
    for position, text in enumerate(("first", "second", "third")):
        Result.objects.create(
            item=item, position=position, text=text, format="txt", bytes=5, sha256=""
        )
    source = runbatch.Source(Path("a.jpg"), Path("x"), target="x/a.txt")

    runbatch.Shelf([source], tmp_path, Names("x/a.txt")).save(item)

    assert {name: (tmp_path / name).read_text() for name in tree(tmp_path)} == {
        "x/a.txt": "first",
        "x/a-2.txt": "second",
        "x/a-3.txt": "third",
    }


def test_a_name_of_the_longest_kind_is_saved(alice, tmp_path):
    item = factories.bare_item(factories.bare_batch(alice))
    Result.objects.create(item=item, text="here", format="txt", bytes=4, sha256="")
    longest = "n" * 251 + ".txt"

    runbatch.Shelf(
        [runbatch.Source(Path(longest), Path(), target=longest)], tmp_path, Names()
    ).save(item)

    assert (tmp_path / longest).read_text() == "here"


def test_a_local_account_gets_credits_again_when_another_batch_took_them(
    alice, fake_tool, monkeypatch
):
    sources = [
        runbatch.Source(Path("a.png"), Path(), upload=str(factories.make_original(alice).uid))
    ]
    order = runbatch.Order(
        fake_tool, fake_tool.clean({}), alice, top_up=True, out=Path(), pattern="", reuse=True
    )
    available = ledger.balance(alice).available
    ledger.adjust(alice, -available, actor=alice, note="for the test", key="test:nothing left")
    grant, thieves = ledger.grant, [1]

    def grant_and_lose(*args, **kwargs):
        entry = grant(*args, **kwargs)
        if thieves:
            ledger.hold(alice, thieves.pop(), key="another batch", reference="")
        return entry

    monkeypatch.setattr(ledger, "grant", grant_and_lose)

    batch = runbatch._start_batch(order, sources)

    assert batch.state == "running"
    assert thieves == []
    assert ledger.balance(alice) == (0, 3)


def test_a_report_is_saved_as_json(used_place, tmp_path, pictures):
    photos = fill(tmp_path / "photos", pictures, "a.jpg")
    out = tmp_path / "out"

    done = used_place.run("runbatch", photos, "--tool", "image-review", "--out", out)

    assert done.returncode == 0, done.stderr
    assert tree(out) == {"a.json"}
    assert json.loads((out / "a.json").read_text())["rules"]


def test_a_setting_takes_a_picture_of_this_machine(used_place, tmp_path, pictures):
    photos = fill(tmp_path / "photos", pictures, "a.jpg")
    backdrop = tmp_path / "backdrop.png"
    Image.new("RGB", (64, 64), (0, 200, 0)).save(backdrop)
    out = tmp_path / "out"
    ask = ("runbatch", photos, "--tool", "replace-background", "--set", "shadow=no", "--out", out)

    done = used_place.run(*ask, "--set", f"background={backdrop}")
    lost = used_place.run(*ask, "--set", f"background={tmp_path / 'gone.png'}")
    broken = used_place.run(*ask, "--set", f"background={__file__}")

    assert done.returncode == 0, done.stderr
    red, green, blue = picture_at(out / "a.png").convert("RGB").getpixel((1, 1))
    assert green > red + 50
    assert green > blue + 50
    assert lost.returncode == 1
    assert "--set background: Give a colour" in lost.stderr
    assert "--set background: This is a" in broken.stderr


def test_a_file_takes_the_place_of_no_value(alice, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "marble").write_bytes(factories.picture())

    assert (
        runbatch._pictures(registry.get("replace-background"), {"background": "marble"}, alice)
        == {}
    )
