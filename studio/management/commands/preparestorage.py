"""``manage.py preparestorage``: make the site's buckets where they are missing."""

from typing import Any, cast

from botocore.exceptions import BotoCoreError, ClientError
from django.core.files.storage import storages
from django.core.management.base import BaseCommand, CommandError

from batches import storage

OURS_ALREADY = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}
"""Two of us at once: the other one made it."""


class Command(BaseCommand):
    """Buckets for originals and results; nothing to do where files are on a disk."""

    help = "Makes the site's buckets where they are missing. Safe to run at every start."

    def handle(self, **_: Any) -> None:
        """Print one line; end with 1 where the S3 server refuses or does not answer."""
        said = []
        for alias in (storage.ORIGINALS, storage.RESULTS):
            bucket = getattr(cast("Any", storages[alias]), "bucket", None)
            if bucket is None:
                said.append(f"{alias} are on the disk")
                continue
            try:
                made = _make(bucket)
            except (BotoCoreError, ClientError) as problem:
                raise CommandError(
                    f"The bucket {bucket.name} can't be used: {problem}. Check "
                    "STUDIO_S3_ENDPOINT, the key, and that the key may make buckets."
                ) from problem
            said.append(f"{bucket.name} {'was made' if made else 'is there'}")
        self.stdout.write(f"{', '.join(said)}.")


def _make(bucket: Any) -> bool:
    """Whether it was missing."""
    client = bucket.meta.client
    try:
        client.head_bucket(Bucket=bucket.name)
    except ClientError as answer:
        if answer.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
    else:
        return False
    region = client.meta.region_name
    # us-east-1 is the one region that may not be named.
    where = {"CreateBucketConfiguration": {"LocationConstraint": region}}
    try:
        client.create_bucket(
            Bucket=bucket.name, **({} if region in {None, "us-east-1", "aws-global"} else where)
        )
    except ClientError as answer:
        if answer.response["Error"]["Code"] not in OURS_ALREADY:
            raise
        return False
    return True
