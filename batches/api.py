"""The HTTP API of uploads, batches and items: one verb per method, in the words of the contract.

What the verbs refuse comes out as it was raised; the site's exception handler makes problems of
it. Methods that create or charge may be sent twice: see `accounts.idempotency`.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn, cast
from uuid import UUID, uuid4

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db import IntegrityError, transaction
from django.db.models import Prefetch, Q, QuerySet
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.datastructures import MultiValueDict
from django.utils.http import parse_etags
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.idempotency import id_of_work, idempotent
from accounts.models import User
from accounts.pagination import NewestFirst
from batches import deliveries, dispatch, etags, intake, lifecycle, progress, storage
from batches.exports import archive
from batches.models import Batch, Item, Original, Result
from batches.names import split_name
from batches.serializers import (
    ITEM_WORDS,
    BatchFilterSerializer,
    BatchSerializer,
    DownloadSerializer,
    ItemFilterSerializer,
    ItemSerializer,
    NewBatchSerializer,
    NothingSerializer,
    PositionSerializer,
    ResultChoiceSerializer,
    RetrySerializer,
    StartSerializer,
    UploadFormSerializer,
    UploadSerializer,
    batch_as_read,
    beside_of,
)
from batches.states import ItemState
from credits import ledger
from tools import registry
from tools.engines import images

FORM_OVERHEAD = 64 * 1024
"""Bytes that a form may add to the file in it."""

FILES = {(200, kind): OpenApiTypes.BINARY for kind in sorted(set(images.CONTENT_TYPES.values()))}


def etag_of(*statuses: int) -> OpenApiParameter:
    """The header that names this version of the answer, in the words of OpenAPI."""
    return OpenApiParameter(
        "ETag",
        location=OpenApiParameter.HEADER,
        description="Names this version of the answer.",
        response=list(statuses),
        required=True,
    )


class ByPosition(NewestFirst):
    """Pages of items in the batch's own order."""

    ordering = "position"


class ChargingView(APIView):
    """A view whose POST may cost credits, now or later, and says what is left."""

    may_charge = True
    charged = 0
    """Credits that this request was charged. Most only set some aside: those are charged image
    by image, as results arrive."""
    _knows_who = False

    def perform_authentication(self, request: Request) -> None:
        """Note that somebody was let in; who was refused before that is not asked for again."""
        super().perform_authentication(request)
        self._knows_who = request.user.is_authenticated

    def finalize_response(
        self, request: Request, response: HttpResponseBase, *args: Any, **kwargs: Any
    ) -> Any:
        """Add ``X-Credits-Charged`` and ``X-Credits-Remaining``; a replay keeps its own."""
        answer = super().finalize_response(request, cast("Response", response), *args, **kwargs)
        known = request.method == "POST" and self._knows_who
        if known and "X-Credits-Remaining" not in answer:
            answer["X-Credits-Charged"] = str(self.charged)
            answer["X-Credits-Remaining"] = str(ledger.balance(user_of(request)).available)
        return answer


# --- Uploads --------------------------------------------------------------------------


class UploadsView(APIView):
    """``POST uploads``: a file comes in."""

    may_refuse = sorted(images.CODES)
    parser_classes = [MultiPartParser]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse what is announced as too long before anybody reads it."""
        refuse_announced(request)
        super().initial(request, *args, **kwargs)

    @extend_schema(
        operation_id="uploads_create",
        request={"multipart/form-data": UploadFormSerializer},
        responses={201: UploadSerializer, 200: UploadSerializer},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Validate a picture and keep it. The same file once more gives the same id, with 200."""
        original, new = received(request, file_in(request))
        read = UploadSerializer(original, context={"request": request}).data
        return Response(read, status=201 if new else 200)


class UploadView(APIView):
    """``GET uploads/{id}``: what is known of a picture."""

    @extend_schema(operation_id="uploads_read", responses=UploadSerializer)
    def get(self, request: Request, uid: UUID) -> Response:
        """One upload."""
        original = _upload(request, uid)
        return Response(UploadSerializer(original, context={"request": request}).data)


class UploadFileView(APIView):
    """``GET uploads/{id}/file``: the picture."""

    @extend_schema(
        operation_id="uploads_file",
        parameters=[DownloadSerializer],
        responses=FILES,
    )
    def get(self, request: Request, uid: UUID) -> HttpResponseBase:
        """The picture as it was sent, or upright and in sRGB where it was not."""
        download = query_of(request, DownloadSerializer)["download"]
        return archive.original_response(_upload(request, uid), download=download)


