"""Local diffusion pipelines (Hugging Face diffusers), for hosts with a GPU.

Two pipelines, both the operator's choice: one that paints where a mask says (a Stable Diffusion
*inpaint* pipeline) and one that follows an instruction (an *InstructPix2Pix* pipeline). Nothing
is downloaded while the studio runs: a pipeline is a folder, or a name on the Hugging Face hub
with the commit that was fetched beforehand.
"""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tools.engines import remote
from tools.engines.painting import Task


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
            "Run `pip install -r requirements-diffusion.txt`."
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
    """See `generative.background`."""
    raise NotImplementedError


def edit(image: Image.Image, *, prompt: str, strength: float, seed: int) -> Image.Image:
    """See `generative.edit`."""
    raise NotImplementedError


def remove(image: Image.Image, mask: Image.Image, *, seed: int) -> Image.Image:
    """See `generative.remove`."""
    raise NotImplementedError
