"""Connections to the servers on loopback, made through the verb."""

from typing import Any

from django.utils import timezone

from accounts.models import Connection, ConnectionKind, User
from batches import connections
from tests.sirv_server import SirvServer


def connected_sirv(owner: User, sirv: SirvServer, *, name: str = "Shop") -> Connection:
    """The Sirv account of the test's server."""
    return connections.connect(
        owner,
        kind=ConnectionKind.SIRV,
        name=name,
        config={"client_id": sirv.client_id},
        secret=sirv.client_secret,
        now=timezone.now(),
    )


def connected_bucket(owner: User, s3: Any, *, name: str = "Bucket", prefix: str = "") -> Connection:
    """The bucket `pictures` of the test's server."""
    return connections.connect(
        owner,
        kind=ConnectionKind.S3,
        name=name,
        config={
            "bucket": "pictures",
            "key_id": "testing",
            "endpoint": s3.url,
            "region": "us-east-1",
            "prefix": prefix,
            "public_url": "",
        },
        secret="testing",
        now=timezone.now(),
    )
