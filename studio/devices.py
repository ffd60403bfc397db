"""The devices of this host that models run on, and one worker on each GPU at a time.

GPUs are numbered as `nvidia-smi` numbers them: `cuda:0` is the first one of the host, whatever
a process may see of them. Nothing here loads CUDA: it does not survive a fork.
"""

import os
import socket
import struct
import subprocess
from dataclasses import dataclass

from django.conf import settings

CPU = "cpu"
ASK_SECONDS = 30.0
"""`nvidia-smi` wakes sleeping GPUs, one after another."""


@dataclass(frozen=True)
class Device:
    """A device, as workers name it, and how much memory it has, where that is known."""

    name: str
    memory_bytes: int | None


class DeviceTaken(Exception):
    """Another worker of this host has the device."""


def gpus() -> list[Device]:
    """The GPUs of this host; none where there is no driver."""
    line = ["nvidia-smi", "--query-gpu=index,memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(line, capture_output=True, text=True, timeout=ASK_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = (row.split(",") for row in said.stdout.splitlines() if row.strip())
    return [Device(f"cuda:{row[0].strip()}", _mebibytes(row[1])) for row in rows if len(row) == 2]


def to_serve() -> list[str]:
    """The devices on which this host is to have a GPU worker each: STUDIO_DEVICES, or its GPUs."""
    return list(settings.DEVICES) or [device.name for device in gpus()]


def use(name: str) -> Device:
    """Make this process see this device and no other; before anything loads CUDA."""
    if name == CPU:
        return Device(CPU, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # as nvidia-smi counts
    os.environ["CUDA_VISIBLE_DEVICES"] = name.partition(":")[2]
    known = {device.name: device for device in gpus()}
    return known.get(name, Device(name, None))


def usual() -> str:
    """The GPU of a worker that is told none: the first that its process may see."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    return f"cuda:{visible or 0}"


def take(name: str) -> socket.socket:
    """Have a GPU for as long as the answer is open and this process lives.

    Raises `DeviceTaken`, with who has it. A second worker would load each model a second time.
    """
    # A name in the kernel's table, not a file: it holds for all users and data directories of
    # the host (of one network namespace), and goes with the process however that ends.
    lock = socket.socket(socket.AF_UNIX)
    try:
        lock.bind(f"\0studio-device-{name}")
        lock.listen(8)
    except OSError as error:
        lock.close()
        raise DeviceTaken(
            f"Another worker of this host has {name} already ({_holder(name)}). Each GPU has one "
            "worker: stop that one, or name another device with --device."
        ) from error
    return lock


def _holder(name: str) -> str:
    with socket.socket(socket.AF_UNIX) as visitor:
        try:
            visitor.settimeout(1)
            visitor.connect(f"\0studio-device-{name}")
            who = visitor.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return "nobody knows which"
    return f"process {struct.unpack('3i', who)[0]}"


def _mebibytes(text: str) -> int | None:
    return int(text) * 2**20 if text.strip().isdigit() else None
