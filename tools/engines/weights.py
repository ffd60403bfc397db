"""Learned numbers: where they lie, and sessions that run them.

Nothing is downloaded while the studio runs. `fetch` is for ``manage.py fetchweights``;
everything else takes what lies in the weights folder or says which command brings it.
Which weights there are is said in `tools.engines.manifest`. A file is what its SHA-256 says,
whoever delivered it: it is checked when it arrives and again when it is loaded.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from tools.engines.manifest import MANIFEST, Artefact
from tools.engines.sources import Folder, Progress, Source, SourceFailed

if TYPE_CHECKING:
    import numpy as np


class WeightsError(Exception):
    """Weights can't be used; the text names the command that helps."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{message} Run `manage.py fetchweights {name}`.")
        self.name = name


class WeightsMissing(WeightsError):
    """The file is not in the weights folder."""


class WeightsDamaged(WeightsError):
    """The file is there, but it is not the one that the manifest pins."""


class UnknownWeights(LookupError):
    """The manifest has no weights of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There are no weights called {name}. Known: {', '.join(MANIFEST)}.")
        self.name = name


class NoWeightsFolder(RuntimeError):
    """Nobody has said where the weights lie."""

    def __init__(self) -> None:
        super().__init__("No weights folder: call configure() or set STUDIO_WEIGHTS_DIR.")


class ModelOutOfMemory(Exception):
    """The model asked for more memory than the machine or the GPU had."""


class ModelNotLoaded(Exception):
    """The model can't be loaded on this device, for want of memory or of CUDA; elsewhere it may."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"The model {name} can't be loaded on this device: {reason}")


@dataclass(frozen=True)
class Failure:
    """A source that was tried in vain, and why."""

    source: str
    reason: str


class WeightsUnavailable(Exception):
    """No source delivered the right bytes; ``failures`` has one line for each."""

    def __init__(self, name: str, failures: tuple[Failure, ...]) -> None:
        tried = "; ".join(f"{failure.source}: {failure.reason}" for failure in failures)
        super().__init__(f"The weights of {name} could not be fetched. {tried}")
        self.name = name
        self.failures = failures


@dataclass(frozen=True)
class Fetched:
    """What `fetch` did. ``source`` is None when the right file was already there."""

    name: str
    path: Path
    source: str | None
    failures: tuple[Failure, ...]


# --- Where the files lie --------------------------------------------------------------------

CUDA = "cuda"
CUDA_PROVIDER = "CUDAExecutionProvider"

_folder: Path | None = None
_device: str | None = None
_device_memory: int | None = None


def configure(*, folder: Path | str) -> None:
    """Say once per process where the weights lie."""
    global _folder  # noqa: PLW0603 - one folder per installation, set at the start
    _folder = Path(folder)


def use_device(name: str, *, memory: int | None) -> None:
    """Say once per worker what models run on: `cpu`, or `cuda:0` with so many bytes of memory.

    Without it they run on CUDA where there is some.
    """
    global _device, _device_memory
    _device, _device_memory = name, memory


def has_cuda() -> bool:
    """Whether this Python's onnxruntime can use GPUs at all."""
    return CUDA_PROVIDER in runtime().get_available_providers()


def weights_folder() -> Path:
    """The folder of the weights: what was configured, else ``STUDIO_WEIGHTS_DIR``."""
    if _folder is not None:
        return _folder
    if named := os.environ.get("STUDIO_WEIGHTS_DIR"):
        return Path(named)
    raise NoWeightsFolder


def artefact(name: str) -> Artefact:
    """The manifest's entry; raises `UnknownWeights`."""
    try:
        return MANIFEST[name]
    except KeyError:
        raise UnknownWeights(name) from None


def path(name: str, *, folder: Path | None = None) -> Path:
    """Where the file of these weights belongs, whether it is there or not."""
    return (folder or weights_folder()) / artefact(name).file


Problem = Literal["missing", "damaged", "large"]


def problem(name: str, *, folder: Path | None = None) -> Problem | None:
    """What is wrong as far as one look at the file's size can tell; None: nothing.

    `large`: this worker's GPU has too little memory for it.

    For pages and the API, which ask often. A worker that loads the file checks every byte.
    """
    try:
        size = path(name, folder=folder).stat().st_size
    except FileNotFoundError:
        return "missing"
    if size != artefact(name).size:
        return "damaged"
    on_gpu = (_device or "").startswith(CUDA)
    return "large" if on_gpu and _device_memory and _memory(name) > _device_memory else None


# --- Verification ---------------------------------------------------------------------------

Stamp = tuple[int, int, int]
_verified: dict[Path, tuple[str, Stamp]] = {}


