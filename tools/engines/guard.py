"""Look at a file from outside, in a process that can do no harm, before anything else does.

Decoders are large C programs, and uploads are what strangers send. So each file is decoded in a
process of its own that has little memory, little time, no descriptors but the file's and the
answer's and, when the program runs as root, no privileges; it ends with that one file. Such a
process must be cheap, or it would cost more than the decoding:

* A small *server* (``python -m tools.engines.guard``) has imported every decoder once, never a
  model runtime, and has one thread. Each file gets a fork of it, about two milliseconds.
* A request is one message on a SEQPACKET socket with three descriptors: the file, a pipe for the
  findings and a pipe for the exit status. The child writes to the first, the server to the second
  when it has reaped the child. A full answer counts at once; an answer cut short is explained by
  the status. Nothing has to be matched up, so threads share the socket.
* The descriptors tell who died. End of both pipes without a status: the server itself.

A child that breaks its own limits, or crashes, speaks against its file: ``file_damaged``, or
``dimensions_too_large`` where memory ran out. A child or server that somebody else killed says
nothing of the file: it is tried again, on a new server if need be, three times in all; then
`GuardLost` is raised, and the file may be tried later.

A plain JPEG, the usual case, is checked and shrunk in one go: the decoder reads every byte of the
file, but computes only as many pixels as the thumbnail needs, a third less work. What is wrong
with a JPEG shows while its bytes are read: on damaged ones both ways give the same verdict.

The server lives no longer than its client, however that one ends: it watches the client's pidfd
(a parent-death signal would fire when the *thread* that started it ends) and the socket.
"""

import atexit
import builtins
import gc
import hashlib
import importlib
import io
import json
import logging
import mmap
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn, Self, cast

from PIL import Image

from . import confinement, images
from .images import LIMITS, ImageProblem, Limits

logger = logging.getLogger(__name__)

_ATTEMPTS: Final = 3
_PATIENCE: Final = 10.0  # seconds that an answer may take beyond what the child is allowed
_ROOT: Final = Path(__file__).resolve().parents[2]
_REPLY: Final = struct.Struct("<III")  # lengths of the findings (JSON), thumbnail and picture
_STATUS: Final = struct.Struct("<i")
_LONGEST_FINDINGS: Final = 64 * 1024


class GuardLost(Exception):
    """The guard was killed again and again, or closed. Says nothing of the file: try later."""


@dataclass(frozen=True)
class Allowance:
    """What one child may use: bytes of address space, seconds of CPU, seconds by the clock."""

    memory: int = 1536 * images.MEBIBYTE
    cpu_seconds: int = 10
    seconds: float = 20.0


ALLOWANCE: Final = Allowance()

SHRINKABLE: Final = Limits(
    max_bytes=100 * images.MEBIBYTE, max_pixels=1_000_000_000, max_side=65_535
)
"""What may be made smaller. JPEGs are decoded at a fraction of their size; for the other formats
the child's memory is the bound, about 150 megapixels."""
SHRINKING_TAKES: Final = 4
"""Times as many seconds as looking at a file may take."""


@dataclass(frozen=True)
class Inspection:
    """What is known of a file that was taken.

    ``width`` and ``height`` are those of the upright picture. ``normalised`` is a file of the
    format ``kept_as`` to keep in place of one that is rotated by EXIF, not 8-bit RGB or grey, not
    sRGB, of a format that browsers don't show, or too large; None where the file stays as it is.
    ``sha256`` and ``bytes`` are those of the file as received. ``peak_memory`` is what the child
    used, in bytes of resident memory.
    """

    format: str
    width: int
    height: int
    sha256: str
    bytes: int
    normalised: builtins.bytes | None
    kept_as: str | None
    thumbnail: builtins.bytes
    peak_memory: int = field(compare=False)


# --- the client's side ------------------------------------------------------------------------


