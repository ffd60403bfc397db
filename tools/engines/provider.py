"""A service on the network that generates pictures. Pictures leave this machine, reduced.

Two protocols. *openai*: OpenAI's images API, which many servers and services speak
(``/images/edits`` with a mask, ``/images/generations``). *queue*: a job is handed over, then asked
after until it is done, as Replicate does it (``POST /predictions``, ``GET`` of the job's own
address).
"""

import base64
import hashlib
import io
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import urlsplit

from PIL import Image

from tools.engines import images, painting, remote
from tools.engines.painting import Frame, Size, Task

Protocol = Literal["openai", "queue"]


_TIDYING = 5.0  # seconds
_LARGEST_ANSWER = 48 << 20  # bytes; base64 of a picture, mostly
_LARGEST_PICTURE = 32 << 20  # bytes
_MOST_PIXELS = 24_000_000
_REFERENCE_SIDE = 1024  # pixels
_QUEUED_PIXELS = 1024 * 1024
_LARGEST_DATA = 190_000  # bytes; 256 kB in base64, beyond which the API wants uploads


def _unlimited() -> bool:
    return True


@dataclass(frozen=True)
class Callback:
    """How a queue tells that a job is done, so that nobody waits for the next poll.

    ``address`` gives the address that the service calls for a token; ``wait`` returns when it
    did, or after so many seconds. What the service sends is not looked at: the job itself is
    asked after, with our key.
    """

    address: Callable[[str], str]
    wait: Callable[[str, float], None]


@dataclass(frozen=True)
class Configuration:
    """Which service, and what it may cost.

    ``url`` is the base of the API. ``model`` paints where a mask says, ``edit_model`` (else the
    same) follows an instruction. ``sizes`` are the canvases that the service takes. ``edits`` is
    off for servers that only generate: they paint backgrounds, nothing else. ``seeds`` says that
    the service knows the parameter ``seed``, ``idempotent`` that it honours ``Idempotency-Key``.

    ``spend`` is asked before each job and answers whether one more may be paid for.
    """

    protocol: Protocol = "openai"
    url: str = ""
    model: str = ""
    edit_model: str = ""
    key: str = field(default="", repr=False)
    sizes: tuple[Size, ...] = ((1024, 1024), (1536, 1024), (1024, 1536))
    edits: bool = True
    seeds: bool = False
    idempotent: bool = False
    spend: Callable[[], bool] = _unlimited
    patience: remote.Patience = field(
        default_factory=lambda: remote.Patience(read=180.0, total=240.0)
    )
    poll_seconds: float = 2.0
    callback: Callback | None = None


_configuration = Configuration()


def configure(configuration: Configuration) -> None:
    """Say once per process which service there is."""
    global _configuration  # noqa: PLW0603 - one service per installation, set at the start
    _configuration = configuration


def missing(task: Task) -> str | None:
    """Why the service can't do this, with the settings that change it; None: it can."""
    wanted = {
        "STUDIO_PROVIDER_URL": _configuration.url,
        "STUDIO_PROVIDER_MODEL": _configuration.model,
    }
    if reason := remote.unset(wanted, what="No image provider is set up."):
        return reason
    if task != "background" and _only_generates():
        return "The image provider only generates. Set STUDIO_PROVIDER_EDITS=on if it edits too."
    return None


def version(task: Task) -> str:
    """What makes the results of a task, for their record."""
    return f"{_model(task)} at {remote.host(_configuration.url)}"


def _only_generates() -> bool:
    return _configuration.protocol == "openai" and not _configuration.edits


def _model(task: Task) -> str:
    return (task == "edit" and _configuration.edit_model) or _configuration.model


def background(
    image: Image.Image,
    subject: Image.Image,
    *,
    prompt: str,
    seed: int,
    reference: Image.Image | None,
) -> Image.Image:
    """See `generative.background`."""
    _set_up("background")
    if _only_generates():
        frame = _frame(image.size)
        scene = _openai("background", "/images/generations", prompt=prompt, seed=seed, frame=frame)
        return painting.subject_over(image, subject, _lifted(frame, scene))
    start = images.flattened(image)
    if reference is not None and _configuration.protocol == "queue":
        start = painting.subject_over(image, subject, painting.backdrop(reference, image.size))
        reference = None
    job = _Job("background", prompt, seed, start, mask=painting.around(subject))
    if reference is not None:
        job = replace(job, reference=_reduced(reference))
    return painting.subject_over(image, subject, job.done())


