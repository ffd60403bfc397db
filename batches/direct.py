"""Files that people's programs write to the site's bucket by themselves, and then hand in.

A ticket is a `PartialUpload` whose one piece has its name before there are bytes. So it counts
among what its owner has on the way, is forgotten and erased like every other upload, and what
lies in the bucket without an open ticket is swept. Its address is good for that name alone, which
never becomes an original's: what is taken in is copied first.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from accounts.models import User
from batches import intake, partials, storage
from batches.models import Original, PartialUpload
from batches.names import clean_name
from batches.refusals import Refusal
from tools.engines import images

OPEN_FOR = timedelta(hours=1)
"""How long the bucket takes the file. It can be handed in for as long as uploads are kept."""


class Refused(Exception):
    """A direct upload that can't be begun, or can't be ended now. Nothing has changed."""

    code = "refused"


class Unavailable(Refused):
    """This site's files are on a disk, which no program of others can write to."""

    code = "direct_upload_unavailable"


class Missing(Refused):
    """The file is not in the bucket yet."""

    code = "direct_upload_missing"


class Expired(Refused):
    """The file is not in the bucket, and can't come any more."""

    code = "direct_upload_expired"


CONFLICTS = frozenset(kind.code for kind in (Unavailable, Missing, Expired))
"""The codes of all that is `Refused`."""


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """What a program needs to send one file: `method`, `url` and exactly these `headers`."""

    upload: PartialUpload
    url: str
    headers: dict[str, str]
    expires_at: datetime
    method: str = "PUT"


def begin(
    owner: User, *, name: str, length: int, content_type: str = "", sha256: str = ""
) -> Ticket:
    """Let a person's program write one file of so many bytes to the bucket, for an hour.

    Raises `Unavailable`, `intake.ImageRefused` for a length that no image may have, or
    `partials.TooManyOpen`.
    """
    if not storage.may_be_written_directly():
        raise Unavailable
    try:
        images.check_bytes(length)
    except images.ImageProblem as problem:
        raise intake.ImageRefused(problem.code, problem.params) from None
    partials.refuse_too_many(owner, length)
    upload = PartialUpload(
        owner=owner, name=clean_name(name), length=length, direct=True, sha256=sha256
    )
    key = storage.piece_key(owner.uid, upload.uid, 0)
    upload.pieces = [key]
    # The server signs its own time with an address, so it ends no later than we say.
    url = storage.address_to_write(
        key, length=length, content_type=content_type, seconds=int(OPEN_FOR.total_seconds())
    )
    upload.save()
    headers = {"Content-Length": str(length)}
    if content_type:
        headers["Content-Type"] = content_type
    return Ticket(upload=upload, url=url, headers=headers, expires_at=_expires_at(upload))


def complete(upload: PartialUpload) -> tuple[Original, bool]:
    """Take in what was written to the bucket; returns the original and whether it is new.

    Again, or twice at the same time, it is the same original. Raises `Missing` or `Expired`
    where there is nothing, `intake.ImageRefused` (then the file is gone, and the ticket used up),
    `partials.Gone` where the upload or its original was removed, and what `intake.receive` raises
    when the guard can't answer; then it may be tried again.
    """
    try:
        is_new = upload.outcome is None and _take(upload)
    except PartialUpload.DoesNotExist:
        raise partials.Gone from None
    taken = partials.taken(upload)
    if isinstance(taken, Refusal):
        raise intake.ImageRefused(taken.code, taken.params)
    if taken is None:
        raise partials.Gone
    return taken, is_new


def _take(upload: PartialUpload) -> bool:
    """Judge the file in the bucket and note the outcome; True when it made a new original."""
    try:
        data = storage.read_at_most(
            storage.ORIGINALS, upload.pieces[0], settings.IMAGE_MAX_BYTES + 1
        )
    except FileNotFoundError:
        upload.refresh_from_db()  # somebody was faster and has tidied up
        if upload.outcome is not None:
            return False
        raise (Missing if timezone.now() < _expires_at(upload) else Expired) from None
    got, is_new = _judged(upload, data)
    partials.settle(upload, got)
    return is_new


def _judged(upload: PartialUpload, data: bytes) -> tuple[Original | Refusal, bool]:
    # The signature holds the bucket to the length; not every server that speaks S3 looks at it.
    is_announced = len(data) == upload.length
    if upload.sha256:
        is_announced = is_announced and hashlib.sha256(data).hexdigest() == upload.sha256
    if not is_announced:
        return Refusal(upload.name, "upload_differs"), False
    try:
        return intake.receive(upload.owner, data, name=upload.name)
    except intake.ImageRefused as refused:
        return Refusal(upload.name, refused.code, refused.params), False


def _expires_at(upload: PartialUpload) -> datetime:
    """Until when the bucket takes the file; a ticket's row changes when it is used up."""
    return upload.updated_at + OPEN_FOR