class Guard:
    """A server of its own and the door to it; starts it when first asked, and again when killed.

    Safe to use from many threads: as many files are looked at at once as there are processors,
    the others wait. After a fork the child has a guard of its own.
    """

    def __init__(self, *, allowance: Allowance = ALLOWANCE) -> None:
        self._allowance = allowance
        self._closed = False
        self._reset()
        _guards.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(len(os.sched_getaffinity(0)))
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the server without waiting for it, so that the first file finds it ready."""
        with self._lock:
            self._running()

    def close(self) -> None:
        """End the server. Files that are being looked at end as `GuardLost`."""
        with self._lock:
            self._closed = True
            if self._server:
                self._server.end()
            self._server = None

    def inspect(
        self,
        source: bytes | str | os.PathLike[str],
        *,
        limits: Limits = LIMITS,
        shrink: bool = False,
    ) -> Inspection:
        """Find out whether a file is an image that is taken, and what is to be known of it.

        With ``shrink`` a file beyond ``limits`` but within `SHRINKABLE` is taken as a smaller one.
        Raises `ImageProblem` when it is not, and `GuardLost` when that could not be found out.
        """
        with _descriptor(source, limits=SHRINKABLE if shrink else limits) as (file, size):
            kind = images.check_format(os.pread(file, images.HEAD_BYTES, 0))
            times = SHRINKING_TAKES if shrink else 1
            allowance = replace(
                self._allowance,
                cpu_seconds=self._allowance.cpu_seconds * times,
                seconds=self._allowance.seconds * times,
            )
            request = json.dumps([kind, asdict(limits), asdict(allowance), shrink]).encode()
            patience = allowance.seconds + _PATIENCE
            digest = ""
            for _ in range(_ATTEMPTS):
                try:
                    with self._slots, self._call(request, file, patience=patience) as call:
                        digest = digest or _sha256(source, file)  # while the child is at work
                        findings, thumbnail, normalised = call.answer(limits=limits)
                except _Interrupted as interruption:
                    logger.warning("Guard interrupted: %s", interruption)
                    continue
                return Inspection(
                    format=kind,
                    width=int(findings["width"]),
                    height=int(findings["height"]),
                    sha256=digest,
                    bytes=size,
                    normalised=normalised or None,
                    kept_as=str(findings["kept_as"]) if normalised else None,
                    thumbnail=thumbnail,
                    peak_memory=int(findings["peak_memory"]),
                )
        raise GuardLost(f"The guard was interrupted {_ATTEMPTS} times.")

    @contextmanager
    def _call(self, request: bytes, file: int, *, patience: float) -> "Iterator[_Call]":
        """Send a request; a server that turns out to be dead or deaf is put away."""
        call = _Call(patience=patience)
        try:
            with self._lock:
                server = self._running()
                call.send(server, request, file)
            yield call
        except _ServerLost:
            with self._lock:
                if self._server is server:
                    self._server = None
                    server.end(kill=True)
            raise
        finally:
            call.close()

    def _running(self) -> "_Server":
        if self._closed:
            raise GuardLost("The guard is closed.")
        if self._server is None:
            self._server = _Server()
        return self._server

    def _forget(self) -> None:
        """In a forked child: the parent's server is not ours, and its lock may be held."""
        if self._server:
            self._server.disown()
        self._reset()


_guards: "weakref.WeakSet[Guard]" = weakref.WeakSet()


def _after_fork() -> None:
    for guard in list(_guards):
        guard._forget()


os.register_at_fork(after_in_child=_after_fork)

_shared: Final = Guard()
atexit.register(_shared.close)


def inspect(
    source: bytes | str | os.PathLike[str], *, limits: Limits = LIMITS, shrink: bool = False
) -> Inspection:
    """`Guard.inspect` by the one guard of this process, which is started at the first call."""
    return _shared.inspect(source, limits=limits, shrink=shrink)


def start() -> None:
    """Start this process's guard without waiting for it, so that the first file finds it ready."""
    _shared.start()


class _Interrupted(Exception):
    """No verdict on the file, through no fault of the file."""


class _ServerLost(_Interrupted):
    """The server is dead, or as good as dead."""


class _Server:
    """The server process and our end of its socket."""

    # What a child could read in its environment is kept to what Python needs to start.
    _ENVIRONMENT: Final = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "LANG")

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {name: os.environ[name] for name in self._ENVIRONMENT if name in os.environ}
        environment["OPENBLAS_NUM_THREADS"] = "1"  # a fork keeps one thread only
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tools.engines.guard", str(os.getpid())],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                cwd=_ROOT,
                env=environment,
                start_new_session=True,  # Ctrl-C in a terminal is for the client
            )

    def end(self, *, kill: bool = False) -> None:
        """Close the socket, at which the server ends with its children, and reap it."""
        self.socket.close()
        if kill:
            self.process.kill()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def disown(self) -> None:
        """In a fork of the client: let go without touching the parent's process."""
        self.socket.close()
        self.process.returncode = 0  # not our child: nothing to wait for, nothing to warn of