def edit(image: Image.Image, *, prompt: str, strength: float, seed: int) -> Image.Image:
    """See `generative.edit`. The protocols know no strength: the words say it."""
    _set_up("edit")
    manner = next(words for least, words in _MANNERS if strength >= least)
    job = _Job("edit", _sentences(prompt, manner), seed, images.flattened(image))
    return painting.like(image, job.done())


def remove(image: Image.Image, mask: Image.Image, *, seed: int) -> Image.Image:
    """See `generative.remove`."""
    _set_up("remove")
    hole = painting.hole(mask)
    start = images.flattened(image)
    filled = _Job("remove", painting.EMPTIED, seed, start, mask=hole.model).done()
    return painting.like(image, Image.composite(filled, image.convert("RGB"), hole.paste))


_MANNERS = (
    (0.8, ""),
    (0.4, "Keep everything else as it is."),
    (0.0, "Make the change subtle, and keep everything else exactly as it is."),
)
"""From which strength on, and what is added to the prompt then."""


def _sentences(*sentences: str) -> str:
    """Sentences after each other, each with a full stop; empty ones are left out."""
    return " ".join(f"{words.strip().rstrip('.')}." for words in sentences if words.strip())


def _set_up(task: Task) -> None:
    if reason := missing(task):
        raise remote.NotSetUp(reason)


@dataclass(frozen=True)
class _Job:
    """One picture to be painted; ``mask`` (L) is 255 where."""

    task: Task
    prompt: str
    seed: int
    image: Image.Image
    mask: Image.Image | None = None
    reference: Image.Image | None = None

    def done(self) -> Image.Image:
        """What the service made of it, in the size of the picture; costs money."""
        frame = _frame(self.image.size)
        made = _from_queue(self, frame) if _configuration.protocol == "queue" else self._edit(frame)
        return _lifted(frame, made)

    def _edit(self, frame: Frame) -> Image.Image:
        prompt, name, others = self.prompt, "image", []
        if self.task == "background":
            prompt = _sentences(prompt, "Only the background is painted, the subject stays")
        if self.reference is not None:
            prompt = _sentences(prompt, "The second picture shows how the background should look")
            name = "image[]"
            others = [_png(name, "reference.png", self.reference)]
        files = [_png(name, "image.png", frame.lay(self.image)), *others]
        if self.mask is not None:
            files.append(_png("mask", "mask.png", _see_through(frame.lay(self.mask))))
        return _openai(
            self.task, "/images/edits", prompt=prompt, seed=self.seed, frame=frame, files=files
        )


def _frame(size: Size) -> Frame:
    if _configuration.protocol == "queue":
        return painting.frame_within(size, pixels=_QUEUED_PIXELS, multiple=8)
    return painting.frame_on(size, canvases=_configuration.sizes)


def _lifted(frame: Frame, made: Image.Image) -> Image.Image:
    try:
        return frame.lift(made)
    except painting.WrongShape as exc:
        raise remote.BadAnswer(_service(), str(exc)) from exc


def _reduced(reference: Image.Image) -> Image.Image:
    """A reference in the size that is enough for its look."""
    small = images.flattened(reference)
    small.thumbnail((_REFERENCE_SIDE, _REFERENCE_SIDE), Image.Resampling.LANCZOS)
    return small


def _service() -> str:
    return remote.host(_configuration.url)


def _see_through(mask: Image.Image) -> Image.Image:
    """The mask as OpenAI's API wants it: see-through where it is to paint."""
    see_through = Image.new("RGBA", mask.size)
    see_through.putalpha(mask.point([255] * 128 + [0] * 128))
    return see_through


