"""Local diffusion pipelines (Hugging Face diffusers), for hosts with a GPU.

Two pipelines, both the operator's choice: one that paints where a mask says (a Stable Diffusion
*inpaint* pipeline) and one that follows an instruction (an *InstructPix2Pix* pipeline). Nothing
is downloaded while the studio runs: a pipeline is a folder, or a name on the Hugging Face hub
with the commit that was fetched beforehand.
"""

import gc
import importlib.util
import inspect
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from tools.engines import images, painting, remote, weights
from tools.engines.painting import Frame, Size, Task


@dataclass(frozen=True)
class Pipeline:
    """A folder that a pipeline was saved to, or a hub's name and the commit (40 hex digits)."""

    name: str = ""
    revision: str = ""

    @property
    def folder(self) -> Path:
        """Where its files lie, whether they are there or not."""
        if not self.revision:
            return Path(self.name).expanduser()
        home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
        cached = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
        return cached / f"models--{self.name.replace('/', '--')}" / "snapshots" / self.revision


@dataclass(frozen=True)
class Configuration:
    """The pipelines. ``elsewhere``: they are on other hosts than this one, so don't look here."""

    inpaint: Pipeline = Pipeline()
    edit: Pipeline = Pipeline()
    steps: int = 30
    elsewhere: bool = False


_configuration = Configuration()


def configure(configuration: Configuration) -> None:
    """Say once per process which pipelines there are."""
    global _configuration  # noqa: PLW0603 - one choice per installation, made at the start
    _configuration = configuration


def _chosen(task: Task) -> tuple[Pipeline, str]:
    """The pipeline for a task and the setting that names it."""
    if task == "edit":
        return _configuration.edit, "STUDIO_DIFFUSION_EDIT"
    return _configuration.inpaint, "STUDIO_DIFFUSION_INPAINT"


def missing(task: Task) -> str | None:
    """Why there is no pipeline for this, with what changes that; None: there is one."""
    pipeline, setting = _chosen(task)
    if reason := remote.unset({setting: pipeline.name}, what="No diffusion pipeline is set up."):
        return reason
    if _configuration.elsewhere:
        return None
    if any(importlib.util.find_spec(name) is None for name in ("torch", "diffusers")):
        return (
            "The packages for diffusion are not installed. "
            "Run `pip install -r requirements-diffusion.in`."
        )
    if not (pipeline.folder / "model_index.json").is_file():
        if pipeline.revision:
            return (
                f"The pipeline of {setting} is not here. "
                f"Run `hf download {pipeline.name} --revision {pipeline.revision}`."
            )
        return (
            f"There is no pipeline in the folder that {setting} names ({pipeline.name}). "
            f"If that is a name on the Hugging Face hub, set {setting}_REVISION to a commit."
        )
    return None


def version(task: Task) -> str:
    """What makes the results of a task, for their record."""
    pipeline, _setting = _chosen(task)
    commit = f" {pipeline.revision[:12]}" if pipeline.revision else ""
    return f"{pipeline.name.rstrip('/').rpartition('/')[2]}{commit}, {_configuration.steps} steps"


def background(
    image: Image.Image,
    subject: Image.Image,
    *,
    prompt: str,
    seed: int,
    reference: Image.Image | None,
) -> Image.Image:
    """See `generative.background`. A reference is what the painting starts from."""
    start, strength = images.flattened(image), 1.0
    if reference is not None:
        start = painting.subject_over(image, subject, painting.backdrop(reference, image.size))
        strength = _REPAINTED
    painted = _inpainted(
        "background",
        start,
        painting.around(subject),
        prompt=prompt,
        negative_prompt=_NO_SECOND_SUBJECT,
        strength=strength,
        seed=seed,
    )
    return painting.subject_over(image, subject, painted)


def edit(image: Image.Image, *, prompt: str, strength: float, seed: int) -> Image.Image:
    """See `generative.edit`."""
    held = _HELD[0] + (_HELD[1] - _HELD[0]) * strength

    def lay(frame: Frame) -> dict[str, Any]:
        return {"image": frame.lay(images.flattened(image)), "image_guidance_scale": held}

    return painting.like(image, _made("edit", image.size, lay, prompt=prompt, seed=seed))


def remove(image: Image.Image, mask: Image.Image, *, seed: int) -> Image.Image:
    """See `generative.remove`."""
    hole = painting.hole(mask)
    painted = _inpainted(
        "remove",
        images.flattened(image),
        hole.model,
        prompt=painting.EMPTIED,
        negative_prompt=_NO_THING,
        strength=1.0,
        seed=seed,
    )
    return painting.like(image, Image.composite(painted, image.convert("RGB"), hole.paste))


# --- Pipelines --------------------------------------------------------------------------------

_GUIDANCE = 7.5
"""How much the words count; the value that these pipelines were made with."""
_HELD = (2.2, 1.0)
"""How much the original counts in an edit of strength 0 and of strength 1 (1.5 is usual)."""
_REPAINTED = 0.75
"""How much of a reference is painted anew: its colours and planes stay."""
_NO_SECOND_SUBJECT = "second object, duplicate, text, watermark, blurry, deformed"
_NO_THING = "object, person, animal, text, watermark, blurry, deformed"
_MULTIPLE = 16  # pixels; what every architecture can halve as often as it has to
_USUAL_SIDE = 1024  # pixels, for models that don't say on what they learned


