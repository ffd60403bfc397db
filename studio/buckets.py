"""How the site speaks to its own buckets, at Amazon or at any other server of S3's protocol."""

from typing import Any

CONNECT_SECONDS = 5
READ_SECONDS = 30
TRIES = 3
CONNECTIONS = 32
"""Kept open to one server: the threads of a web process share them."""


def options(bucket: str, *, endpoint: str) -> dict[str, Any]:
    """One bucket as an entry of Django's ``STORAGES``; an empty endpoint is Amazon's."""
    from botocore.config import Config  # sites that keep files on a disk don't pay for it

    return {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": bucket,
            "endpoint_url": endpoint or None,
            "default_acl": None,
            "file_overwrite": True,  # names carry a claim's token and never repeat
            "querystring_auth": True,
            "client_config": Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"mode": "standard", "total_max_attempts": TRIES},
                max_pool_connections=CONNECTIONS,
                # Only version 4 signs the length of what an address may be used to upload.
                signature_version="s3v4",
                s3={"addressing_style": "path" if endpoint else "virtual"},
                # Other servers than Amazon's know no trailing checksums.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        },
    }
