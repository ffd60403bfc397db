"""Engines stand alone: no Django, and nothing heavy before it is needed."""

import pkgutil
import subprocess
import sys

import tools.engines

MODULES = [
    f"tools.engines.{module.name}" for module in pkgutil.iter_modules(tools.engines.__path__)
]

BLOCKED = """
import importlib, sys

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"django", "rest_framework", "rq", "django_rq", "storages"}:
            raise ImportError(f"{name} is not for engines")

sys.meta_path.insert(0, Wall())
for name in sys.argv[1:]:
    importlib.import_module(name)
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


def loaded_by(*modules: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BLOCKED, *modules],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(done.stdout.split())


def test_engines_load_where_there_is_no_django():
    assert {"weights", "matting"} <= {name.rsplit(".")[-1] for name in MODULES}

    assert "tools" in loaded_by(*MODULES)


def test_the_wall_of_that_test_stands():
    refused = subprocess.run(
        [sys.executable, "-c", BLOCKED, "tools.base"], capture_output=True, text=True, check=False
    )

    assert "is not for engines" in refused.stderr


def test_no_runtime_is_loaded_before_a_model_runs():
    doors = ("matting", "weights", "generative", "vision_language")
    loaded = loaded_by(*(f"tools.engines.{name}" for name in doors))

    heavy = {"onnxruntime", "rembg", "numpy", "scipy", "numba", "torch", "diffusers", "httpcore"}
    assert not loaded & heavy