@dataclass(frozen=True)
class _Errand:
    """All the calls that one picture takes, under one deadline (of the monotonic clock)."""

    until: float = field(default_factory=lambda: time.monotonic() + _configuration.patience.total)

    @property
    def is_late(self) -> bool:
        return time.monotonic() > self.until

    def call(self, request: remote.Request) -> remote.Answer:
        """A call that ends with the errand, or a few seconds after for what tidies up."""
        left = max(_TIDYING, self.until - time.monotonic())
        return remote.call(request, replace(_configuration.patience, total=left))


# --- OpenAI's images API ----------------------------------------------------------------------


def _openai(
    task: Task,
    path: str,
    *,
    prompt: str,
    seed: int,
    frame: Frame,
    files: Sequence[remote.Part] = (),
) -> Image.Image:
    """One picture by ``/images/edits`` (with files) or ``/images/generations``."""
    fields = {
        "model": _model(task),
        "prompt": prompt,
        "n": "1",
        "size": "{}x{}".format(*frame.canvas),
    }
    if _configuration.seeds:
        fields["seed"] = str(seed)
    if files:
        content_type, body = remote.form(fields, files)
    else:
        numbers = {name: int(fields[name]) for name in ("n", "seed") if name in fields}
        content_type, body = "application/json", json.dumps({**fields, **numbers}).encode()
    key = _key_of(path, seed, json.dumps(fields), *(file.content for file in files))
    errand = _Errand()
    answer = _submitted(errand, path, content_type, body, key=key)
    try:
        (given,) = answer.json()["data"][:1]
        if encoded := given.get("b64_json"):
            return _picture(base64.b64decode(encoded, validate=True))
        address = str(given["url"])
    except (LookupError, TypeError, ValueError, AttributeError) as exc:
        raise remote.BadAnswer(answer.service, f"no picture in {answer.body[:80]!r}") from exc
    with _paid_for():
        return _picture(_fetched(errand, address))


def _submitted(
    errand: _Errand, path: str, content_type: str, body: bytes, *, key: str
) -> remote.Answer:
    """Hand work over, once, if it may be paid for."""
    if not _configuration.spend():
        raise remote.BudgetSpent(_service(), "the limit for a day is reached")
    headers = {"Content-Type": content_type, **remote.bearer(_configuration.key)}
    if _configuration.idempotent:
        headers["Idempotency-Key"] = key
    return errand.call(
        remote.Request(
            method="POST",
            url=remote.below(_configuration.url, path),
            headers=headers,
            body=body,
            max_bytes=_LARGEST_ANSWER,
            harmless=_configuration.idempotent,
        )
    )


def _key_of(path: str, seed: int, *contents: str | bytes) -> str:
    """The same work has the same key, also when a worker does it again much later."""
    digest = hashlib.sha256(f"{path} {seed}".encode())
    for content in contents:
        digest.update(
            hashlib.sha256(content if isinstance(content, bytes) else content.encode()).digest()
        )
    return digest.hexdigest()[:32]


@contextmanager
def _paid_for() -> Iterator[None]:
    """From here on, to start over would be to pay once more, unless the service knows keys."""
    try:
        yield
    except remote.RemoteError as error:
        if not error.again or _configuration.idempotent:
            raise
        raise remote.Uncertain(error.service, error.detail) from error


def _fetched(errand: _Errand, address: str) -> bytes:
    """The file that an answer named: a data URL, the service's own address, or a public one."""
    if address.startswith("data:"):
        try:
            return base64.b64decode(address.partition(";base64,")[2], validate=True)
        except ValueError as exc:
            raise remote.BadAnswer(_service(), f"no data in {address[:80]!r}") from exc
    request = remote.Request(
        method="GET",
        url=address,
        headers={},  # the key is for the API, not for wherever pictures lie
        max_bytes=_LARGEST_PICTURE,
        public_only=not _is_own(address),
    )
    return errand.call(request).body


def _is_own(address: str) -> bool:
    """Whether an address is on the very server that the operator named."""
    if not remote.is_address(address):
        return False
    named, ours = urlsplit(address), urlsplit(_configuration.url)
    return (named.scheme, named.netloc) == (ours.scheme, ours.netloc)


