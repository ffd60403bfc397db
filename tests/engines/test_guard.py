import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from tests import images as pictures
from tests.engines.test_images import assert_upright
from tools.engines import guard as guarding
from tools.engines import images
from tools.engines.guard import Allowance, Guard, GuardLost
from tools.engines.images import ImageProblem, Limits


@pytest.fixture(scope="module")
def guard():
    with Guard() as guard:
        yield guard


@pytest.fixture
def own_guard():
    """A guard that a test may maltreat."""
    with Guard() as guard:
        yield guard


def server_of(guard):
    return psutil.Process(guard._server.process.pid)


def wait_until(condition, *, seconds=10):
    __tracebackhide__ = True
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def is_dead(pid):
    """Gone, or a zombie that nobody has reaped yet."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def run_script(script, *arguments):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


PLAIN_JPEG = {"kind": "jpg", "limits": images.LIMITS}


# --- verdicts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("case", pictures.accepted(), ids=str)
def test_odd_files_that_are_good_are_taken(guard, case):
    data = case.make()

    found = guard.inspect(data)

    assert found.format == case.format
    assert found.bytes == len(data)
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    thumbnail = images.read(found.thumbnail)
    assert max(thumbnail.size) <= 320
    kept = images.read(found.normalised or data)
    assert kept.size == (found.width, found.height)


@pytest.mark.parametrize("case", [*pictures.refused(), *pictures.halves()], ids=str)
def test_files_that_are_bad_are_refused_with_the_right_code(guard, case):
    data = case.make()

    with pytest.raises(ImageProblem) as problem:
        guard.inspect(data)

    assert problem.value.code in case.outcomes
    if case.format:
        assert problem.value.params == {"format": case.format}
    assert guard.inspect(pictures.file(pictures.scene())).width == 96


def test_refusals_carry_the_figures_for_their_wording(guard):
    problems = {}
    for name, data in {
        "large": pictures.png(8500, 6000, depth=1, colour=0),
        "small": pictures.png(7, 100),
        "heavy": bytes(21 * 2**20),
    }.items():
        with pytest.raises(ImageProblem) as problem:
            guard.inspect(data)
        problems[name] = problem.value.params

    assert problems["large"] == {"w": 8500, "h": 6000, "max": 50, "max_side": 16_384}
    assert problems["small"] == {"w": 7, "h": 100, "min": 8}
    assert problems["heavy"] == {"size": 21.0, "max": 20}


def test_limits_are_the_callers(guard):
    data = pictures.file(pictures.photo(640, 480))

    for limits in (Limits(max_pixels=300_000), Limits(max_side=639), Limits(max_bytes=1000)):
        with pytest.raises(ImageProblem, match="too_large"):
            guard.inspect(data, limits=limits)
    with pytest.raises(ImageProblem, match="too_small"):
        guard.inspect(data, limits=Limits(min_side=481))


def test_flipped_bits_are_taken_or_refused_and_never_harm(guard):
    verdicts = Counter()

    for data in pictures.every_format().values():
        for seed in range(12):
            try:
                guard.inspect(pictures.flipped(data, seed=seed))
                verdicts["ok"] += 1
            except ImageProblem as problem:
                verdicts[problem.code] += 1

    assert verdicts["ok"] > 10  # wrong pixels, right form
    assert verdicts["file_damaged"] > 10
    assert verdicts.keys() <= {
        "ok",
        "file_damaged",
        "dimensions_too_large",
        "dimensions_too_small",
        "image_animated",
        "format_unsupported",
    }


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 2}], ids=str
)
def test_checking_a_jpeg_at_a_smaller_scale_finds_what_decoding_it_would(options):
    data = pictures.file(pictures.photo(1200, 900), **options)

    def verdict(look):
        try:
            look()
        except ImageProblem as problem:
            return problem.code
        return "ok"

    verdicts = []
    for seed in range(25):
        broken = pictures.flipped(data, seed=seed, bits=1 + seed % 9)
        broken = broken[: len(broken) - seed // 2 * 200]
        drafted = verdict(partial(guarding.examine, io.BytesIO(broken), **PLAIN_JPEG))
        verdicts.append((drafted, verdict(partial(images.read, broken))))

    assert all(drafted == decoded for drafted, decoded in verdicts)
    assert {drafted for drafted, _ in verdicts} == {"ok", "file_damaged"}


# --- what is kept in place of a file ----------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        pictures.file(pictures.photo()),
        pictures.file(pictures.photo(), exif=pictures.exif(1)),
        pictures.file(pictures.photo().convert("L")),
        pictures.file(pictures.photo(), icc_profile=pictures.srgb_by_another_name()),
        pictures.file(pictures.photo(), icc_profile=b"x" * 500),
        pictures.file(pictures.scene(mode="RGBA"), "PNG"),
        pictures.file(pictures.scene().quantize(8), "PNG"),
        pictures.file(pictures.scene(mode="RGBA"), "WEBP"),
        pictures.file(pictures.scene(), "AVIF"),
        pictures.file(pictures.scene(), "MPO"),
    ],
    ids=["JPEG", "EXIF", "grey", "sRGB", "broken", "PNG", "palette", "WebP", "AVIF", "MPO"],
)
def test_a_file_that_everybody_shows_alike_stays_as_it_is(guard, data):
    assert guard.inspect(data).normalised is None


@pytest.mark.parametrize(
    "data",
    [
        pictures.file(pictures.scene(), icc_profile=pictures.display_p3()),
        pictures.file(pictures.scene(mode="CMYK")),
        pictures.file(pictures.scene(), "PNG", icc_profile=pictures.display_p3()),
        pictures.deep_png(pictures.ramp()),
        pictures.deep_png(np.dstack([pictures.ramp()] * 3)),
        pictures.file(pictures.scene(), "HEIF"),
        pictures.file(pictures.scene(), "TIFF"),
        pictures.file(pictures.scene(), "BMP"),
        pictures.file(pictures.scene().quantize(16), "GIF"),
    ],
    ids=["P3", "CMYK", "P3 PNG", "16-bit grey", "16-bit colour", "HEIC", "TIFF", "BMP", "GIF"],
)
def test_a_file_that_is_not_shown_alike_is_replaced_by_the_picture_that_read_gives(guard, data):
    found = guard.inspect(data)

    assert images.recognise(found.normalised) == "png"
    assert images.read(found.normalised).tobytes() == images.read(data).tobytes()
    assert found.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_photo_is_replaced_by_an_upright_one(guard, orientation):
    stored, exif = pictures.stored_turned(pictures.scene(), orientation)

    found = guard.inspect(pictures.file(stored, exif=exif))

    assert (found.width, found.height) == (96, 64)
    assert_upright(images.read(found.normalised))
    assert_upright(images.read(found.thumbnail))


@pytest.mark.parametrize("size", [(4000, 3000), (3000, 4000), (1500, 1000), (500, 400), (8000, 9)])
def test_thumbnails_of_large_jpegs_are_full_size_and_right(guard, size):
    picture = pictures.scene(*size)

    found = guard.inspect(pictures.file(picture))

    thumbnail = images.read(found.thumbnail)
    assert (found.width, found.height) == size
    assert thumbnail.size == images.read(images.thumbnail(picture)).size
    if size[0] > size[1] > 100:
        assert_upright(thumbnail)


def test_a_path_is_looked_at_like_bytes(guard, tmp_path):
    path = tmp_path / "picture.txt"
    path.write_bytes(pictures.file(pictures.photo(1000, 800)))

    assert guard.inspect(path) == guard.inspect(str(path))
    assert guard.inspect(path).thumbnail == guard.inspect(path.read_bytes()).thumbnail
    assert guard.inspect(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_path_to_nothing_is_the_callers_mistake(guard, tmp_path):
    with pytest.raises(FileNotFoundError):
        guard.inspect(tmp_path / "nothing.jpg")


# --- limits of the child ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: pictures.file(
            Image.new("CMYK", (8000, 6250), (9, 90, 200, 3)), exif=pictures.exif(6)
        ),
        lambda: pictures.file(
            Image.new("RGBA", (8000, 6250), (9, 90, 200, 30)),
            "WEBP",
            lossless=True,
            quality=0,
            method=0,
        ),
        lambda: pictures.file(Image.new("F", (8000, 6250), 0.5), "TIFF", compression="tiff_lzw"),
    ],
    ids=["turned CMYK JPEG", "WebP with alpha", "TIFF of floats"],
)
def test_fifty_megapixels_of_the_hungriest_kinds_fit(guard, make, record_property):
    found = guard.inspect(make())

    record_property("peak_memory", found.peak_memory)
    assert found.width * found.height == 50_000_000
    assert 200 * 2**20 < found.peak_memory < 1200 * 2**20


def test_a_picture_that_needs_more_memory_than_there_is_is_called_too_large(guard):
    data = pictures.png(30_000, 30_000, depth=1, colour=0)

    with pytest.raises(ImageProblem) as problem:
        guard.inspect(data, limits=Limits(max_pixels=10**9, max_side=10**5))

    assert problem.value.code == "dimensions_too_large"
    assert problem.value.params["w"] == 30_000
    assert "MemoryError" in problem.value.detail


@pytest.mark.parametrize(
    ("allowance", "ended_by"),
    [(Allowance(cpu_seconds=1), "SIGXCPU"), (Allowance(seconds=0.05), "SIGALRM")],
    ids=["CPU", "clock"],
)
def test_a_picture_that_takes_too_long_is_called_damaged_and_not_tried_again(
    allowance, ended_by, caplog
):
    data = pictures.scan_bomb(5000)

    with Guard(allowance=allowance) as guard, pytest.raises(ImageProblem) as problem:
        guard.inspect(data)

    assert problem.value.code == "file_damaged"
    assert ended_by in problem.value.detail
    assert not caplog.records


def test_a_confined_process_can_open_write_and_start_nothing(tmp_path):
    script = """
