"""The GPUs of a host, and one worker on each; `nvidia-smi` is a stand-in: there is no GPU here."""

import os
import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command

from studio import devices, processes
from tools.base import missing_weights
from tools.engines import weights

TAKE = """
import sys
from studio import devices
lock = devices.take("cuda:77")
print("taken", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def two_gpus(tmp_path, monkeypatch, settings):
    """A driver that tells of two GPUs, the second one small."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf '0, 24564\\n1, 512\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.setenv(name, "")  # what `use` sets goes with the test
    settings.DEVICES = []
    settings.ENGINE_QUEUES = ["gpu", "cpu"]
    settings.RQ_QUEUES = {**settings.RQ_QUEUES, "gpu": settings.RQ_QUEUES["cpu"]}


@pytest.fixture
def device_of_this_process(monkeypatch):
    monkeypatch.setattr(weights, "_device", None)
    monkeypatch.setattr(weights, "_device_memory", None)


def test_a_host_has_a_worker_on_each_of_its_gpus_and_as_many_as_cores_on_its_processor(
    two_gpus, settings
):
    settings.ENGINE_WORKERS = 3

    served = processes.engine_devices(["gpu", "cpu"])
    settings.DEVICES = ["cuda:1"]

    assert served == {"gpu": ["cuda:0", "cuda:1"], "cpu": ["cpu"] * 3}
    assert processes.engine_devices(["gpu-large"]) == {"gpu-large": ["cuda:1"]}


def test_of_two_gpu_queues_the_first_gets_the_gpus_of_a_host(two_gpus, caplog):
    served = processes.engine_devices(["gpu-large", "gpu"])

    assert served == {"gpu-large": ["cuda:0", "cuda:1"], "gpu": []}
    assert "gpu gets no worker here: gpu-large has the GPUs of this host." in caplog.text


def test_a_host_without_a_gpu_has_no_gpu_worker_and_says_so(settings, monkeypatch, caplog):
    settings.DEVICES = []
    monkeypatch.setenv("PATH", "/nonexistent")

    assert processes.engine_devices(["gpu"]) == {"gpu": []}
    assert "No GPU was found here" in caplog.text


def test_a_worker_sees_its_own_gpu_and_no_other(two_gpus):
    found = devices.use("cuda:1")

    assert found == devices.Device("cuda:1", 512 * 2**20)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    assert devices.usual() == "cuda:1"


def test_a_model_that_the_gpu_has_no_room_for_is_not_there(two_gpus, device_of_this_process):
    before = missing_weights("u2netp")
    weights.use_device("cuda:1", memory=300_000_000)

    assert before is None
    assert "too little memory" in missing_weights("u2netp")


def test_a_second_worker_on_a_gpu_is_told_who_has_it():
    first = subprocess.Popen(
        [sys.executable, "-c", TAKE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
    )  # fmt: skip
    assert first.stdout.readline() == "taken\n"

    with pytest.raises(devices.DeviceTaken) as refused:
        devices.take("cuda:77")
    with devices.take("cuda:78"):
        pass
    first.kill()
    first.communicate()

    assert f"process {first.pid}" in str(refused.value)
    with devices.take("cuda:77"):
        pass  # it went with its process


def test_the_worker_command_refuses_a_gpu_that_is_taken_or_that_it_could_not_use(
    two_gpus, device_of_this_process, valkey
):
    with devices.take("cuda:1"), pytest.raises(CommandError, match="has cuda:1 already"):
        call_command("worker", "gpu", device="cuda:1")
    with pytest.raises(CommandError, match="knows no CUDA"):
        call_command("worker", "gpu", device="cuda:1")
    with pytest.raises(CommandError, match="can't run on 'cuda:1'"):
        call_command("worker", "cpu", device="cuda:1")
