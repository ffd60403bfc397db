"""``make bench``: our own command against rembg's in one run; then every tool, and the pages.

Both commands are timed as whole processes, start-up included, one after the other in turn, so
that a machine whose speed drifts treats them alike. Read the ratio, not the seconds.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bench import pages, tools
from bench.photos import photos

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = Path(os.environ.get("STUDIO_WEIGHTS_DIR", ROOT / "var/weights")).absolute()


def main() -> None:
    """Parse the options and measure."""
    parts: dict[str, Callable[[argparse.Namespace], None]] = {
        "images": _images,
        "tools": lambda _options: tools.main(),
        "pages": lambda _options: pages.main(),
    }
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--model", default="u2netp")
    parser.add_argument("--count", type=int, default=40, help="photos (default: 40)")
    parser.add_argument("--rounds", type=int, default=2, help="timed rounds (default: 2)")
    parser.add_argument(
        "what", nargs="*", choices=[*parts], default=[], help="only these (default: all)"
    )
    options = parser.parse_args()
    for name in options.what or parts:
        parts[name](options)


def _images(options: argparse.Namespace) -> None:
    """Run the rounds and print the figures."""
    with tempfile.TemporaryDirectory(prefix="studio-bench-") as name:
        folder = Path(name)
        source = folder / "photos"
        source.mkdir()
        pixels = 0
        for photo, data in photos(options.count):
            (source / photo).write_bytes(data)
            width, height = Image.open(source / photo).size
            pixels += width * height
        print(f"{options.count} photos, {pixels / options.count / 1e6:.1f} megapixels on average")
        print("One warm-up of each (rembg compiles on its first start) …", flush=True)
        first = folder / "first"
        first.mkdir()
        (first / "photo-01.jpg").write_bytes((source / "photo-01.jpg").read_bytes())
        _rembg(first, folder / "warm-up-rembg", options.model)
        _runbatch(folder / "warm-up", first, folder / "warm-up-ours", options.model)
        ratios, ours_out, rembg_out = [], folder, folder
        for number in range(1, options.rounds + 1):
            rembg_out = folder / f"rembg-{number}"
            ours_out = folder / f"ours-{number}"
            rembg = _rembg(source, rembg_out, options.model)
            ours = _runbatch(folder / f"data-{number}", source, ours_out, options.model)
            ratios.append(rembg[0] / ours[0])
            _print("rembg p", options.count, *rembg)
            _print("runbatch", options.count, *ours)
            print(f"  ratio {ratios[-1]:.2f}", flush=True)
        print(f"runbatch is {statistics.median(ratios):.2f} times as fast as rembg p (median)")
        print(f"largest difference between their pixels: {_difference(rembg_out, ours_out)} of 255")
        print(f"results: {_size(rembg_out):.0f} MB there, {_size(ours_out):.0f} MB here")


def _rembg(source: Path, target: Path, model: str) -> tuple[float, float]:
    command = [str(Path(sys.executable).with_name("rembg")), "p", "-m", model, source, target]
    return _timed(lambda: _run(command, U2NET_HOME=str(WEIGHTS)))


def _runbatch(data: Path, source: Path, target: Path, model: str) -> tuple[float, float]:
    """Ours, on a data directory of its own that was set up before, as `make setup` does."""
    manage = [sys.executable, str(ROOT / "manage.py")]
    here = {"STUDIO_DATA_DIR": str(data)}
    _run([*manage, "reconcile"], **here)
    command = [*manage, "runbatch", source, "--tool", "remove-background"]
    command += ["--set", f"model={model}", "--out", target, "--no-reuse"]
    return _timed(lambda: _run(command, **here))


def _run(command: Sequence[object], **env: str) -> None:
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, "ORT_DISABLE_TELEMETRY": "1", **env},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stderr}")


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    """Wall and processor seconds, children included."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    work()
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _print(name: str, count: int, wall: float, cpu: float) -> None:
    print(f"  {name:9} {wall:6.2f} s wall, {cpu:6.2f} s cpu, {count / wall:5.2f} images/s")


def _difference(there: Path, here: Path) -> int:
    """The largest difference in any channel of any pixel of any result."""
    largest = 0
    for path in sorted(there.glob("*.png")):
        theirs = np.asarray(Image.open(path).convert("RGBA"), dtype=np.int16)
        ours = np.asarray(Image.open(here / path.name).convert("RGBA"), dtype=np.int16)
        largest = max(largest, int(np.abs(theirs - ours).max()))
    return largest


def _size(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6


if __name__ == "__main__":
    main()
