"""Files in, for scripts: by pieces that survive a lost connection, or whole.

The first is the tus protocol 1.0.0 (https://tus.io/protocols/resumable-upload) with creation,
creation-with-upload, termination and expiration.
"""

import base64
import binascii
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import BadRequest
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.http import http_date
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from batches import drafts, messages, partials
from batches.forms import receive
from batches.models import Original, PartialUpload
from batches.names import clean_name
from batches.refusals import Refusal
from batches.views.asking import json_of, refusal, signed_in_script, user_of
from tools import registry
from tools.engines.guard import GuardLost

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,termination,expiration"
BYTES = "application/offset+octet-stream"
SILENCE = 30.0
"""Seconds after which a connection that brings nothing counts as broken."""
TRY_AGAIN_AFTER = 5
"""Seconds, when an image can't be looked at just now."""
MOST_KNOWN = 500
"""Files that one request may ask about."""
REFUSED_WITH = {"file_too_large": 413, "format_unsupported": 415}
"""Statuses of refused uploads; what isn't named is 422."""

log = logging.getLogger(__name__)


def shown(taken: Original | Refusal) -> dict[str, Any]:
    """What a page's script needs of a file that came in or was turned away."""
    if isinstance(taken, Refusal):
        return {
            "refused": taken.token,
            "name": taken.name,
            "code": taken.code,
            "message": taken.message,
        }
    return {
        "upload": str(taken.uid),
        "name": taken.name,
        "thumbnail": reverse("batches:upload_thumbnail", args=[taken.uid]),
        "width": taken.width,
        "height": taken.height,
        "bytes": taken.bytes,
        "sha256": taken.sha256,
    }


@require_POST
@signed_in_script
def upload(request: HttpRequest) -> JsonResponse:
    """Take one whole file in."""
    file = request.FILES.get("file")
    if file is None:
        return refusal(422, "file_missing", _("No file came with the request."))
    taken = receive(user_of(request), file)
    status = REFUSED_WITH.get(taken.code, 422) if isinstance(taken, Refusal) else 201
    return JsonResponse(shown(taken), status=status)


@require_POST
@signed_in_script
def known(request: HttpRequest) -> JsonResponse:
    """Which of these files this person has sent before: they need not be sent again."""
    asked = json_of(request)
    owner, tool = user_of(request), _tool(asked.get("tool"))
    names = dict(_digests(asked.get("files")))
    found = list(Original.objects.visible_to(owner).filter(sha256__in=names))
    by_digest = {original.sha256: original for original in found}
    found = [by_digest[digest] for digest in names if digest in by_digest]
    renamed = []
    for original in found:
        if names[original.sha256] not in ("", original.name):
            # People look for what they have just chosen, under the name that it has now.
            original.name = names[original.sha256]
            renamed.append(original)
    Original.objects.bulk_update(renamed, ["name"], batch_size=100)
    if tool and found:
        drafts.add(owner, tool, found)
    return JsonResponse({"known": {original.sha256: shown(original) for original in found}})


def _digests(files: Any) -> Iterator[tuple[str, str]]:
    """The digests and clean names that were asked about. Raises `BadRequest`."""
    if not isinstance(files, list) or len(files) > MOST_KNOWN:
        raise BadRequest(f"files is a list of at most {MOST_KNOWN}")
    for file in files:
        match file:
            case {"sha256": str(digest)}:
                name = file.get("name")
                yield digest.lower(), clean_name(name) if isinstance(name, str) and name else ""
            case _:
                raise BadRequest("a file has a sha256")


def _tool(slug: Any) -> str:
    """The slug of a tool that there is; empty for everything else."""
    try:
        return registry.get(str(slug)).slug
    except registry.UnknownTool:
        return ""


# --- By pieces ------------------------------------------------------------------------------


def tus(request: HttpRequest) -> HttpResponseBase:
    """What the server can do, and the door to a new upload."""
    return _answer(request, {"POST": _create})


