"""A bucket that speaks S3, at Amazon or anywhere: django-storages with limits of our own.

Nothing of this machine's surroundings counts: no configuration files, no environment, no
metadata service, no proxies. Only the key and the secret of the connection sign a request.
"""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import IO, Any

import boto3
import botocore.awsrequest
import botocore.session
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.credentials import CredentialResolver
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    ParamValidationError,
    SSLError,
)
from botocore.loaders import Loader, create_loader
from storages.backends.s3 import S3Storage
from urllib3.exceptions import HTTPError

from batches.stores import files, guarding, paths
from batches.stores.base import Found, StoreError
from batches.stores.endpoints import judged

PART_BYTES = 8 * 2**20
"""Larger files go up in parts of this size."""
TRIES = 3
"""Times that boto3 makes one request, pauses in between."""
LONGEST_KEY = 1024
"""Bytes of a key in UTF-8, its prefix included."""
CHUNK = 2**16
DEFAULT_REGION = "us-east-1"

_LIMIT = {"SlowDown", "RequestLimitExceeded", "Throttling", "ThrottlingException"}
_LOST = {"RequestTimeout", "IncompleteBody"}
_MEANINGS = {
    code: meaning
    for meaning, codes in {
        "store_clock": ("RequestTimeTooSkewed",),
        "store_credentials": (
            *("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"),
            *("AuthFailure", "UnrecognizedClientException", "InvalidClientTokenId", "401"),
        ),
        "store_missing": ("NoSuchBucket", "NoSuchKey", "NotFound", "404"),
        "store_forbidden": ("AccessDenied", "403"),
    }.items()
    for code in codes
}


class S3:
    """A `Store` in somebody's bucket; safe to share between threads."""

    def __init__(
        self,
        *,
        bucket: str,
        key_id: str,
        secret: str,
        endpoint: str = "",
        region: str = "",
        prefix: str = "",
        public_url: str = "",
        allow: Sequence[str] = (),
        resolver: guarding.Resolver | None = None,
    ) -> None:
        """An empty endpoint is Amazon's. Raises `StoreError` for one that may not be called."""
        self._prefix = paths.folder(prefix)
        self._public_url = public_url.rstrip("/")
        self._storage = _Storage(
            resolver=resolver or guarding.Resolver(allow=allow),
            bucket_name=bucket,
            access_key=key_id,
            secret_key=secret,
            endpoint_url=judged(endpoint, allow=allow) if endpoint else None,
            region_name=region or DEFAULT_REGION,
            client_config=_config(path_style=bool(endpoint)),
            transfer_config=TransferConfig(
                multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, use_threads=False
            ),
        )
        self._bucket = bucket

    @property
    def _client(self) -> Any:
        return self._storage.connection.meta.client

    def check(self) -> Mapping[str, str]:
        """List one name: that takes the bucket, the key and the secret."""
        with _errors():
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._in_folder(""), MaxKeys=1)
        return {}

    def stat(self, path: str) -> Found | None:
        """The file there, or nothing."""
        try:
            with _errors():
                head = self._client.head_object(Bucket=self._bucket, Key=self._key(path))
        except StoreError as error:
            if error.code == "store_missing":
                return None
            raise
        return Found(
            path=path,
            bytes=head["ContentLength"],
            content_type=head.get("ContentType", ""),
            changed_at=head.get("LastModified"),
            fingerprint=head.get("ETag", "").strip('"'),
        )

    def write(self, path: str, file: IO[bytes], *, size: int, content_type: str) -> None:  # noqa: ARG002
        """Send a file; above eight megabytes in parts, which count when the last has come."""
        with _errors():
            self._client.upload_fileobj(
                _Kept(file),
                self._bucket,
                self._key(path),
                ExtraArgs={"ContentType": content_type},
                Config=self._storage.transfer_config,
            )

    def read(self, path: str, *, into: IO[bytes], max_bytes: int) -> None:
        """Get a file; what is announced or comes beyond the limit is refused at once."""
        with _errors():
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key(path))
            body = answer["Body"]
            try:
                files.copy_limited(
                    body.iter_chunks(CHUNK),
                    into,
                    announced=answer["ContentLength"],
                    max_bytes=max_bytes,
                )
            finally:
                body.close()

    def copy(self, path: str, to: str) -> None:
        """Have the server copy it, over whatever is there."""
        source = {"Bucket": self._bucket, "Key": self._key(path)}
        with _errors():
            self._client.copy_object(Bucket=self._bucket, Key=self._key(to), CopySource=source)

    def delete(self, path: str) -> None:
        """Remove a file; S3 itself takes no offence where there is none."""
        with _errors():
            self._client.delete_object(Bucket=self._bucket, Key=self._key(path))

    def walk(self, folder: str, *, recursive: bool) -> Iterator[Found]:
        """The files below a folder by their whole names, a thousand to a page."""
        for page in self._pages(folder, recursive=recursive):
            for entry in page.get("Contents") or ():
                path = entry["Key"][len(self._in_folder("")) :]
                if paths.is_plain(path):  # what ends in a slash stands for a folder
                    yield Found(
                        path=path,
                        bytes=entry["Size"],
                        changed_at=entry.get("LastModified"),
                        fingerprint=entry.get("ETag", "").strip('"'),
                    )

    def folders(self, folder: str) -> Sequence[str]:
        """Names of the folders right in a folder."""
        start = len(self._in_folder(folder))
        names = [
            common["Prefix"][start:].rstrip("/")
            for page in self._pages(folder, recursive=False)
            for common in page.get("CommonPrefixes") or ()
        ]
        return sorted(filter(paths.is_plain, names))

    def describe(self, path: str, *, text: str, product: str) -> None:
        """S3 has no place for words that anybody would see."""

    def url(self, path: str) -> str:
        """Its address where the bucket is public, if the connection says where that is."""
        if not self._public_url:
            return ""
        return f"{self._public_url}/{paths.in_url(self._key(path))}"

    def _pages(self, folder: str, *, recursive: bool) -> Iterator[Mapping[str, Any]]:
        where = {"Bucket": self._bucket, "Prefix": self._in_folder(folder)}
        if not recursive:
            where["Delimiter"] = "/"
        with _errors():
            yield from self._client.get_paginator("list_objects_v2").paginate(**where)

    def _in_folder(self, folder: str) -> str:
        """What the keys of a folder begin with."""
        names = [self._prefix, paths.checked(folder) if folder else ""]
        whole = "/".join(filter(None, names))
        return f"{whole}/" if whole else ""

    def _key(self, path: str) -> str:
        key = self._in_folder("") + paths.checked(path)
        if len(key.encode()) > LONGEST_KEY:
            raise StoreError("store_name_too_long", max=LONGEST_KEY)
        return key


