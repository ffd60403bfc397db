"""Every tool by itself: images per second and the most memory, on photos of 4 megapixels.

Each tool and model runs in a process of its own, on one thread as an engine worker does, so that
its memory is its own. The first photo loads the model and is not timed.
"""

import io
import json
import os
import resource
import subprocess
import sys
import time
from typing import Any

import django
from PIL import Image

from bench.photos import photos

SIZES = [(2400, 1700), (1700, 2400), (2000, 2000)]
COUNT = 3
"""Timed photos."""
PATIENCE = 900
"""Seconds after which a tool is given up."""


def main() -> None:
    """Measure every tool with each of its models, and print a line for each."""
    _django()
    from tools import registry

    print(f"{'tool':<48}{'photos/s':>10}{'seconds':>10}{'peak MB':>10}")
    for tool in registry.all():
        for settings in _variants(tool):
            name = " ".join([tool.slug, *map(str, settings.values())])
            print(f"{name:<48}{_measured(tool.slug, settings)}", flush=True)


def _variants(tool: Any) -> list[dict[str, Any]]:
    """The settings to measure: one for each model that is here."""
    field = tool.Settings().fields.get("model")
    if field is None:
        return [{}]
    usual = tool.defaults()
    chosen: list[dict[str, Any]] = [{"model": model} for model in field.choices]
    return [one for one in chosen if tool.unavailable_reason({**usual, **one}) is None]


def _measured(slug: str, settings: dict[str, Any]) -> str:
    command = [sys.executable, "-m", "bench.tools", slug, json.dumps(settings)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "STUDIO_ENGINE_THREADS": "1"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=env, timeout=PATIENCE, check=True
        )
    except subprocess.TimeoutExpired:
        return f"  more than {PATIENCE} s for {COUNT + 1} photos"
    except subprocess.CalledProcessError as error:
        return f"  failed: {error.stderr.strip().splitlines()[-1]}"
    seconds, megabytes = json.loads(done.stdout.splitlines()[-1])
    return f"{1 / seconds:>10.2f}{seconds:>10.2f}{megabytes:>10.0f}"


def _run(slug: str, given: dict[str, Any]) -> None:
    """Run the tool in this process; prints seconds per photo and the peak in MB as JSON."""
    _django()
    from tools import examples, registry
    from tools.engines import images

    tool = registry.get(slug)
    pictures = [images.read(io.BytesIO(data)) for _name, data in photos(COUNT + 1, sizes=SIZES)]
    spent = 0.0
    for number, picture in enumerate(pictures):
        chosen = examples.run_settings(tool, picture, given)
        begun = time.perf_counter()
        for output in tool.run(picture, chosen):
            if output.image is not None:
                _encoded(output.image, chosen)
        spent += time.perf_counter() - begun if number else 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([spent / COUNT, peak]))


def _encoded(picture: Image.Image, chosen: dict[str, Any]) -> bytes:
    from tools.engines import images

    if chosen["format"] == "jpg":
        picture = images.flattened(picture)
    return images.encode(picture, format=chosen["format"], quality=chosen["quality"])


def _django() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "studio.settings")
    django.setup()


if __name__ == "__main__":
    _run(sys.argv[1], json.loads(sys.argv[2]))
