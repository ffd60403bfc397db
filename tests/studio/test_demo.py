"""`manage.py demo`: one command, and a newcomer sees photos lose their backgrounds."""

import http.client
import json
import re
import signal
import stat
import sys
import zipfile
from pathlib import Path
from urllib.parse import urlencode

import pytest
from PIL import Image

from batches import samples
from tests.studio.conftest import eventually, family, free_port, is_running

pytestmark = pytest.mark.worker

ROOT = Path(__file__).parents[2]
STEMS = {"coffee", "astronaut", "chelsea", "rocket", "camera", "retina"}


@pytest.fixture(scope="module")
def first_run(used_place):
    """`DEMO_EXIT=1 manage.py demo` on an empty folder, run to its end."""
    done = used_place.run("demo", DEMO_EXIT="1", STUDIO_PORT=str(used_place.port))
    assert used_place.processes() == {}
    return done


@pytest.fixture(scope="module")
def serving(used_place, first_run):
    """A second run on the same folder, which goes on serving; and what it said."""
    boss = used_place.start("demo", STUDIO_PORT=str(used_place.port))
    said = ""
    while "Ctrl-C stops the demo." not in said:
        line = boss.stdout.readline()
        assert line, said
        said += line
    yield boss, said
    boss.kill()
    boss.communicate()


def told(said: str, label: str) -> str:
    return re.search(rf"^  {label}\s+(.*)$", said, re.MULTILINE)[1]


def test_the_sample_photos_are_real_ones_that_the_package_carries():
    photos = list(samples.photos())

    assert {photo.stem for photo in photos} == STEMS
    for photo in photos:
        with Image.open(photo) as picture:
            assert min(picture.size) >= 300


def test_every_photo_is_cut_out_and_the_command_ends_with_0(used_place, first_run):
    folder = used_place.data / "demo"

    assert first_run.returncode == 0, first_run.stderr
    assert {path.name for path in folder.iterdir()} == {
        "api-key",
        "password",
        "results.zip",
        *(f"{stem}.png" for stem in STEMS),
    }
    for stem in STEMS:
        with Image.open(folder / f"{stem}.png") as cut:
            cut.load()
            assert cut.mode == "RGBA"
            low, high = cut.getchannel("A").getextrema()
            assert low < 5, "nothing was removed"
            assert high > 250, "nothing was left"


def test_the_archive_holds_the_same_cut_outs(used_place, first_run):
    folder = used_place.data / "demo"

    with zipfile.ZipFile(folder / "results.zip") as archive:
        assert archive.testzip() is None
        pictures = {name for name in archive.namelist() if name.endswith(".png")}
        assert pictures == {f"{stem}.png" for stem in STEMS}
        for name in pictures:
            assert archive.read(name) == (folder / name).read_bytes()


def test_it_says_where_everything_is_and_shows_a_bar(used_place, first_run):
    said = first_run.stdout

    assert told(said, "Studio") == f"http://127.0.0.1:{used_place.port}/"
    assert told(said, "Sign in").startswith("demo@example.com, password ")
    assert told(said, "API key") == (used_place.data / "demo" / "api-key").read_text().strip()
    assert told(said, "Cut-outs") == str(used_place.data / "demo")
    assert told(said, "Archive") == str(used_place.data / "demo" / "results.zip")
    assert "Ctrl-C" not in said
    assert re.search(r"Sample photos: 100%.* 6/6 ", first_run.stderr)


def test_what_opens_the_site_is_readable_by_its_owner_alone(used_place, first_run):
    for name in ("api-key", "password"):
        assert stat.S_IMODE((used_place.data / "demo" / name).stat().st_mode) == 0o600


def test_the_key_is_the_same_next_time_and_works(used_place, first_run, serving):
    _boss, said = serving
    key = told(said, "API key")

    status, body = used_place.get("/api/v1/me", Authorization=f"Bearer {key}")

    assert key == told(first_run.stdout, "API key")
    assert status == 200
    me = json.loads(body)
    assert me["email"] == "demo@example.com"
    assert me["credits"]["available"] > 900
    batches = used_place.get("/api/v1/batches", Authorization=f"Bearer {key}")[1]
    assert [batch["counts"]["done"] for batch in json.loads(batches)["results"]] == [6, 6]