def _config(*, path_style: bool) -> Config:
    return Config(
        connect_timeout=guarding.CONNECT_SECONDS,
        read_timeout=guarding.READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": TRIES},
        signature_version="s3v4",
        s3={"addressing_style": "path" if path_style else "virtual"},
        max_pool_connections=16,
        proxies={},
        ignore_configured_endpoint_urls=True,
        # Other servers than Amazon's know no trailing checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


class _Storage(S3Storage):
    """django-storages, with one client for all threads, in a world of its own."""

    def __init__(self, *, resolver: guarding.Resolver, **options: Any) -> None:
        self._resolver = resolver
        self._making = threading.Lock()
        self._resource: Any = None
        super().__init__(**options)

    @property
    def connection(self) -> Any:
        """The resource whose client is shared: clients are thread-safe, and slow to make."""
        with self._making:
            if self._resource is None:
                self._resource = self._create_session().resource(
                    "s3",
                    region_name=self.region_name,
                    endpoint_url=self.endpoint_url,
                    config=self.client_config,
                )
                _guard(self._resource.meta.client, self._resolver)
            return self._resource

    def _create_session(self) -> Any:
        alone = botocore.session.Session(
            session_vars={
                "profile": (None, [], None, None),
                "config_file": (None, [], os.devnull, None),
                "credentials_file": (None, [], os.devnull, None),
                "ca_bundle": (None, [], None, None),
            }
        )
        alone.register_component("data_loader", _loader())
        # Nobody but us may know of credentials: least of all the machine's own role.
        alone.register_component("credential_provider", CredentialResolver([]))
        return boto3.Session(
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            botocore_session=alone,
        )


class _Kept:
    """A file that boto3 reads and may not close, as it would like to."""

    def __init__(self, file: IO[bytes]) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell

    def close(self) -> None:
        """Whoever opened it closes it."""


@cache
def _loader() -> Loader:
    """What describes S3 to botocore: large, slow to read, and the same for every connection."""
    return create_loader()


def _guard(client: Any, resolver: guarding.Resolver) -> None:
    """Have boto3 dial through our guard. There is no public place for that."""
    manager = client._endpoint.http_session._manager
    manager.pool_classes_by_scheme = guarding.pool_classes(
        resolver,
        http=botocore.awsrequest.AWSHTTPConnectionPool,
        https=botocore.awsrequest.AWSHTTPSConnectionPool,
    )


@contextmanager
def _errors() -> Iterator[None]:
    """Say in our words what boto3 says in its own."""
    try:
        yield
    except ClientError as error:
        raise _refusal(error) from error
    except ParamValidationError as error:
        raise StoreError("store_refused", status=400) from error
    except SSLError as error:
        raise StoreError("store_unreachable") from error
    except HTTPClientError as error:
        cause = error.kwargs.get("error")
        if isinstance(cause, guarding.NotPublic):
            raise StoreError("store_not_allowed", host=str(cause)) from error
        raise StoreError("store_unreachable", transient=True) from error
    except (BotoCoreError, HTTPError, OSError) as error:
        raise StoreError("store_unreachable", transient=True) from error


def _refusal(error: ClientError) -> StoreError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    about = error.response.get("ResponseMetadata", {})
    status = int(about.get("HTTPStatusCode", 0))
    if code in _LIMIT or status == 429:
        try:
            wait = float(about.get("HTTPHeaders", {}).get("retry-after", 30))
        except ValueError:
            wait = 30.0
        return StoreError("store_limit", transient=True, retry_after=wait)
    if status >= 500 or code in _LOST:
        return StoreError("store_unreachable", transient=True, status=status)
    if meaning := _MEANINGS.get(code) or _MEANINGS.get(str(status)):
        return StoreError(meaning)
    return StoreError("store_refused", status=status)