import json, os, resource, socket, sys
from tools.engines import confinement
confinement.prepare()
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
done = []
def attempt(name, action):
    try:
        action()
        done.append(name)
    except (OSError, MemoryError):
        pass
confinement.confine(memory=1536 * 2**20, cpu_seconds=10, seconds=20.0)
confinement.end_with(os.getppid())
if os.getuid() == 0:
    done.append("stayed root")
attempt("opened", lambda: open("/etc/passwd"))
attempt("connected", socket.socket)
attempt("wrote", lambda: os.write(file, b"x"))
attempt("took memory", lambda: bytearray(2 * 2**30))
attempt("killed", lambda: os.kill(os.getppid(), 0))
attempt("forked", lambda: os.fork() or os._exit(0))
if resource.getrlimit(resource.RLIMIT_CORE) != (0, 0):
    done.append("dumped")
print(json.dumps(done))
"""

    done = json.loads(run_script(script, tmp_path / "file"))

    if os.getuid():
        done = [name for name in done if name != "killed"]  # needs another user to become
    assert done == []


def test_a_child_holds_nothing_but_its_file_and_its_answer():
    script = """
import dataclasses, json, os, socket
from tools.engines import guard, images
guard._preload()
def tell_what_is_held(file, *, kind, limits):
    held = []
    for number in range(1024):
        try:
            os.fstat(number)
            held.append(number)
        except OSError:
            pass
    raise images.ImageProblem("file_damaged", detail=json.dumps([held, os.getuid()]))