class _Call:
    """One request under way: the reading ends of its two pipes."""

    def __init__(self, *, patience: float) -> None:
        self._deadline = time.monotonic() + patience
        self._answer, self._answer_in = os.pipe()
        self._status, self._status_in = os.pipe()
        self._open = {self._answer, self._answer_in, self._status, self._status_in}

    def send(self, server: _Server, request: bytes, file: int) -> None:
        """Hand over the file and the pipes; from then on only others hold their writing ends."""
        try:
            descriptors = [file, self._answer_in, self._status_in]
            socket.send_fds(server.socket, [request], descriptors)
        except OSError as error:
            raise _ServerLost(f"the server takes no requests ({error})") from error
        self._shut(self._answer_in)
        self._shut(self._status_in)

    def answer(self, *, limits: Limits) -> tuple[dict[str, Any], bytes, bytes]:
        """Findings, thumbnail and picture; raises what is wrong with the file instead."""
        received = bytearray()
        expected = _REPLY.size
        lengths = (0, 0, 0)
        while len(received) < expected:
            chunk = self._read(self._answer)
            if not chunk:
                self._explain()
            received += chunk
            if len(received) >= _REPLY.size:
                lengths = _REPLY.unpack_from(received)
                expected = _REPLY.size + sum(lengths)
                if lengths[0] > _LONGEST_FINDINGS or expected > limits.max_pixels * 5 + 2**24:
                    raise _nonsense()
        first = _REPLY.size + lengths[0]
        second = first + lengths[1]
        findings = _understood(bytes(received[_REPLY.size : first]), limits=limits)
        with memoryview(received) as view:
            return findings, bytes(view[first:second]), bytes(view[second:expected])

    def close(self) -> None:
        """Close what is still open of the pipes."""
        for descriptor in list(self._open):
            self._shut(descriptor)

    def _explain(self) -> NoReturn:
        """Raise why the child said nothing, or not enough."""
        status = self._read(self._status)
        if len(status) < _STATUS.size:
            raise _ServerLost("the server ended")
        exit_code = os.waitstatus_to_exitcode(_STATUS.unpack(status)[0])
        if -exit_code in confinement.OWN_SIGNALS:
            name = signal.Signals(-exit_code).name
            raise ImageProblem("file_damaged", detail=f"the child ended by {name}")
        raise _Interrupted(f"the child ended with {exit_code}")

    def _read(self, descriptor: int) -> bytes:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        if not poller.poll(max(0.0, self._deadline - time.monotonic()) * 1000):
            raise _ServerLost("the server does not answer")
        return os.read(descriptor, 2**20)

    def _shut(self, descriptor: int) -> None:
        os.close(descriptor)
        self._open.remove(descriptor)


def _nonsense() -> ImageProblem:
    return ImageProblem("file_damaged", detail="the child's answer makes no sense")


def _understood(text: bytes, *, limits: Limits) -> dict[str, Any]:
    """The findings of a child, or the problem that it found; it may have been taken over."""
    try:
        findings = json.loads(text)
        if trouble := findings.get("trouble"):
            raise _Interrupted(trouble)
        if "problem" in findings:
            code, params, detail = (findings[name] for name in ("problem", "params", "detail"))
            raise ImageProblem(
                code if code in images.CODES else "file_damaged", params, detail=detail
            )
        sides = int(findings["width"]), int(findings["height"])
        if not 0 < min(sides) <= max(sides) <= limits.max_side:
            raise _nonsense()
        if findings["kept_as"] not in images.EXTENSIONS:
            raise _nonsense()
    except (ValueError, LookupError, TypeError, AttributeError):
        raise _nonsense() from None
    return cast("dict[str, Any]", findings)


@contextmanager
def _descriptor(
    source: bytes | str | os.PathLike[str], *, limits: Limits
) -> Iterator[tuple[int, int]]:
    """A descriptor to read the source by, and its size, which has been checked."""
    if isinstance(source, bytes):
        images.check_bytes(len(source), limits=limits)
        descriptor = os.memfd_create("original")
    else:
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if isinstance(source, bytes):
            with open(descriptor, "wb", closefd=False) as file:
                file.write(source)
        size = os.fstat(descriptor).st_size
        images.check_bytes(size, limits=limits)
        yield descriptor, size
    finally:
        os.close(descriptor)


def _sha256(source: bytes | str | os.PathLike[str], descriptor: int) -> str:
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    digest = hashlib.sha256()
    at = 0
    while block := os.pread(descriptor, 2**20, at):
        digest.update(block)
        at += len(block)
    return digest.hexdigest()


# --- what a child does with one file ----------------------------------------------------------


