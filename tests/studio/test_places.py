"""Where things lie, and that they are made once, closed to others, and found again."""

import os
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from studio.places import LONGEST_SOCKET_PATH, DataDirectory

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(tmp_path):
    directory = DataDirectory(tmp_path / "data")
    directory.prepare()
    return directory


@pytest.fixture
def far(tmp_path, monkeypatch):
    """A data directory whose socket has too long a path; temporary folders lie in `tmp_path`."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    directory = DataDirectory(tmp_path / ("long-" * 30) / "data")
    directory.prepare()
    return directory


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def can_be_bound(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    path.unlink()
    return True


def test_everything_lies_in_the_data_directory_which_is_made_when_it_is_missing(tmp_path):
    directory = DataDirectory(tmp_path / "not" / "there" / "yet")

    directory.prepare()

    assert {path.name for path in directory.root.iterdir()} == {"logs", "media", "run"}
    for path in (directory.database, directory.media, directory.run, directory.logs):
        assert path.is_relative_to(directory.root)


def test_files_of_others_in_the_data_directory_are_left_alone(data):
    (data.root / "holiday.jpg").write_text("mine")
    (data.run / "notes").write_text("mine too")

    data.prepare()
    data.secret_key()
    data.socket()

    assert (data.root / "holiday.jpg").read_text() == "mine"
    assert (data.run / "notes").read_text() == "mine too"


def test_the_folder_of_sockets_is_closed_to_others_even_if_it_was_open(data):
    data.run.chmod(0o755)

    data.prepare()

    assert mode(data.run) == 0o700


def test_the_folder_of_sockets_is_closed_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        DataDirectory(tmp_path / "data").prepare()
    finally:
        os.umask(before)

    assert mode(tmp_path / "data" / "run") == 0o700


def test_the_secret_key_is_made_once_and_only_its_owner_reads_it(data):
    first = data.secret_key()

    again = DataDirectory(data.root).secret_key()

    assert again == first
    assert len(first) >= 50
    assert mode(data.root / "secret-key") == 0o600
    assert [path.name for path in data.root.glob(".secret*")] == []


def test_two_data_directories_have_two_secret_keys(data, tmp_path):
    other = DataDirectory(tmp_path / "other")
    other.prepare()

    assert other.secret_key() != data.secret_key()


def test_eight_processes_that_make_the_secret_key_at_once_agree_on_one(tmp_path):
    code = (
        "import sys; from pathlib import Path; from studio.places import DataDirectory\n"
        "here = DataDirectory(Path(sys.argv[1]))\n"
        "print('ready', flush=True); sys.stdin.read()\n"
        "here.prepare(); print(here.secret_key())"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "data")],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 8

    for racer in racers:
        racer.stdin.close()
    keys = set()
    for racer in racers:
        with racer:
            keys.add(racer.stdout.read())
        assert racer.returncode == 0

    assert len(keys) == 1
    assert keys == {(tmp_path / "data" / "secret-key").read_text() + "\n"}
    assert [path.name for path in (tmp_path / "data").glob(".secret*")] == []


def test_a_short_socket_path_lies_in_the_data_directory(data):
    assert data.socket() == data.run / "valkey.sock"


def test_a_path_of_a_hundred_bytes_is_used_and_one_more_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spare = LONGEST_SOCKET_PATH - len(os.fsencode(tmp_path)) - len("//run/valkey.sock")
    fits = DataDirectory(tmp_path / ("a" * spare))
    fits.prepare()
    beyond = DataDirectory(tmp_path / ("a" * (spare - 1) + "é"))  # one more byte, not character
    beyond.prepare()

    assert len(os.fsencode(fits.socket())) == 100
    assert fits.socket() == fits.run / "valkey.sock"
    assert beyond.socket().parent.parent == tmp_path
    assert can_be_bound(fits.socket())
    assert can_be_bound(beyond.socket())


def test_a_long_path_is_replaced_by_a_private_folder_that_is_linked_and_kept(far, tmp_path):
    chosen = far.socket()

    assert len(os.fsencode(chosen)) <= LONGEST_SOCKET_PATH
    assert chosen.parent.parent == tmp_path
    assert mode(chosen.parent) == 0o700
    assert (far.run / "valkey.sock").readlink() == chosen
    assert DataDirectory(far.root).socket() == chosen
    assert can_be_bound(chosen)


def test_a_link_to_a_folder_that_is_gone_is_replaced(far):
    gone = far.socket()
    gone.parent.rmdir()

    chosen = far.socket()

    assert chosen != gone
    assert mode(chosen.parent) == 0o700
    assert (far.run / "valkey.sock").readlink() == chosen


def test_a_link_to_a_folder_that_others_can_open_is_not_followed(far):
    opened = far.socket()
    opened.parent.chmod(0o755)

    assert far.socket().parent != opened.parent


def test_a_link_to_a_link_is_not_followed(far, tmp_path):
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (tmp_path / "detour").symlink_to(private)
    (far.run / "valkey.sock").symlink_to(tmp_path / "detour" / "valkey.sock")

    assert far.socket().parent not in {private, tmp_path / "detour"}


def test_a_socket_from_before_the_directory_was_moved_is_no_obstacle(far):
    (far.run / "valkey.sock").write_text("left by a server that was killed under a shorter path")

    chosen = far.socket()

    assert (far.run / "valkey.sock").readlink() == chosen