guard.examine = tell_what_is_held
others = [socket.socketpair() for _ in range(20)]
file = os.memfd_create("original")
os.write(file, b"x")
answer, answer_in = os.pipe()
allowance, limits = map(dataclasses.asdict, (guard.ALLOWANCE, images.LIMITS))
guard._fork(json.dumps(["jpg", limits, allowance, False]).encode(), file, answer_in)
os.close(answer_in)
print(json.loads(os.read(answer, 65536)[guard._REPLY.size:])["detail"])
"""

    held, user = json.loads(run_script(script))

    assert held == [0, 1, 2, 3, 4]  # the file twice: its mapping keeps it open too
    assert user == (os.getuid() or 65534)


def test_the_child_needs_no_module_that_the_server_has_not_loaded(tmp_path):
    for number, case in enumerate([*pictures.accepted(), *pictures.refused(), *pictures.halves()]):
        (tmp_path / f"{number:03}").write_bytes(case.make())
    script = """
import pathlib, sys
from tools.engines import guard, images
guard._preload()
loaded = set(sys.modules)
looked_at = 0
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    try:
        kind = images.check_format(path.read_bytes()[:images.HEAD_BYTES])
        with path.open("rb") as file:
            guard.examine(file, kind=kind, limits=images.LIMITS)
    except images.ImageProblem:
        pass
    looked_at += 1
