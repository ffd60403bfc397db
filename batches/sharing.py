"""Whether this host sees the files that the other hosts of the site see."""

import socket
from contextlib import suppress
from uuid import uuid4

from django.db import Error

from batches import storage
from batches.models import Original

NEWEST = 5
"""Originals that are looked for; some of them may be deleted just now."""


def problem() -> str:
    """Why a worker of this host could only fail, in a sentence for staff; empty when all is well.

    Writes a small file to each storage and reads it back, and looks for the newest originals.
    What can't be asked because the database is away is taken to be well.
    """
    probe = f"probe/{socket.gethostname()}-{uuid4().hex[:12]}"
    for alias in (storage.ORIGINALS, storage.RESULTS):
        try:
            storage.save(alias, probe, probe.encode())
            try:
                if storage.read(alias, probe) != probe.encode():
                    return f"What is written to the storage of {alias} reads back differently."
            finally:
                with suppress(Exception):
                    storage.delete(alias, probe)
        except Exception as error:  # noqa: BLE001 - disks and S3 have their own
            return (
                f"The storage of {alias} can't be used from this host ({error}). Check the "
                "STUDIO_STORAGE settings and the AWS keys, or the mounted folder's owner."
            )
    try:
        keys = list(Original.objects.order_by("-pk").values_list("key", flat=True)[:NEWEST])
    except Error:
        return ""
    if keys and not any(storage.exists(storage.ORIGINALS, key) for key in keys):
        return (
            "This host sees none of the site's newest originals: its storage is not the one that "
            "the others use. Set STUDIO_STORAGE=s3 on all hosts, or mount the same folder in "
            "STUDIO_DATA_DIR/media."
        )
    return ""