def verify(name: str, *, folder: Path | None = None) -> Path:
    """The path of weights that are what the manifest says, down to the last byte.

    A process reads each file once; a file that was replaced since is read again. Raises
    `WeightsMissing` and `WeightsDamaged`.
    """
    wanted, file = artefact(name), path(name, folder=folder)
    try:
        stamp = _stamp(file)
        if _verified.get(file) == (wanted.sha256, stamp):
            return file
        found = _sha256(file)
    except FileNotFoundError:
        raise WeightsMissing(name, f"The weights of {name} are not here ({file}).") from None
    if found != wanted.sha256:
        raise WeightsDamaged(name, f"{file} is not what it should be (SHA-256 {found[:12]}…).")
    _verified[file] = (wanted.sha256, stamp)
    return file


def _stamp(file: Path) -> Stamp:
    """Changes whenever the file is written again or another takes its place."""
    info = file.stat()
    return info.st_size, info.st_mtime_ns, info.st_ino


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


# --- Fetching -------------------------------------------------------------------------------


def fetch(
    name: str, *, folder: Path | None = None, progress: Progress = lambda *_: None
) -> Fetched:
    """Bring the weights unless they are there already; a damaged file is replaced.

    Sources are tried in order: the folder that ``STUDIO_WEIGHTS_FROM`` names, then the
    manifest's. One that brings wrong bytes is noted and the next one is asked. The file
    appears under its name only when it is complete and right. Two processes that fetch at
    once do the work once. Raises `UnknownWeights` and `WeightsUnavailable`.
    """
    wanted, target = artefact(name), path(name, folder=folder)
    failures: list[Failure] = []
    if _is_right(name, folder=folder):  # first without the lock: the folder may be read-only
        return Fetched(name, target, None, ())
    target.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(target.parent):
        if _is_right(name, folder=folder):
            return Fetched(name, target, None, ())
        for source in _sources(wanted):
            try:
                _bring(source, wanted, target, progress)
            except (SourceFailed, OSError) as exc:
                failures.append(Failure(source.label, str(exc)))
            else:
                return Fetched(name, verify(name, folder=folder), source.label, tuple(failures))
    raise WeightsUnavailable(name, tuple(failures))


def _is_right(name: str, *, folder: Path | None) -> bool:
    try:
        verify(name, folder=folder)
    except WeightsError:
        return False
    return True


def _sources(wanted: Artefact) -> Iterator[Source]:
    if local := os.environ.get("STUDIO_WEIGHTS_FROM"):
        yield Folder(Path(local).expanduser(), wanted.file)
    yield from wanted.sources


def _bring(source: Source, wanted: Artefact, target: Path, progress: Progress) -> None:
    """Put one source's file in place if it is the right one; raises `SourceFailed`."""
    part = target.with_name(f"{target.name}.part")
    continued = part.exists()
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target.parent) as folder:
        found = source.fetch(part=part, scratch=Path(folder), size=wanted.size, progress=progress)
        digest = _sha256(found)
        if digest == wanted.sha256:
            _put(found, target)
            part.unlink(missing_ok=True)
            return
        found.unlink()
    if found == part and continued:
        # What an earlier run had brought may have been the wrong half: once more, all of it.
        _bring(source, wanted, target, progress)
        return
    raise SourceFailed(f"{source.other_bytes} (SHA-256 {digest[:12]}…)")


def _put(found: Path, target: Path) -> None:
    """Give the file its name, so that a power cut leaves the old one or the new one."""
    with found.open("rb") as content:
        os.fsync(content.fileno())
    found.replace(target)
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold the folder against other fetching processes, and clear up after killed ones."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left_over in folder.glob(".fetch-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        yield


# --- Sessions -------------------------------------------------------------------------------

MODEL_MEMORY = 1500
"""Megabytes for loaded models where ``STUDIO_MODEL_MEMORY_MB`` says nothing: a worker is
reckoned to take 2 GB, and a picture of 12 megapixels on its way takes up to 300 MB."""

LOADED = 2.5
"""Bytes of memory for each byte of a file, loaded: measured 2.4 (u2net), 2.7 (Real-ESRGAN)."""
WORKSPACE = 300_000_000
"""What a session keeps for its next run: measured 160 (Real-ESRGAN) to 320 MB (u2net)."""


@dataclass(frozen=True)
class _Loaded:
    session: Any
    memory: int


_sessions: dict[tuple[Path, int], _Loaded] = {}
"""The sessions that are kept, the one that waited longest for its next use first."""
_running: dict[int, int] = {}
"""How many runs a session is in, by its id."""
_loading = threading.Lock()
_counting = threading.Lock()


def loaded() -> list[str]:
    """The names of the files whose models are in memory now, the least recently used first."""
    return [file.stem for file, _threads in list(_sessions)]