def examine(file: BinaryIO, *, kind: str, limits: Limits) -> tuple[int, int, bytes, bytes]:
    """Width, height, thumbnail, and the PNG to keep instead (empty: keep the file).

    Raises `ImageProblem` for everything that can be wrong with a file.
    """
    image: Image.Image | None = None
    try:
        image = images.open_original(file, kind=kind, limits=limits)
        if images.is_stored_plainly(image, kind=kind):
            width, height = image.size
            if _can_be_drafted(image, kind=kind):
                _draft(image)
            return width, height, images.thumbnail(images.upright_srgb(image)), b""
        picture = images.upright_srgb(image)
        from . import png

        return *picture.size, images.thumbnail(picture), png.encode(picture)
    except ImageProblem:
        raise
    except Exception as error:  # decoders of damaged files raise nearly anything
        out_of_memory = isinstance(error, MemoryError) or "out of memory" in str(error)
        if image and out_of_memory:
            raise images.too_large(*image.size, limits=limits, detail=repr(error)) from error
        raise ImageProblem("file_damaged", detail=repr(error)) from error


def _is_too_large(file: BinaryIO, *, kind: str, limits: Limits) -> bool:
    """Whether `examine` would refuse the file for its size alone."""
    file.seek(0, os.SEEK_END)
    size = file.tell()
    file.seek(0)
    if size > limits.max_bytes:
        return True
    try:
        images.open_original(file, kind=kind, limits=limits)
    except ImageProblem as problem:
        return problem.code == "dimensions_too_large"
    except Exception:  # noqa: BLE001 - damaged: `examine` says so
        return False
    finally:
        file.seek(0)
    return False


def reduce(file: BinaryIO, *, kind: str, limits: Limits) -> tuple[int, int, bytes, bytes, str]:
    """Width, height, thumbnail, and the file to keep of a picture that is too large; its format.

    It loses no more pixels than it has to.
    """
    image: Image.Image | None = None
    try:
        image = images.open_original(file, kind=kind, limits=SHRINKABLE)
        if _can_be_drafted(image, kind=kind):
            _draft_to(image, limits=limits)
        picture = images.fitted(
            images.upright_srgb(image), max_pixels=limits.max_pixels, max_side=limits.max_side
        )
        thumbnail = images.thumbnail(picture)
        kept_as = "png" if picture.has_transparency_data else "jpg"
        while True:
            quality = None if kept_as == "png" else 92
            kept = images.encode(picture, format=kept_as, quality=quality)
            if len(kept) <= limits.max_bytes:
                return *picture.size, thumbnail, kept, kept_as
            pixels = picture.width * picture.height * 2 // 3
            picture = images.fitted(picture, max_pixels=pixels, max_side=limits.max_side)
    except ImageProblem:
        raise
    except Exception as error:  # decoders of damaged files raise nearly anything
        out_of_memory = isinstance(error, MemoryError) or "memory" in str(error).lower()
        if image and out_of_memory:
            raise images.too_large(*image.size, limits=limits, detail=repr(error)) from error
        raise ImageProblem("file_damaged", detail=repr(error)) from error


def _draft_to(image: Image.Image, *, limits: Limits) -> None:
    """Have a huge JPEG decoded at a half, a quarter or an eighth.

    Up to twice as many pixels as are wanted fit into the child's memory, and the fewer are lost.
    """
    for scale in (1, 2, 4, 8):
        width, height = image.width // scale, image.height // scale
        if width * height <= 2 * limits.max_pixels:
            break
    if scale > 1:
        image.draft(None, (width, height))


_THUMBNAIL_SOURCE: Final = 480
"""Pixels of the longest side from which a thumbnail of 320 is still made without loss."""

_USUAL_SAMPLINGS: Final = ({(1, 1)}, {(1, 1), (2, 1)}, {(1, 1), (2, 2)}, {(1, 1), (1, 2)})


def _can_be_drafted(image: Image.Image, *, kind: str) -> bool:
    """Whether decoding at a smaller scale takes the same way through the file as at full size.

    So it does for grey and colour JPEGs that cameras and programs write; odd ones (other
    samplings of the colours) are decoded as the workers will decode them.
    """
    samplings = {layer[1:3] for layer in getattr(image, "layer", ())}
    return kind == "jpg" and image.mode in {"L", "RGB"} and samplings in _USUAL_SAMPLINGS


def _draft(image: Image.Image) -> None:
    """Have a JPEG decoded at a half, a quarter or an eighth, with enough left for a thumbnail."""
    scale = max(image.size) // _THUMBNAIL_SOURCE
    if scale >= 2:
        image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))


# --- the server's side ------------------------------------------------------------------------