print(looked_at, *sorted(set(sys.modules) - loaded))
"""

    looked_at, *missing = run_script(script, tmp_path).split()

    assert int(looked_at) > 100
    assert missing == []


def test_the_server_sees_no_secret_of_its_client(own_guard, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "of-the-site")
    own_guard.start()

    environment = server_of(own_guard).environ()

    assert "PATH" in environment
    assert "of-the-site" not in str(environment)


@pytest.mark.parametrize(
    "findings",
    [
        b"",
        b"no json",
        b"[]",
        b"null",
        b"{}",
        b'{"width": 8, "height": "high"}',
        b'{"width": 8, "height": 99999}',
        b'{"width": -8, "height": 8}',
        b'{"problem": "please_pay", "params": {}, "detail": ""}',
        b'{"problem": "file_damaged"}',
        b"\xff\xfe",
    ],
)
def test_a_child_that_was_taken_over_can_only_have_its_file_refused(findings):
    with pytest.raises(ImageProblem) as problem:
        guarding._understood(findings, limits=images.LIMITS)

    assert problem.value.code == "file_damaged"


# --- kills from outside -----------------------------------------------------------------------


def test_a_server_killed_midway_is_replaced_and_the_image_succeeds(own_guard, monkeypatch):
    own_guard.start()
    first = server_of(own_guard)
    process = own_guard._server.process
    first.suspend()  # it will take the request, and not answer it
    sent = threading.Event()
    send = guarding._Call.send

    def tell(*arguments):
        send(*arguments)
        sent.set()

    monkeypatch.setattr(guarding._Call, "send", tell)

    with ThreadPoolExecutor() as threads:
        answer = threads.submit(own_guard.inspect, pictures.file(pictures.photo()))
        assert sent.wait(10)
        first.kill()
        found = answer.result(timeout=20)

    assert process.returncode == -signal.SIGKILL
    assert found.width == 640
    assert server_of(own_guard).pid != first.pid


@pytest.fixture
def kill_children(own_guard, monkeypatch):
    """Has the next so many children killed while they are at work; says how many were."""
    killed = []
    orders = {"left": 0}
    answer = guarding._Call.answer

    def kill_first(call, *, limits):
        if orders["left"]:
            orders["left"] -= 1
            # It can't end before: what it has to tell is more than a pipe holds.
            wait_until(lambda: server_of(own_guard).children())
            (child,) = server_of(own_guard).children()
            child.kill()
            killed.append(child.pid)
        return answer(call, limits=limits)

    monkeypatch.setattr(guarding._Call, "answer", kill_first)

    def order(number):
        orders["left"] = number
        return killed

    return order


def test_a_child_killed_midway_is_no_fault_of_the_image(own_guard, kill_children, caplog):
    data = pictures.file(pictures.photo(1200, 900), "BMP")
    own_guard.start()
    server = server_of(own_guard)
    killed = kill_children(2)

    found = own_guard.inspect(data)

    assert len(killed) == 2
    assert [record.message for record in caplog.records] == [
        "Guard interrupted: the child ended with -9"
    ] * 2
    assert len(found.normalised) > 2**17
    assert server_of(own_guard) == server


def test_a_guard_that_is_killed_every_time_gives_up_without_blaming_the_image(
    own_guard, kill_children
):
    data = pictures.file(pictures.photo(1200, 900), "BMP")
    killed = kill_children(99)

    with pytest.raises(GuardLost):
        own_guard.inspect(data)

    assert len(killed) == 3


def test_a_server_that_hangs_is_replaced(monkeypatch):
    monkeypatch.setattr(guarding, "_PATIENCE", 2.0)
    with Guard(allowance=Allowance(seconds=1.0)) as guard:
        guard.start()
        first = server_of(guard)
        first.suspend()

        found = guard.inspect(pictures.file(pictures.scene()))

        assert found.width == 96
        assert server_of(guard) != first
        assert is_dead(first.pid)


def test_a_fault_of_the_guard_itself_is_not_the_images(caplog):
    # An allowance that can't be set: the child fails before it has looked at the file.
    with Guard(allowance=Allowance(memory="much")) as guard, pytest.raises(GuardLost):
        guard.inspect(pictures.file(pictures.scene()))

    assert "TypeError" in caplog.text


def test_the_server_ends_when_its_client_is_killed():
    script = """