def session(name: str, *, threads: int | None = None) -> Any:
    """An onnxruntime session on verified weights, made once and kept while there is room.

    ``threads`` work on one run (default ``STUDIO_ENGINE_THREADS``, else 1: several processes
    with one thread each beat one process with several). Runs on CUDA where there is one.

    Before a model is loaded, others go, the least recently used first, until all of them fit
    into ``STUDIO_MODEL_MEMORY_MB``. One that is in a `run` stays. A session that the caller
    holds works on after it went; ask for it again for the next picture.
    """
    if threads is None:
        threads = int(os.environ.get("STUDIO_ENGINE_THREADS", "1"))
    key = path(name), threads
    with _loading:
        if (kept := _sessions.pop(key, None)) is None:
            memory = _memory(name)
            _make_room(memory)
            kept = _Loaded(_load(name, threads=threads), memory)
        _sessions[key] = kept  # at the end: the last to go
        return kept.session


def _memory(name: str) -> int:
    """Bytes that the model will keep, roughly: see the figures above."""
    wanted = artefact(name)
    return wanted.memory or int(wanted.size * LOADED) + WORKSPACE


def _make_room(memory: int) -> None:
    """Let sessions go until this much more fits; alone, a model may be larger than the room."""
    room = int(os.environ.get("STUDIO_MODEL_MEMORY_MB", MODEL_MEMORY)) * 1_000_000 - memory
    kept = sum(loaded.memory for loaded in _sessions.values())
    for key, loaded in list(_sessions.items()):
        if kept <= room:
            break
        if not _running.get(id(loaded.session)):
            del _sessions[key]
            kept -= loaded.memory


def runtime() -> Any:
    """The onnxruntime module: slow and large, so only processes that run a model import it."""
    # Otherwise it keeps a database in the home directory and reports to its maker.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime


def _load(name: str, *, threads: int) -> Any:
    onnxruntime = runtime()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A plan of the memory for each size of picture: no faster, and 190 to 280 MB more.
    options.enable_mem_pattern = False
    options.log_severity_level = 3  # errors; its warnings are about hardware we don't have
    file = verify(name)
    stamp = _stamp(file)
    providers = ["CPUExecutionProvider"]
    if (_device or CUDA).startswith(CUDA) and has_cuda():
        providers.insert(0, CUDA_PROVIDER)
    # By path and not from memory: half the peak for a file of 176 MB.
    try:
        loaded = onnxruntime.InferenceSession(str(file), options, providers=providers)
    except Exception as exc:
        if _is_out_of_memory(exc):
            raise ModelNotLoaded(name, str(exc)) from exc
        raise
    if (_device or "").startswith(CUDA) and CUDA_PROVIDER not in loaded.get_providers():
        # It would go on with the processor, thirty times slower, and say nothing.
        raise ModelNotLoaded(name, "CUDA does not work here; nvidia-smi and cuDNN may say why.")
    if _stamp(file) != stamp:
        raise WeightsDamaged(name, f"{file} was replaced while it was loading.")
    return loaded


_OUT_OF_MEMORY = ("allocate memory", "bad_alloc", "bad allocation", "out of memory", "alloc_failed")


@overload
def run(loaded: Any, given: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]": ...


@overload
def run(
    loaded: Any, given: Mapping[str, "np.ndarray[Any, Any]"]
) -> dict[str, "np.ndarray[Any, Any]"]: ...


def run(loaded: Any, given: Any) -> Any:
    """What a model makes of one array, or of several by the names of its inputs.

    One array is for a model of one input and gives its first output; a mapping gives all
    outputs by their names. Raises `ModelOutOfMemory`.
    """
    with _in_use(loaded):
        try:
            if isinstance(given, Mapping):
                names = [output.name for output in loaded.get_outputs()]
                return dict(zip(names, loaded.run(names, dict(given)), strict=True))
            feeds = {loaded.get_inputs()[0].name: given}
            return loaded.run([loaded.get_outputs()[0].name], feeds)[0]
        except Exception as exc:
            if _is_out_of_memory(exc):
                raise ModelOutOfMemory(str(exc)) from exc
            raise


def _is_out_of_memory(error: Exception) -> bool:
    # onnxruntime has no type for it: the words are all there is.
    words = str(error).lower()
    return isinstance(error, MemoryError) or any(some in words for some in _OUT_OF_MEMORY)


@contextmanager
def _in_use(loaded: Any) -> Iterator[None]:
    """Count a run of this session: to let go of it now would free nothing."""
    with _counting:
        _running[id(loaded)] = _running.get(id(loaded), 0) + 1
    try:
        yield
    finally:
        with _counting:
            _running[id(loaded)] -= 1
            if not _running[id(loaded)]:
                del _running[id(loaded)]