class UploadThumbnailView(APIView):
    """``GET uploads/{id}/thumbnail``."""

    @extend_schema(
        operation_id="uploads_thumbnail", responses={(200, "image/webp"): OpenApiTypes.BINARY}
    )
    def get(self, request: Request, uid: UUID) -> HttpResponseBase:
        """A small WebP of the picture."""
        original = _upload(request, uid)
        return _thumbnail(storage.ORIGINALS, original.thumbnail_key, original.name)


# --- Batches --------------------------------------------------------------------------


class BatchesView(ChargingView):
    """``GET batches`` lists, ``POST batches`` makes and, as a rule, starts."""

    may_refuse = ["batch_limit_exceeded"]
    pagination_class = NewestFirst

    @extend_schema(
        operation_id="batches_list",
        parameters=[BatchFilterSerializer],
        responses=BatchSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """The user's batches, newest first."""
        wanted = query_of(request, BatchFilterSerializer)
        batches = Batch.objects.visible_to(user_of(request)).many()
        if "status" in wanted:
            batches = batches.filter(state__in=wanted["status"])
        if "tool" in wanted:
            batches = batches.filter(tool=wanted["tool"])
        if "created_after" in wanted:
            batches = batches.filter(created_at__gt=wanted["created_after"])
        pages = self.pagination_class()
        page = pages.paginate_queryset(batches, request, view=self) or []
        looks = progress.of_many(page, now=timezone.now())
        waiting = dispatch.waiting(user_of(request), page)
        read = [batch_as_read(batch, looks[batch.pk], request, waiting=waiting) for batch in page]
        return pages.get_paginated_response(read)

    @extend_schema(
        operation_id="batches_create", request=NewBatchSerializer, responses={201: BatchSerializer}
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Make a batch; unless told otherwise, hold its credits and start it.

        Nothing is stored when any of it is refused.
        """
        user = user_of(request)
        images_given = request.data.get("images") if isinstance(request.data, dict) else None
        if isinstance(images_given, list):  # before each of too many is looked at
            lifecycle.refuse_too_many(user, len(images_given))
        return _answer(request, once(request, partial(self._make, request)), status=201)

    def _make(self, request: Request, uid: UUID) -> Batch:
        """All that is asked for, or nothing."""
        user = user_of(request)
        body = NewBatchSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        wishes = wishes_of(user, asked)
        with transaction.atomic():
            batch = lifecycle.create(
                user,
                registry.get(asked["tool"]),
                asked["images"],
                uid=uid,
                settings=asked.get("settings"),
                name=asked.get("name", ""),
                sample=asked.get("sample", 0),
                cap=asked.get("max_credits"),
                skip_invalid=asked["on_invalid"] == "skip",
                reuse=asked["reuse"],
                pattern=asked.get("name_pattern", ""),
                webhook_url=asked.get("webhook_url", ""),
            )
            for wish in wishes:
                deliveries.begin(batch, wish, follows=True)
            return lifecycle.start(batch) if asked["start"] else batch


class BatchView(APIView):
    """``GET batches/{id}``: one batch, cheap to ask for again and again."""

    @extend_schema(
        operation_id="batches_read",
        parameters=[
            OpenApiParameter("If-None-Match", location=OpenApiParameter.HEADER),
            etag_of(200, 304),
        ],
        responses={200: BatchSerializer, 304: None},
    )
    def get(self, request: Request, uid: UUID) -> Response:
        """The batch, or 304 when it stands as the ``ETag`` in ``If-None-Match`` says."""
        batch = batch_of(request, uid)
        known = parse_etags(request.headers.get("If-None-Match", ""))
        # Looked at before the items are counted: what changes in between is nothing to remember.
        waiting = dispatch.waiting(user_of(request), [batch])
        mark = etags.mark_of(batch, *beside_of(batch, request, waiting=waiting))
        tag = etags.remembered(mark) if mark and known else None
        read = None
        if tag is None or not _has(known, tag):
            look = progress.of(batch, now=timezone.now())
            read = batch_as_read(batch, look, request, waiting=waiting)
            tag = etags.of(read)
            if mark:
                etags.remember(mark, tag)
        headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
        if read is None or _has(known, tag):
            return Response(status=304, headers=headers)
        return Response(read, headers=headers)


class BatchItemsView(APIView):
    """``GET batches/{id}/items``."""

    pagination_class = ByPosition

    @extend_schema(
        operation_id="batches_items",
        parameters=[ItemFilterSerializer],
        responses=ItemSerializer(many=True),
    )
    def get(self, request: Request, uid: UUID) -> Response:
        """The batch's images in their order."""
        batch = batch_of(request, uid)
        wanted = query_of(request, ItemFilterSerializer).get("state", [])
        items = readable(batch.items.all())
        if wanted:
            states = [state for state, word in ITEM_WORDS.items() if word in wanted]
            chosen = Q(state__in=states)
            if "needs_review" in wanted:
                chosen |= Q(state=ItemState.DONE) & ~Q(review=[])
            items = items.filter(chosen)
        pages = self.pagination_class()
        page = pages.paginate_queryset(items, request, view=self)
        read = ItemSerializer(page, many=True, context={"request": request}).data
        return pages.get_paginated_response(read)


class StartView(ChargingView):
    """``POST batches/{id}/start``."""

    may_refuse = ["state_conflict"]

    @extend_schema(
        operation_id="batches_start", request=StartSerializer, responses={200: BatchSerializer}
    )
    @idempotent
    def post(self, request: Request, uid: UUID) -> Response:
        """Hold the credits and run all images, or the first few."""
        batch = batch_of(request, uid)
        asked = body_of(request, StartSerializer)
        return _answer(request, lifecycle.start(batch, sample=asked.get("sample")))


class ApproveView(ChargingView):
    """``POST batches/{id}/approve``."""

    may_refuse = ["state_conflict"]

    @extend_schema(
        operation_id="batches_approve", request=NothingSerializer, responses={200: BatchSerializer}
    )
    @idempotent
    def post(self, request: Request, uid: UUID) -> Response:
        """Run the rest after a sample, on a second hold."""
        return _plain_verb(request, uid, lifecycle.approve)


class PauseView(APIView):
    """``POST batches/{id}/pause``."""

    may_refuse = ["state_conflict"]

    @extend_schema(
        operation_id="batches_pause", request=NothingSerializer, responses={200: BatchSerializer}
    )
    @idempotent
    def post(self, request: Request, uid: UUID) -> Response:
        """Begin nothing more; what is in hand finishes."""
        return _plain_verb(request, uid, lifecycle.pause)


class ResumeView(APIView):
    """``POST batches/{id}/resume``."""

    may_refuse = ["state_conflict"]

    @extend_schema(
        operation_id="batches_resume", request=NothingSerializer, responses={200: BatchSerializer}
    )
    @idempotent
    def post(self, request: Request, uid: UUID) -> Response:
        """Go on after a pause."""
        return _plain_verb(request, uid, lifecycle.resume)


class CancelView(APIView):
    """``POST batches/{id}/cancel``."""

    may_refuse = ["state_conflict"]

    @extend_schema(
        operation_id="batches_cancel", request=NothingSerializer, responses={200: BatchSerializer}
    )
    @idempotent
    def post(self, request: Request, uid: UUID) -> Response:
        """Stop at once; finished images are kept, nothing else is paid for."""
        return _plain_verb(request, uid, lifecycle.cancel)


class RetryView(ChargingView):
    """``POST batches/{id}/retry``."""

    may_refuse = ["state_conflict"]

    @extend_schema(
        operation_id="batches_retry", request=RetrySerializer, responses={200: BatchSerializer}
    )
    @idempotent
    def post(self, request: Request, uid: UUID) -> Response:
        """Run failed images again, on a new hold: all of them, or those that are named."""
        batch = batch_of(request, uid)
        asked = body_of(request, RetrySerializer)
        items = asked.get("items")
        if items is not None:
            _refuse_foreign(batch, items)
        batch = lifecycle.retry(batch, items=items, settings=asked.get("settings"))
        return _answer(request, batch)


class BatchResultsView(APIView):
    """``GET batches/{id}/results.zip``."""

    @extend_schema(
        operation_id="batches_results",
        parameters=[
            OpenApiParameter("Range", location=OpenApiParameter.HEADER),
            OpenApiParameter("If-Range", location=OpenApiParameter.HEADER),
            etag_of(200, 206, 416),
        ],
        responses={
            (200, "application/zip"): OpenApiTypes.BINARY,
            (206, "application/zip"): OpenApiTypes.BINARY,
            416: None,
        },
    )
    def get(self, request: Request, uid: UUID) -> HttpResponseBase:
        """All results so far, a manifest and a table, streamed.

        Once the batch has ended, `Range` with `If-Range` goes on with a download that broke off.
        """
        return archive.response(batch_of(request, uid), request)


# --- Items ----------------------------------------------------------------------------


class ItemView(APIView):
    """``GET items/{id}``."""

    @extend_schema(operation_id="items_read", responses=ItemSerializer)
    def get(self, request: Request, uid: UUID) -> Response:
        """One image of a batch."""
        item = get_object_or_404(readable(Item.objects.visible_to(user_of(request))), uid=uid)
        return Response(ItemSerializer(item, context={"request": request}).data)


class ItemResultView(APIView):
    """``GET items/{id}/result``."""

    @extend_schema(
        operation_id="items_result",
        parameters=[ResultChoiceSerializer],
        responses={**FILES, (200, "text/plain"): str},
    )
    def get(self, request: Request, uid: UUID) -> HttpResponseBase:
        """The file that came out, the first one unless another position is asked for."""
        wanted = query_of(request, ResultChoiceSerializer)
        result = _result(request, uid, wanted["position"])
        return archive.file_response(result, download=wanted["download"])


class ItemThumbnailView(APIView):
    """``GET items/{id}/result/thumbnail``."""

    @extend_schema(
        operation_id="items_thumbnail",
        parameters=[PositionSerializer],
        responses={(200, "image/webp"): OpenApiTypes.BINARY},
    )
    def get(self, request: Request, uid: UUID) -> HttpResponseBase:
        """A small WebP of the result."""
        result = _result(request, uid, query_of(request, PositionSerializer)["position"])
        if not result.thumbnail_key:
            raise NotFound(_("A text has no thumbnail."))
        return _thumbnail(storage.RESULTS, result.thumbnail_key, result.item.name)


# --- Small things ---------------------------------------------------------------------


def user_of(request: Request) -> User:
    """Whoever asks; strangers don't get past the permissions."""
    return cast("User", request.user)


def _upload(request: Request, uid: UUID) -> Original:
    return get_object_or_404(Original.objects.visible_to(user_of(request)), uid=uid)


def file_in(request: Request) -> UploadedFile:
    """The one file of a form. Raises `ValidationError`."""
    files = request.FILES.getlist("file")
    if len(files) != 1:
        raise serializers.ValidationError(
            {"file": [_("Send one file, in a form field called “file”.")]}, code="required"
        )
    file: UploadedFile = files[0]
    return file


def batch_of(request: Request, uid: UUID) -> Batch:
    """One's own batch, with its owner; somebody else's is not found."""
    own = Batch.objects.visible_to(user_of(request)).select_related("owner")
    return get_object_or_404(own, uid=uid)


def once(request: Request, make: Callable[[UUID], Batch]) -> Batch:
    """The batch that a request makes, also when an earlier run of the request has made it.

    `make` gives the batch the id that it is called with, and makes all that belongs to it in
    one transaction.
    """
    if made := made_before(request):
        return made
    try:
        return make(id_of_work(request) or uuid4())
    except IntegrityError:
        if made := made_before(request):  # who was taken for dead was slow, and yet faster
            return made
        raise


def made_before(request: Request) -> Batch | None:
    """What a run of this request has made whose answer nobody wrote down: it has died."""
    uid = id_of_work(request)
    own = Batch.objects.visible_to(user_of(request)).select_related("owner")
    return own.filter(uid=uid).first() if uid else None


def wishes_of(user: User, asked: Mapping[str, Any]) -> list[deliveries.Wish]:
    """Where the results of a new batch are to go, all of it judged before anything is made."""
    wishes: list[deliveries.Wish] = []
    errors: dict[Any, Any] = {}
    for number, wanted in enumerate(asked.get("deliver", ())):
        try:
            wishes.append(deliveries.judged(user, **wanted, tool=asked["tool"]))
        except serializers.ValidationError as invalid:
            errors[number] = invalid.detail
    if errors:
        raise serializers.ValidationError({"deliver": errors})
    return wishes


def _result(request: Request, uid: UUID, position: int) -> Result:
    item = get_object_or_404(Item.objects.visible_to(user_of(request)), uid=uid)
    result = item.results.filter(position=position).select_related("item").first()
    if result is None:
        raise NotFound(
            _("There is no such result; the image is {state}.").format(state=ITEM_WORDS[item.state])
        )
    return result


def readable(items: QuerySet[Item]) -> QuerySet[Item]:
    """The items with all that their shape needs, in a fixed number of queries."""
    ordered = Result.objects.order_by("position")
    items = items.select_related("connection")
    return items.prefetch_related(Prefetch("results", queryset=ordered))


def query_of(request: Request, kind: type[serializers.Serializer]) -> dict[str, Any]:
    """What the address asks for, validated."""
    asked = kind(data=request.query_params.dict())
    asked.is_valid(raise_exception=True)
    return cast("dict[str, Any]", asked.validated_data)


def body_of(request: Request, kind: type[serializers.Serializer]) -> dict[str, Any]:
    """What the body asks for, validated. No body is an empty one; null is none."""
    asked = kind(data=request.data)
    asked.is_valid(raise_exception=True)
    return cast("dict[str, Any]", asked.validated_data)


def _answer(request: Request, batch: Batch, *, status: int = 200) -> Response:
    look = progress.of(batch, now=timezone.now())
    waiting = dispatch.waiting(user_of(request), [batch])
    return Response(batch_as_read(batch, look, request, waiting=waiting), status=status)


def _plain_verb(request: Request, uid: UUID, verb: Callable[[Batch], Batch]) -> Response:
    """Carry out a verb that needs to know nothing but the batch."""
    batch = batch_of(request, uid)
    body_of(request, NothingSerializer)
    return _answer(request, verb(batch))


def _refuse_foreign(batch: Batch, items: Sequence[UUID]) -> None:
    """Refuse ids that are not of this batch's items."""
    known = set(batch.items.filter(uid__in=items).values_list("uid", flat=True))
    errors: dict[Any, Any] = {
        index: [serializers.ErrorDetail(_("This batch has no such item."), code="not_found")]
        for index, uid in enumerate(items)
        if uid not in known
    }
    if errors:
        raise serializers.ValidationError({"items": errors})


def _has(known: Collection[str], tag: str) -> bool:
    """Whether one of the tags that somebody sent names this answer, compared weakly."""
    return "*" in known or tag.removeprefix("W/") in {one.removeprefix("W/") for one in known}


def _thumbnail(alias: str, key: str, name: str) -> HttpResponseBase:
    stem, _extension = split_name(name)
    return archive.picture_response(alias, key, content_type="image/webp", name=f"{stem}.webp")


def refuse_announced(request: Request) -> None:
    """Raise ``ImageRefused`` for a form that can't but hold too large a file, before it is read."""
    announced = int(request.META.get("CONTENT_LENGTH") or 0)
    if announced > settings.IMAGE_MAX_BYTES + FORM_OVERHEAD:
        _refuse_by_length(announced)


def received(request: Request, file: UploadedFile, *, name: str = "") -> tuple[Original, bool]:
    """The picture in a form's file, and whether it is new; without a name it keeps its own.

    Raises ``ImageRefused``.
    """
    _refuse_by_length(file.size or 0)
    return intake.receive(user_of(request), file.read(), name=name or file.name or "")


def members_of(request: Request, *, objects: Collection[str]) -> Any:
    """The body's members; a form has one value of each name, and these as texts of JSON.

    Raises ``ValidationError`` for what was sent more than once.
    """
    data = request.data
    if not isinstance(data, MultiValueDict):
        return data
    if twice := [name for name, values in data.lists() if len(values) > 1]:
        raise serializers.ValidationError(
            {twice[0]: [_("This was sent more than once.")]}, code="repeated"
        )
    members: dict[str, Any] = data.dict()
    for name in members.keys() & objects:
        with suppress(ValueError, TypeError, RecursionError):
            # What is no JSON stays as it is, and is refused as a text where an object belongs.
            members[name] = json.loads(members[name], parse_constant=_refuse_constant)
    return members


def _refuse_by_length(size: int) -> None:
    """Raise ``ImageRefused`` for a file that need not be looked at."""
    try:
        images.check_bytes(size)
    except images.ImageProblem as problem:
        raise intake.ImageRefused(problem.code, problem.params) from None


def _refuse_constant(name: str) -> NoReturn:
    """Python takes ``NaN`` and its kin for JSON, databases don't."""
    raise ValueError(name)