def _preload() -> None:
    """Import all that a child may need, for it can open no files, and warm up what all need."""
    for kind in images.EXTENSIONS:
        images.load_plugin(kind)
    for module in ("PIL.ImagePalette", "PIL.MpoImagePlugin", "PIL.PpmImagePlugin"):
        importlib.import_module(module)
    importlib.import_module(".png", __package__ or "tools.engines")
    import pillow_heif
    from PIL import AvifImagePlugin

    # Threads would have to be allowed, and one file gets one processor anyway.
    pillow_heif.options.DECODE_THREADS = 1
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    Image.MAX_IMAGE_PIXELS = None  # our own limits are stricter and say more
    warnings.simplefilter("ignore")
    confinement.prepare()
    # Decoder and encoder set up their tables once for all children.
    sample = images.encode(Image.new("RGB", (640, 480)), format="jpg")
    examine(io.BytesIO(sample), kind="jpg", limits=LIMITS)


_DESCRIPTORS: Final = 1024
"""The most that the server has open: two for each file that is being looked at."""


def _serve(control: socket.socket, *, client: int) -> None:
    """Fork a child for each request until the client is gone."""
    watch = os.pidfd_open(client)
    if os.getppid() != client:
        return  # it ended before we looked, and its number may be somebody else's
    resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, _DESCRIPTORS))
    _preload()
    gc.collect()
    gc.freeze()  # a collection would make the forks copy every page
    gc.disable()
    poller = select.poll()
    poller.register(control, select.POLLIN)
    poller.register(watch, select.POLLIN)
    children: dict[int, tuple[int, int]] = {}
    while True:
        for ready, _ in poller.poll():
            if ready == watch:
                return
            if ready == control.fileno():
                request, descriptors, _, _ = socket.recv_fds(control, 4096, 3)
                if not request:
                    return
                with suppress(OSError):  # no memory for a fork: the client sees a lost server
                    child, pid = _fork(request, *descriptors[:2])
                    poller.register(child, select.POLLIN)
                    children[child] = pid, os.dup(descriptors[2])
                for descriptor in descriptors:
                    os.close(descriptor)
            else:
                poller.unregister(ready)
                pid, status = children.pop(ready)
                with suppress(BrokenPipeError):  # it has its answer and does not listen any more
                    os.write(status, _STATUS.pack(os.waitpid(pid, 0)[1]))
                os.close(status)
                os.close(ready)


def _fork(request: bytes, file: int, answer: int) -> tuple[int, int]:
    """Start a child on a request; returns its pidfd and its number."""
    server = os.getpid()
    pid = os.fork()
    if pid:
        return os.pidfd_open(pid), pid
    try:
        _run_child(request, file, answer, server=server)
    finally:
        os._exit(os.EX_SOFTWARE)


_FILE, _ANSWER = 0, 3


def _run_child(request: bytes, file: int, answer: int, *, server: int) -> NoReturn:
    """Look at one file, tell, and end."""
    os.dup2(file, _FILE)
    os.dup2(answer, _ANSWER)
    os.dup2(1, 2)  # libraries complain of damaged files on stderr
    os.closerange(_ANSWER + 1, _DESCRIPTORS)
    kind, limits, allowance, shrink = json.loads(request)
    content = mmap.mmap(_FILE, 0, access=mmap.ACCESS_READ)
    thumbnail = picture = b""
    findings: Mapping[str, object]
    try:
        # The HEIC decoder starts a thread even where it is told to do without.
        confinement.confine(**allowance, threads=kind == "heic")
        confinement.end_with(server)
        file_ = cast("BinaryIO", content)
        kept_as = "png"
        if shrink and _is_too_large(file_, kind=kind, limits=Limits(**limits)):
            width, height, thumbnail, picture, kept_as = reduce(
                file_, kind=kind, limits=Limits(**limits)
            )
        else:
            width, height, thumbnail, picture = examine(file_, kind=kind, limits=Limits(**limits))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        findings = {"width": width, "height": height, "peak_memory": peak, "kept_as": kept_as}
    except ImageProblem as problem:
        detail = problem.detail[:1000]
        findings = {"problem": problem.code, "params": problem.params, "detail": detail}
    except Exception:  # noqa: BLE001 - a fault of ours: it must not look like one of the file
        findings = {"trouble": traceback.format_exc()[-4000:]}
    text = json.dumps(findings).encode()
    for part in (_REPLY.pack(len(text), len(thumbnail), len(picture)) + text + thumbnail, picture):
        view = memoryview(part)
        while view:
            view = view[os.write(_ANSWER, view) :]
    os._exit(0)


if __name__ == "__main__":
    _serve(socket.socket(fileno=os.dup(0)), client=int(sys.argv[1]))
    os._exit(0)  # children die with their parent; there is nothing else to put away
