"""Requests that may be sent twice and do their work once.

``@idempotent`` on a ``post`` method makes the ``Idempotency-Key`` header mean what it
should: the same key with the same request gets the first answer again, byte for byte, for
24 hours. The unique index decides between two requests that arrive together.

What runs is not inside a transaction of ours, since a view may wait for work that others
do. A process that dies between its work and the note of its answer leaves the row in
flight; after ``ABANDONED_AFTER`` the next request with that key runs anew. So that it does
not do the work a second time, whatever a view makes takes the id that ``id_of_work`` gives:
the second run finds what the first has made.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, cast
from uuid import UUID

from django.core.files.uploadedfile import UploadedFile
from django.db import IntegrityError, transaction
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext_lazy as _
from rest_framework import exceptions, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import IdempotencyKey, User

KEPT_FOR = timedelta(hours=24)
ABANDONED_AFTER = timedelta(minutes=10)
"""A request that runs longer than this has died: the longest wait for an image is shorter."""

LONGEST_KEY = 255
REPLAYED = "Idempotent-Replayed"
CLAIM = "idempotency_claim"
"""The attribute of a request that holds our row while the request runs."""

PostMethod = Callable[..., HttpResponseBase]


class IdempotencyMismatch(exceptions.APIException):
    """The key was used for another request."""

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_code = "idempotency_mismatch"
    default_detail = _("This Idempotency-Key was sent before with another request. Use a new key.")


class IdempotencyInFlight(exceptions.APIException):
    """The first request with this key has no answer yet."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "idempotency_in_flight"
    default_detail = _(
        "The first request with this Idempotency-Key is still running. Ask again in a moment."
    )


class IdempotencyKeyInvalid(exceptions.APIException):
    """The header holds nothing that could be a key."""

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_code = "validation_failed"
    default_detail = _("An Idempotency-Key has 1 to 255 printable characters.")


def idempotent(view: PostMethod) -> PostMethod:
    """Give a ``post`` method of an ``APIView`` the meaning of ``Idempotency-Key``.

    Answers below 500 are kept, refusals too; 429 and 5xx ask to try again, so the next
    request with the key runs at once. Without the header nothing changes.
    """

    @wraps(view)
    def post(self: APIView, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return view(self, request, *args, **kwargs)
        claim = _claim(request, key)
        if claim.status is not None:
            return _replay(claim)
        setattr(request, CLAIM, claim)
        try:
            response = _answer(self, view, request, *args, **kwargs)
        except BaseException:
            _release(claim)
            raise
        _remember(claim, response)
        return response

    post.idempotent = True  # type: ignore[attr-defined]  # the OpenAPI document tells of it
    return post


def id_of_work(request: Request) -> UUID | None:
    """The id for what this request makes; None for a request without a key.

    It is the same for every run of the request, after a 5xx or a death too, and another one
    when the key is used again after a day.
    """
    claim: IdempotencyKey | None = getattr(request, CLAIM, None)
    if claim is None:
        return None
    # Not to be foretold from the number of a row.
    digest = salted_hmac("accounts.idempotency", str(claim.pk), algorithm="sha256").digest()
    return UUID(bytes=digest[:16], version=4)


def forget(request: Request) -> None:
    """Say that what this request made has been taken back: its next run makes something new."""
    claim: IdempotencyKey | None = getattr(request, CLAIM, None)
    if claim is not None:
        _held(claim).delete()


def prune(*, now: datetime, dry_run: bool = False) -> int:
    """Forget answers that were kept for long enough; how many. With `dry_run` just count them."""
    old = IdempotencyKey.objects.filter(created_at__lte=now - KEPT_FOR)
    return old.count() if dry_run else old.delete()[0]


def _claim(request: Request, key: str) -> IdempotencyKey:
    """Our own new row (status None), or the answered row of the first request.

    Raises when the first request differs or is still running.
    """
    if not (key.isascii() and key.isprintable() and 0 < len(key) <= LONGEST_KEY):
        raise IdempotencyKeyInvalid
    asked = _hash_of(request)
    now = timezone.now()
    user = cast("User", request.user)  # permissions were checked before the method ran
    # Twice, because a row that ran out makes room, and one can vanish while we look.
    for _attempt in range(2):
        try:
            with transaction.atomic():
                return IdempotencyKey.objects.create(
                    user=user, key=key, request_hash=asked, created_at=now
                )
        except IntegrityError:
            first = IdempotencyKey.objects.filter(user=user, key=key).first()
        if first is None:
            continue
        if first.created_at > now - KEPT_FOR:
            return _join(first, asked, now=now)
        IdempotencyKey.objects.filter(pk=first.pk, created_at=first.created_at).delete()
    raise IdempotencyInFlight


def _join(first: IdempotencyKey, asked: str, *, now: datetime) -> IdempotencyKey:
    """What the row of an earlier request means for this one."""
    if first.request_hash != asked:
        raise IdempotencyMismatch
    if first.status is not None:
        return first
    if first.created_at > now - ABANDONED_AFTER or not _held(first).update(created_at=now):
        raise IdempotencyInFlight
    first.created_at = now  # the row is ours now; its first owner finds it gone
    return first


def _held(claim: IdempotencyKey) -> Any:
    """The row, as long as nobody has answered it or taken it over."""
    return IdempotencyKey.objects.filter(pk=claim.pk, status=None, created_at=claim.created_at)


def _answer(
    view: APIView, method: PostMethod, request: Request, *args: Any, **kwargs: Any
) -> HttpResponseBase:
    """What the client will get: refusals turned into answers, everything rendered."""
    try:
        response = method(view, request, *args, **kwargs)
    except Exception as error:  # noqa: BLE001 - the API's own handler knows them, or raises again
        response = view.handle_exception(error)
    response = view.finalize_response(request, cast("Response", response), *args, **kwargs)
    if isinstance(response, Response):
        response.render()
    return response


def _remember(claim: IdempotencyKey, response: HttpResponseBase) -> None:
    again = response.status_code >= 500 or response.status_code == 429
    if again or not isinstance(response, HttpResponse):
        _release(claim)
        return
    _held(claim).update(
        status=response.status_code, headers=dict(response.items()), body=response.content
    )


def _release(claim: IdempotencyKey) -> None:
    """Let the next request run at once, as after a death.

    The row stays: what failed may have been made all the same, as when the database went away
    after the commit, and the next run has to find it.
    """
    _held(claim).update(created_at=claim.created_at - ABANDONED_AFTER)


def _replay(answered: IdempotencyKey) -> HttpResponse:
    response = HttpResponse(bytes(answered.body), status=answered.status, headers=answered.headers)
    response[REPLAYED] = "true"
    return response


def _hash_of(request: Request) -> str:
    """A digest of what makes two requests the same: method, path and content.

    A form with files is parsed first: its raw body differs from one sending to the next in
    the boundary between parts, and it may be too long to hold in memory.
    """
    digest = hashlib.sha256()

    def add(*parts: str | bytes) -> None:
        for part in parts:
            raw = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
            digest.update(b"%d:" % len(raw) + raw)

    add(request.method or "", request.path)
    if (request.content_type or "").startswith("multipart/"):
        for name, values in sorted(cast("MultiValueDict[str, Any]", request.data).lists()):
            for value in values:
                if isinstance(value, UploadedFile):
                    add("file", name, value.name or "", _hash_of_file(value))
                else:
                    add("field", name, str(value))
        return digest.hexdigest()
    add("body", request.body)
    return digest.hexdigest()


def _hash_of_file(file: UploadedFile) -> bytes:
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    file.seek(0)
    return digest.digest()