def _picture(content: bytes) -> Image.Image:
    """A file that came as a picture: RGB; raises `remote.BadAnswer`."""
    try:
        with Image.open(io.BytesIO(content), formats=["PNG", "JPEG", "WEBP"]) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                raise remote.BadAnswer(_service(), f"a picture of {picture.size}")
            return images.flattened(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as exc:
        raise remote.BadAnswer(_service(), f"no picture: {exc}") from exc


def _png(name: str, filename: str, image: Image.Image) -> remote.Part:
    return remote.Part(name, filename, "image/png", _saved(image, "PNG"))


def _saved(image: Image.Image, format: str, **options: Any) -> bytes:  # noqa: A002 - Pillow's word
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


# --- A queue ----------------------------------------------------------------------------------

_WAITING = {"starting", "queued", "processing"}


def _from_queue(job: _Job, frame: Frame) -> Image.Image:
    """Hand the job over, ask after it until it is done, fetch what it made."""
    inputs: dict[str, Any] = {
        "prompt": job.prompt,
        "image": _data_url(frame.lay(job.image)),
    }
    if job.mask is not None:
        inputs["mask"] = f"data:image/png;base64,{_base64(_saved(frame.lay(job.mask), 'PNG'))}"
    if _configuration.seeds:
        inputs["seed"] = job.seed
    asked: dict[str, Any] = {"version": _model(job.task), "input": inputs}
    key = _key_of("/predictions", job.seed, json.dumps(asked))
    token = secrets.token_urlsafe(16)
    if _configuration.callback:
        asked["webhook"] = _configuration.callback.address(token)
        asked["webhook_events_filter"] = ["completed"]
    errand = _Errand()
    answer = _submitted(
        errand, "/predictions", "application/json", json.dumps(asked).encode(), key=key
    )
    state = answer.json()
    with _paid_for():
        while state.get("status") in _WAITING:
            if errand.is_late:
                _cancel(errand, state)
                raise remote.Uncertain(_service(), "the job was not done in time")
            _wait(token)
            state = _asked_after(errand, state, "get")
        return _picture(_fetched(errand, _output(state)))


def _wait(token: str) -> None:
    """Until it is time to ask again."""
    if _configuration.callback:
        _configuration.callback.wait(token, _configuration.poll_seconds * 5)
    else:
        time.sleep(_configuration.poll_seconds)


def _asked_after(
    errand: _Errand, state: Mapping[str, Any], what: Literal["get", "cancel"]
) -> dict[str, Any]:
    """What the service says of a job when it is asked at the job's own address."""
    try:
        address = str(state["urls"][what])
    except (LookupError, TypeError) as exc:
        raise remote.BadAnswer(_service(), "a job without an address") from exc
    if not _is_own(address):  # or it would be told the key
        raise remote.BadAnswer(_service(), f"a job at {address[:80]!r}")
    request = remote.Request(
        method="GET" if what == "get" else "POST",
        url=address,
        headers=remote.bearer(_configuration.key),
        max_bytes=_LARGEST_ANSWER,
    )
    return errand.call(request).json()


def _cancel(errand: _Errand, state: Mapping[str, Any]) -> None:
    """Spare the cost of a job that nobody waits for any more, if that can still be done."""
    with suppress(remote.RemoteError):
        _asked_after(errand, state, "cancel")


def _output(state: Mapping[str, Any]) -> str:
    """The address of a job's picture; raises `remote.RemoteError` when it failed."""
    status, output, error = state.get("status"), state.get("output"), str(state.get("error") or "")
    if status != "succeeded":
        kind = remote.ContentRefused if _FORBIDDEN.search(error) else remote.BadAnswer
        raise kind(_service(), f"the job is {status!r}: {error[:300]}")
    address = output[0] if isinstance(output, list) and output else output
    if not isinstance(address, str):
        raise remote.BadAnswer(_service(), "a job without a picture")
    return address


_FORBIDDEN = re.compile(r"nsfw|sensitive|safety|policy|moderat", re.IGNORECASE)
"""How a failed job says that its content was the reason."""


def _data_url(image: Image.Image) -> str:
    """A JPEG small enough to travel inside a request: a quarter of a megabyte, if that can be."""
    for quality in (92, 85, 75):
        content = _saved(image, "JPEG", quality=quality)
        if len(content) <= _LARGEST_DATA:
            break
    return f"data:image/jpeg;base64,{_base64(content)}"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
