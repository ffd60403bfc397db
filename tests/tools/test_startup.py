"""What a process that only serves pages loads of the tools."""

import os
import subprocess
import sys

SETUP = """
import sys
import django
django.setup()
import studio.urls
from tools import registry
import tools.templatetags.tool_settings, tools.management.commands.fetchweights
assert [tool.unavailable_reason() for tool in registry.all()]
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


def test_a_web_process_loads_no_runtime(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SETUP],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "studio.settings",
            "STUDIO_DATA_DIR": str(tmp_path),
        },
        check=True,
        capture_output=True,
        text=True,
    )

    loaded = set(done.stdout.split())
    assert "tools" in loaded
    assert not loaded & {"onnxruntime", "rembg", "torch", "numpy", "scipy", "numba", "skimage"}
    # Each start of a command would pay for them, too.
    assert not loaded & {"boto3", "gspread", "lxml", "openpyxl", "python_calamine", "moto"}