def test_the_password_it_prints_opens_the_site(used_place, serving):
    _boss, said = serving
    email, password = told(said, "Sign in").split(", password ")
    visitor = http.client.HTTPConnection("127.0.0.1", used_place.port, timeout=10)

    visitor.request("GET", "/accounts/login/")
    page = visitor.getresponse()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.read().decode())[1]
    form = urlencode(
        {"username": email, "password": password, "csrfmiddlewaretoken": token, "next": "/"}
    )
    visitor.request(
        "POST",
        "/accounts/login/",
        body=form,
        headers={
            "Cookie": page.headers["Set-Cookie"].split(";")[0],
            "Content-Type": "application/x-www-form-urlencoded",
        },
    )
    answer = visitor.getresponse()
    visitor.close()

    assert answer.status == 302, "it is not let in"
    assert any(cookie.startswith("sessionid=") for cookie in answer.headers.get_all("Set-Cookie"))


def test_a_second_demo_on_the_same_folder_says_so_and_harms_nothing(used_place, serving):
    boss, _said = serving
    archive = (used_place.data / "demo" / "results.zip").read_bytes()

    second = used_place.run("demo", "--exit", STUDIO_PORT=str(free_port()))

    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr.startswith("CommandError: A studio is running already on ")
    assert second.stderr.count("\n") == 1
    assert (used_place.data / "demo" / "results.zip").read_bytes() == archive
    assert boss.poll() is None
    assert used_place.health() == (200, [])


def test_ctrl_c_ends_it_and_everything_with_it(used_place, serving):
    boss, _said = serving
    relatives = family(boss.pid)

    boss.send_signal(signal.SIGINT)
    said, _ = boss.communicate(timeout=30)

    assert boss.returncode == 0
    assert said == "Stopping …\n"
    assert not any(map(is_running, relatives))


def test_ctrl_c_during_the_sample_ends_it_at_once_and_gives_credits_back(used_place, first_run):
    boss = used_place.start("demo", "--exit", STUDIO_PORT=str(used_place.port))
    eventually(
        lambda: used_place.rows("SELECT 1 FROM credits_creditaccount WHERE held > 0"), seconds=150
    )

    boss.send_signal(signal.SIGINT)
    said, _ = boss.communicate(timeout=30)

    assert boss.returncode == 1
    assert "Traceback" not in said
    assert "Studio    " not in said
    assert used_place.rows("SELECT held FROM credits_creditaccount") == [(0,)]
    assert used_place.processes() == {}


def test_a_photo_that_fails_is_named_and_ends_it_with_1(used_place, first_run, tmp_path, pictures):
    Image.new("RGB", (64, 64), "white").save(tmp_path / "blank.png")
    (tmp_path / "good.jpg").write_bytes(pictures[0])
    code = (
        "import pathlib, sys; sys.path.insert(0, sys.argv[1])\n"
        "import django; django.setup()\n"
        "from batches import samples\n"
        "samples.photos = lambda: sorted(pathlib.Path(sys.argv[2]).glob('*.*'))\n"
        "from django.core.management import execute_from_command_line\n"
        "execute_from_command_line(['manage.py', 'demo'])\n"
    )

    done = used_place.run_line(
        [sys.executable, "-c", code, str(ROOT), str(tmp_path)],
        DEMO_EXIT="1",
        STUDIO_PORT=str(free_port()),
        DJANGO_SETTINGS_MODULE="studio.settings",
    )

    assert done.returncode == 1
    assert "1 of 2 photos failed:\n  blank.png: " in done.stderr
    assert "[no_subject]" in done.stderr
    assert (used_place.data / "demo" / "good.png").exists()


def test_missing_weights_are_named_with_the_command_that_fetches_them(used_place, tmp_path):
    done = used_place.run(
        "demo", "--exit", STUDIO_WEIGHTS_DIR=str(tmp_path), STUDIO_PORT=str(free_port())
    )

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "manage.py fetchweights u2net" in done.stderr


def test_a_key_that_was_revoked_is_replaced(used_place, first_run):
    old = (used_place.data / "demo" / "api-key").read_text().strip()
    told_by = (
        "from pathlib import Path; from studio.management.commands.demo import Guest\n"
        f"print(Guest(Path({str(used_place.data / 'demo')!r})).key)"
    )
    assert used_place.shell(told_by) == old

    used_place.shell(
        "from django.utils import timezone; from accounts.models import ApiKey\n"
        "ApiKey.objects.update(revoked_at=timezone.now())"
    )
    new = used_place.shell(told_by)

    assert new not in {old, ""}
    assert (used_place.data / "demo" / "api-key").read_text().strip() == new