def _inpainted(
    task: Task, start: Image.Image, where: Image.Image, *, strength: float, **asked: Any
) -> Image.Image:
    """``start`` with what a pipeline painted ``where`` a mask says."""

    def lay(frame: Frame) -> dict[str, Any]:
        return {
            "image": frame.lay(start),
            "mask_image": frame.lay(where),
            "strength": strength,
        }

    return _made(task, start.size, lay, **asked)


def _made(
    task: Task,
    size: Size,
    lay: Callable[[Frame], dict[str, Any]],
    *,
    prompt: str,
    seed: int,
    negative_prompt: str | None = None,
) -> Image.Image:
    """What the task's pipeline paints, in the given size.

    On a canvas of the size that the model learned on; where memory does not suffice, on one of
    half the pixels.
    """
    if reason := missing(task):
        raise remote.NotSetUp(reason)
    pipeline = _pipeline(task)
    side = _side(pipeline)
    for pixels in (side * side, side * side // 2):
        frame = painting.frame_within(size, pixels=pixels, multiple=_MULTIPLE)
        asked = {
            "prompt": prompt,
            "negative_prompt": negative_prompt,
            "width": frame.canvas[0],
            "height": frame.canvas[1],
            "num_inference_steps": _configuration.steps,
            "guidance_scale": _GUIDANCE,
            **lay(frame),
        }
        try:
            return frame.lift(_run(pipeline, asked, seed=seed))
        except weights.ModelOutOfMemory as exc:
            short_of_memory = exc
            _keep_only(_chosen(task)[0].folder)
    raise short_of_memory


def _side(pipeline: Any) -> int:
    """The side of the square that a pipeline's model learned on, in pixels."""
    model = getattr(pipeline, "unet", None) or pipeline.transformer
    learned = getattr(model.config, "sample_size", None)
    if isinstance(learned, (tuple, list)):
        learned = min(learned)
    return learned * pipeline.vae_scale_factor if learned else _USUAL_SIDE


def _run(pipeline: Any, asked: Mapping[str, Any], *, seed: int) -> Image.Image:
    import torch

    # Pipelines differ in what they can be told.
    known = inspect.signature(pipeline.__call__).parameters
    told = {name: value for name, value in asked.items() if name in known}
    # On the CPU whatever the device, so that a seed means the same on every host.
    generator = torch.Generator("cpu").manual_seed(seed)
    with _memory_errors(), torch.inference_mode():
        made: Image.Image = pipeline(**told, generator=generator).images[0]
    return made.convert("RGB")


@contextmanager
def _memory_errors() -> Iterator[None]:
    """One error for memory that ran out, whosever it was."""
    import torch

    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as exc:
        raise weights.ModelOutOfMemory(str(exc)) from exc
    except RuntimeError as exc:
        if "allocate memory" not in str(exc):  # torch has no type for it on the CPU
            raise
        raise weights.ModelOutOfMemory(str(exc)) from exc


_loaded: dict[Path, Any] = {}
_loading = threading.RLock()


def _pipeline(task: Task) -> Any:
    """The pipeline for a task, loaded once per process; the other one makes room if it must."""
    folder = _chosen(task)[0].folder
    with _loading:
        if folder not in _loaded:
            try:
                _loaded[folder] = _load(folder, task)
            except weights.ModelOutOfMemory:
                if not _keep_only(folder):
                    raise
                _loaded[folder] = _load(folder, task)
        return _loaded[folder]


def _keep_only(folder: Path) -> bool:
    """Let go of all other pipelines; whether there was one."""
    import torch

    with _loading:
        others = [other for other in _loaded if other != folder]
        for other in others:
            del _loaded[other]
    gc.collect()  # pipelines refer to themselves
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return bool(others)


def _load(folder: Path, task: Task) -> Any:
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when the packages are imported
    import diffusers
    import torch
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    on_gpu = torch.cuda.is_available()
    torch.set_num_threads(int(os.environ.get("STUDIO_ENGINE_THREADS", "1")))
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    index = json.loads((folder / "model_index.json").read_text())
    as_saved = task == "edit" or "Inpaint" in index["_class_name"]
    # A pipeline that makes pictures of words alone can paint where a mask says, too.
    kind = diffusers.DiffusionPipeline if as_saved else diffusers.AutoPipelineForInpainting
    halved = on_gpu and any(folder.glob("*/*.fp16.safetensors"))
    options: dict[str, Any] = {}
    if "safety_checker" in index:
        # It replaces pictures by black ones, often wrongly, and says nothing to the user.
        options = {"safety_checker": None, "requires_safety_checker": False}
    with _memory_errors():
        pipeline = kind.from_pretrained(
            str(folder),
            dtype=torch.float16 if on_gpu else torch.float32,
            variant="fp16" if halved else None,
            use_safetensors=True,  # anything else could run code of its own while it is read
            local_files_only=True,
            **options,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to("cuda" if on_gpu else "cpu")
