"""Local diffusion: real pipelines of a toy's size, and what is said where there are none."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.engines.service import level
from tools.engines import diffusion, generative, remote, weights
from tools.engines.diffusion import Configuration, Pipeline

SIDES = (150, 100)
COMMIT = "0123456789abcdef" * 2 + "01234567"


def photo(mode: str = "RGB") -> Image.Image:
    image = Image.linear_gradient("L").resize(SIDES).convert(mode)
    ImageDraw.Draw(image).ellipse((50, 25, 100, 75), fill=(40, 160, 60, 255)[: len(mode)])
    return image


def subject() -> Image.Image:
    mask = Image.new("L", SIDES)
    ImageDraw.Draw(mask).ellipse((50, 25, 100, 75), fill=255)
    return mask


@pytest.fixture
def configure(monkeypatch):
    """Sets pipelines up for one test."""

    def change(**how) -> None:
        monkeypatch.setattr(diffusion, "_configuration", Configuration(**how))

    change()
    return change


def background(prompt: str = "a wooden table", **how) -> Image.Image:
    return generative.background(photo(), subject(), prompt=prompt, model="diffusion", **how)


def edit(prompt: str = "make it winter", **how) -> Image.Image:
    return generative.edit(
        photo(), **{"prompt": prompt, "strength": 0.5, "model": "diffusion", **how}
    )


# --- Where there are none ---------------------------------------------------------------------


@pytest.fixture
def installed(monkeypatch):
    """Whether the packages can be found, as far as a glance can tell."""

    def pretend(*, there: bool) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _name: object() if there else None)

    return pretend


def test_the_setting_that_brings_a_pipeline_is_named(configure):
    assert generative.missing("diffusion", "edit") == (
        "No diffusion pipeline is set up. Set STUDIO_DIFFUSION_EDIT."
    )
    assert "STUDIO_DIFFUSION_INPAINT" in generative.missing("diffusion", "background")
    assert "STUDIO_DIFFUSION_INPAINT" in generative.missing("diffusion", "remove")
    with pytest.raises(remote.NotSetUp):
        edit()


def test_the_command_that_brings_the_packages_is_named(configure, installed):
    configure(edit=Pipeline("/srv/edit"))
    installed(there=False)

    reason = generative.missing("diffusion", "edit")

    assert "pip install -r requirements-diffusion.in" in reason
    assert Path("requirements-diffusion.in").exists()


def test_the_command_that_brings_the_files_is_named(configure, installed, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    configure(inpaint=Pipeline("some/model", COMMIT))
    installed(there=True)

    assert f"`hf download some/model --revision {COMMIT}`" in generative.missing(
        "diffusion", "background"
    )

    folder = tmp_path / "models--some--model" / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    assert generative.missing("diffusion", "background") is None


def test_a_name_without_a_commit_is_no_folder(configure, installed):
    configure(edit=Pipeline("some/model"))
    installed(there=True)

    assert "STUDIO_DIFFUSION_EDIT_REVISION" in generative.missing("diffusion", "edit")


def test_pipelines_on_other_hosts_are_not_looked_for_here(configure, installed):
    configure(edit=Pipeline("some/model", COMMIT), elsewhere=True)
    installed(there=False)

    assert generative.missing("diffusion", "edit") is None
    assert generative.version("diffusion", "edit") == "model 0123456789ab, 30 steps"


# --- Where there are some ---------------------------------------------------------------------


def marked(test):
    """A test that needs the packages. torch's arrays don't know yet how numpy 2 copies them."""
    ignored = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
    return pytest.mark.diffusion(ignored(test))


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory):
    """Both pipelines, saved to disk as the big ones are."""
    from tests.engines import tiny_pipelines

    folder = tmp_path_factory.mktemp("pipelines")
    return {
        "inpaint": Pipeline(str(tiny_pipelines.save_inpaint(folder / "inpaint"))),
        "edit": Pipeline(str(tiny_pipelines.save_edit(folder / "edit"))),
    }


@pytest.fixture
def tiny(pipelines, configure):
    """The toys, set up."""
    configure(**pipelines, steps=2)
    return configure


@marked
def test_nothing_is_missing(tiny):
    assert [generative.missing("diffusion", t) for t in ("background", "edit", "remove")] == [
        None
    ] * 3


@marked
def test_a_background_is_painted_around_the_subject_and_nowhere_else(tiny):
    made = background()

    kept = np.asarray(subject()) == 255
    assert (made.mode, made.size) == ("RGB", SIDES)
    assert np.array_equal(level(made)[kept], level(photo())[kept])
    assert np.abs(level(made) - level(photo()))[~kept].mean() > 10


@marked
def test_a_pipeline_that_knows_words_only_paints_around_the_subject_too(tiny, tmp_path):
    from tests.engines import tiny_pipelines

    tiny(inpaint=Pipeline(str(tiny_pipelines.save_words_only(tmp_path / "words"))), steps=2)

    made = background()

    kept = np.asarray(subject()) == 255
    assert np.array_equal(level(made)[kept], level(photo())[kept])
    assert np.abs(level(made) - level(photo()))[~kept].mean() > 10


@marked
def test_what_is_removed_is_painted_over_and_the_rest_stays(tiny):
    made = generative.remove(photo(), subject(), model="diffusion")

    away = np.abs(level(made) - level(photo())).max(axis=-1)
    assert away[30:70, 60:90].mean() > 10
    assert away[:22].max() == away[:, :47].max() == 0


@marked
def test_an_edit_is_of_the_whole_picture_and_keeps_size_and_transparency(tiny):
    image = photo("RGBA")
    image.putalpha(subject())

    made = generative.edit(image, prompt="x", strength=0.5, model="diffusion")

    assert made.size == SIDES
    assert made.getchannel("A").tobytes() == subject().tobytes()
    assert np.abs(level(made) - level(image)).mean() > 10


@marked
@pytest.mark.parametrize("work", [background, edit])
def test_the_same_work_gives_the_same_bytes_and_another_seed_others(tiny, work):
    first, again, other = work(), work(), work(seed=8)

    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()
    assert work(seed=8).tobytes() == other.tobytes()


@marked
@pytest.mark.parametrize("work", [background, edit])
def test_words_make_a_difference(tiny, work):
    assert work(seed=1).tobytes() != work(prompt="something else", seed=1).tobytes()


@marked
def test_strength_makes_a_difference(tiny):
    assert edit(seed=1, strength=0).tobytes() != edit(seed=1, strength=1).tobytes()


@marked
def test_a_reference_is_what_the_background_starts_from(tiny):
    references = [Image.new("RGB", (40, 30), colour) for colour in ("black", "white")]

    dark, light = (background(seed=1, reference=reference) for reference in references)

    assert dark.tobytes() != light.tobytes() != background(seed=1).tobytes()


@marked
def test_a_pipeline_is_loaded_once(tiny, monkeypatch):
    monkeypatch.setattr(diffusion, "_loaded", {})

    edit(), edit(), background()

    assert len(diffusion._loaded) == 2


@marked
def test_the_canvas_is_of_the_size_that_the_model_learned_on(tiny):
    pipeline = diffusion._pipeline("background")

    assert diffusion._side(pipeline) == 64


@marked
def test_a_canvas_that_is_too_large_for_the_memory_is_halved_once(tiny, monkeypatch):
    tried, plain = [], diffusion._run

    def run(pipeline, asked, *, seed):
        tried.append(asked["width"] * asked["height"])
        if len(tried) == 1:
            raise weights.ModelOutOfMemory
        return plain(pipeline, asked, seed=seed)

    monkeypatch.setattr(diffusion, "_run", run)

    assert background().size == SIDES
    assert tried[1] < tried[0] * 0.7


@marked
def test_a_pipeline_makes_room_for_the_other_where_both_are_too_much(tiny, monkeypatch):
    monkeypatch.setattr(diffusion, "_loaded", {})
    plain = diffusion._load

    def load(folder, task):
        if diffusion._loaded:
            raise weights.ModelOutOfMemory
        return plain(folder, task)

    monkeypatch.setattr(diffusion, "_load", load)

    for work in (edit, background):
        assert work().size == SIDES
        assert len(diffusion._loaded) == 1


@marked
def test_a_pipeline_that_is_too_large_alone_is_out_of_memory(tiny, monkeypatch):
    def load(folder, task):
        raise weights.ModelOutOfMemory

    monkeypatch.setattr(diffusion, "_loaded", {})
    monkeypatch.setattr(diffusion, "_load", load)

    with pytest.raises(weights.ModelOutOfMemory):
        edit()


@marked
@pytest.mark.parametrize("message", ["DefaultCPUAllocator: can't allocate memory", "CUDA"])
def test_memory_that_ran_out_is_told_from_other_errors(tiny, monkeypatch, message):
    import torch

    error = torch.OutOfMemoryError if message == "CUDA" else RuntimeError

    def fail(*_arguments, **_options):
        raise error(message)

    monkeypatch.setattr(diffusion._pipeline("edit").unet, "forward", fail)

    with pytest.raises(weights.ModelOutOfMemory):
        edit()


@marked
def test_any_other_error_goes_through(tiny, monkeypatch):
    def fail(*_arguments, **_options):
        raise RuntimeError("shapes don't fit")

    monkeypatch.setattr(diffusion._pipeline("edit").unet, "forward", fail)

    with pytest.raises(RuntimeError, match="shapes"):
        edit()


@marked
def test_a_pipeline_that_could_run_code_while_it_is_read_is_not_read(tiny, pipelines, tmp_path):
    import shutil

    import torch

    folder = tmp_path / "pickled"
    shutil.copytree(pipelines["edit"].name, folder)
    (file,) = (folder / "unet").glob("*.safetensors")
    file.unlink()
    torch.save({}, folder / "unet" / "diffusion_pytorch_model.bin")
    tiny(edit=Pipeline(str(folder)))

    with pytest.raises(OSError, match="safetensors"):
        edit()


@marked
def test_it_says_nothing_while_it_works(tiny, monkeypatch, capfd):
    monkeypatch.setattr(diffusion, "_loaded", {})

    edit()

    said = capfd.readouterr()
    assert said.out + said.err == ""