def tus_one(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """One upload: how far it is, more of it, its end, and what became of it."""
    verbs = {"HEAD": _head, "PATCH": _patch, "DELETE": _delete, "GET": _outcome}
    return _answer(request, verbs, uid)


def _answer(request: HttpRequest, verbs: Any, *about: UUID) -> HttpResponseBase:
    method = request.method or ""
    if method == "POST":
        method = request.headers.get("X-HTTP-Method-Override", method).upper()
    if method == "OPTIONS":
        response: HttpResponseBase = HttpResponse(status=204)
        response["Tus-Version"] = VERSION
        response["Tus-Extension"] = EXTENSIONS
        response["Tus-Max-Size"] = str(settings.IMAGE_MAX_BYTES)
    elif method not in verbs:
        response = refusal(405, "method_not_allowed", _("This can't be done here."))
        response["Allow"] = ", ".join(["OPTIONS", *verbs])
    elif method != "GET" and request.headers.get("Tus-Resumable") != VERSION:
        response = refusal(412, "version_unknown", _("This version of tus isn't known here."))
        response["Tus-Version"] = VERSION
    else:
        response = signed_in_script(verbs[method])(request, *about)
    response["Tus-Resumable"] = VERSION
    response["Cache-Control"] = "no-store"
    return response


def _create(request: HttpRequest) -> HttpResponseBase:
    length = _number(request, "Upload-Length")
    if length is None:
        return refusal(400, "bad_request", _("Upload-Length is missing."))
    try:
        told = _metadata(request.headers.get("Upload-Metadata", ""))
        partial = partials.create(
            user_of(request),
            length=length,
            name=told.get("filename", ""),
            tool=_tool(told.get("tool")),
        )
    except ValueError:
        return refusal(400, "bad_request", _("Upload-Metadata can't be read."))
    except partials.TooManyOpen:
        return refusal(
            422,
            partials.TooManyOpen.code,
            messages.text(partials.TooManyOpen.code),
        )
    if isinstance(partial, Refusal):
        return JsonResponse(shown(partial), status=413)
    response: HttpResponseBase = HttpResponse(status=201)
    if request.content_type == BYTES:
        response = _take(request, partial, offset=0, status=201)
    elif length == 0:
        _finish(partial)
    if response.status_code == 201:
        response["Location"] = reverse("batches:tus_one", args=[partial.uid])
        response["Upload-Expires"] = http_date(partials.expires_at(partial).timestamp())
    return response


def _head(request: HttpRequest, uid: UUID) -> HttpResponse:
    partial = _partial_or_404(request, uid)
    response = _where(partial, status=200)
    response["Upload-Length"] = str(partial.length)
    return response


def _patch(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    if request.content_type != BYTES:
        return refusal(415, "bad_request", _("Send bytes as {type}.").format(type=BYTES))
    offset = _number(request, "Upload-Offset")
    if offset is None:
        return refusal(400, "bad_request", _("Upload-Offset is missing."))
    return _take(request, _partial_or_404(request, uid), offset=offset, status=204)


def _delete(request: HttpRequest, uid: UUID) -> HttpResponse:
    if not partials.remove(uid, owner=user_of(request)):
        raise Http404
    return HttpResponse(status=204)


def _outcome(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    partial = _partial_or_404(request, uid)
    if not partials.is_complete(partial):
        return JsonResponse({}, status=202)
    if not _finish(partial):  # whoever brought the last byte may have died over it
        response = refusal(503, "unavailable", _("The site is busy. Ask again in a moment."))
        response["Retry-After"] = str(TRY_AGAIN_AFTER)
        return response
    taken = partials.taken(partial)
    if taken is None:
        raise Http404
    return JsonResponse(shown(taken))


def _take(
    request: HttpRequest, partial: PartialUpload, *, offset: int, status: int
) -> HttpResponseBase:
    """Keep what the request brings; with the last byte the file is judged."""
    announced = int(request.META.get("CONTENT_LENGTH") or 0)
    try:
        with _impatient(request):
            partials.append(partial, request, offset=offset, announced=announced)
    except partials.OffsetConflict:
        return refusal(409, "offset_conflict", _("These bytes don't begin where the last ended."))
    except partials.TooMuch:
        return refusal(413, "too_many_bytes", _("These are more bytes than were announced."))
    except partials.Gone:
        raise Http404 from None
    _finish(partial)  # if it can't be judged now, it is when its outcome is asked for
    return _where(partial, status=status)


def _finish(partial: PartialUpload) -> bool:
    """Judge an upload that is all here; False when that has to wait."""
    try:
        partials.finish(partial)
    except (GuardLost, OperationalError, InterfaceError) as error:
        log.warning("Upload %s could not be judged yet: %s", partial.uid, error)
        return False
    return True


@contextmanager
def _impatient(request: HttpRequest) -> Iterator[None]:
    """Cut a connection that has gone silent, so that it doesn't keep a thread of the server."""
    connection = request.META.get("gunicorn.socket")
    if connection is None:
        yield
        return
    connection.settimeout(SILENCE)
    try:
        yield
    finally:
        connection.settimeout(None)


def _where(partial: PartialUpload, *, status: int) -> HttpResponse:
    response = HttpResponse(status=status)
    response["Upload-Offset"] = str(partial.offset)
    response["Upload-Expires"] = http_date(partials.expires_at(partial).timestamp())
    return response


def _partial_or_404(request: HttpRequest, uid: UUID) -> PartialUpload:
    mine = PartialUpload.objects.filter(owner=user_of(request), direct=False).select_related(
        "owner"
    )
    return get_object_or_404(mine, uid=uid)


def _number(request: HttpRequest, header: str) -> int | None:
    """A header's number; nothing when there is none."""
    text = request.headers.get(header, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _metadata(text: str) -> dict[str, str]:
    """Upload-Metadata: names and values in base64. Raises `ValueError`."""
    pairs: Iterable[list[str]] = (pair.split() for pair in text.split(",") if pair.strip())
    told = {}
    for name, *values in pairs:
        if len(values) > 1:
            raise ValueError("more than a name and a value")
        try:
            value = base64.b64decode(values[0], validate=True) if values else b""
        except binascii.Error as error:
            raise ValueError("no base64") from error
        told[name] = value.decode("utf-8", "replace")
    return told