import sys, time
from tests import images as pictures
from tools.engines import guard
guard.inspect(pictures.file(pictures.scene()))
print(guard._shared._server.process.pid, flush=True)
time.sleep(60)
"""
    client = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    with client:
        server = int(client.stdout.readline())
        assert not is_dead(server)

        client.kill()

        wait_until(lambda: is_dead(server))


def test_the_server_outlives_the_thread_that_started_it(own_guard):
    data = pictures.file(pictures.scene())
    thread = threading.Thread(target=own_guard.inspect, args=(data,))
    thread.start()
    thread.join()
    server = server_of(own_guard)

    own_guard.inspect(data)

    assert server_of(own_guard) == server


def test_closing_ends_the_server_and_all_further_questions():
    guard = Guard()
    guard.inspect(pictures.file(pictures.scene()))
    server = server_of(guard)

    guard.close()

    assert is_dead(server.pid)
    with pytest.raises(GuardLost):
        guard.inspect(pictures.file(pictures.scene()))


# --- company ----------------------------------------------------------------------------------


def test_eight_threads_get_their_own_answers(guard):
    files = [pictures.file(pictures.photo(200 + n, 150 + n, seed=n)) for n in range(24)]
    files[5] = files[5][:2000]
    files[11] = b"no image"

    def look(data):
        try:
            return guard.inspect(data)
        except ImageProblem as problem:
            return problem.code

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(look, files))

    assert answers[5] == "file_damaged"
    assert answers[11] == "format_unsupported"
    for number in set(range(24)) - {5, 11}:
        assert answers[number].width == 200 + number
        assert answers[number].sha256 == hashlib.sha256(files[number]).hexdigest()


def test_nothing_is_left_behind(guard):
    good, bad = pictures.file(pictures.photo()), pictures.file(pictures.photo())[:3000]
    guard.inspect(good)
    server = server_of(guard)
    before = len(list(Path("/proc/self/fd").iterdir())), server.num_fds()

    for _ in range(10):
        guard.inspect(good)
        with pytest.raises(ImageProblem):
            guard.inspect(bad)

    wait_until(lambda: not server.children())
    wait_until(lambda: server.num_fds() <= before[1])
    assert len(list(Path("/proc/self/fd").iterdir())) == before[0]


def test_a_forked_process_starts_a_guard_of_its_own_and_the_parents_goes_on():
    script = """
import os, sys
from tests import images as pictures
from tools.engines import guard
data = pictures.file(pictures.scene())
guard.inspect(data)
ours = guard._shared._server.process.pid
with guard._shared._lock:  # as another thread might at the moment of the fork
    child = os.fork()
    if child == 0:
        assert guard.inspect(data).width == 96
        assert guard._shared._server.process.pid != ours
        sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert guard.inspect(data).width == 96
assert guard._shared._server.process.pid == ours
print("fine")
"""

    assert run_script(script) == "fine\n"


def test_the_guard_works_from_any_folder_and_without_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)

    with Guard() as guard:
        assert guard.inspect(pictures.file(pictures.scene())).width == 96
