"""``POST run/{tool}``: one image in, its result in the answer wherever it is done in time.

It is a batch of one: the same pipeline, price and bytes. What takes longer than somebody wants to
wait, or than a server with many of them has places for, goes on all the same, and the answer says
where to look.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from uuid import UUID

from django.core.files.uploadedfile import UploadedFile
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.idempotency import idempotent
from batches import intake, one_image, waiting
from batches.api import (
    ChargingView,
    members_of,
    once,
    query_of,
    readable,
    received,
    refuse_announced,
    user_of,
)
from batches.models import Batch, Item
from batches.serializers import ImageSerializer, ItemSerializer, Strict, address
from batches.sources.base import Row
from batches.states import ENDED
from tools import registry
from tools.base import Tool
from tools.engines import images

OBJECTS = {"settings"}
"""Members that a form has as texts of JSON."""
SETTINGS_HELP = "See the tool's settings_schema."
REUSE_HELP = "False runs even what an earlier result could serve."


class RunImageSerializer(ImageSerializer):
    """The image: an address or an upload."""

    settings = None  # type: ignore[assignment]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """One of the two ways in which an image can be given."""
        if ("url" in attrs) == ("upload" in attrs):
            raise serializers.ValidationError(
                _("Give either an address or an upload."), code="required"
            )
        return attrs


class RunSerializer(Strict):
    """One image, and what is to be done with it."""

    image = RunImageSerializer()
    settings = serializers.DictField(required=False, help_text=SETTINGS_HELP)
    reuse = serializers.BooleanField(required=False, default=True, help_text=REUSE_HELP)


class RunFormSerializer(ImageSerializer):
    """The same as a form, which may hold the file itself. Settings are sent as JSON."""

    file = serializers.FileField(
        required=False, allow_empty_file=True, help_text="The image, up to 20 MiB."
    )
    settings = serializers.DictField(required=False, help_text=SETTINGS_HELP)
    reuse = serializers.BooleanField(required=False, default=True, help_text=REUSE_HELP)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """One of the three ways in which an image can be given."""
        if len(attrs.keys() & {"file", "url", "upload"}) != 1:
            raise serializers.ValidationError(
                {"file": [_("Give either a file, an address or an upload.")]}, code="required"
            )
        return attrs


class RunQuerySerializer(serializers.Serializer):
    """How long to wait."""

    wait = serializers.IntegerField(
        required=False,
        default=waiting.LONGEST,
        min_value=0,
        max_value=waiting.LONGEST,
        help_text="Seconds to wait for the image. 0: answer at once.",
    )


class RunView(ChargingView):
    """``POST run/{tool}``."""

    parser_classes = [MultiPartParser, *ChargingView.parser_classes]
    may_refuse = ["batch_limit_exceeded", *sorted(images.CODES)]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse what is announced as too long before anybody reads it."""
        refuse_announced(request)
        super().initial(request, *args, **kwargs)

    @extend_schema(
        operation_id="run",
        parameters=[
            RunQuerySerializer,
            OpenApiParameter(
                "Location",
                str,
                OpenApiParameter.HEADER,
                description="Where to ask for the image again.",
                response=[202],
            ),
        ],
        request={"application/json": RunSerializer, "multipart/form-data": RunFormSerializer},
        responses={
            200: OpenApiResponse(
                ItemSerializer,
                description="The image has ended: see its state, which is done, failed (error "
                "says why, and it costs nothing) or cancelled.",
            ),
            202: OpenApiResponse(
                ItemSerializer,
                description="The image is under way: it took longer than the wait, or as many "
                "requests as may were waiting already.",
            ),
        },
    )
    @idempotent
    def post(self, request: Request, slug: str) -> Response:
        """Run a tool on one image and wait for what comes of it.

        Who hangs up stops nothing. With an Idempotency-Key the same request gets the first answer
        again, also where that was a 202: ask at its Location.
        """
        tool = _tool_or_404(slug)
        seconds = query_of(request, RunQuerySerializer)["wait"]
        batch = once(request, partial(_start, request, tool))
        gone = partial(waiting.has_gone, request.META)
        try:
            item = batch.items.get()
            with suppress(waiting.NoPlace), waiting.place():
                waiting.until_ended(item, seconds=seconds, unless=gone)
            item = readable(Item.objects.all()).get(pk=item.pk)
        except Item.DoesNotExist:
            raise NotFound(_("The image was deleted before it was done.")) from None
        self.charged = item.price or 0
        read = ItemSerializer(item, context={"request": request}).data
        if item.state in ENDED:
            return Response(read)
        return Response(read, status=202, headers={"Location": address(request, "item", item.uid)})


@dataclass(frozen=True)
class _Asked:
    """What a request wants, however it was sent. `at` points to the image in its body."""

    image: dict[str, Any]
    at: str
    settings: dict[str, Any]
    reuse: bool
    file: UploadedFile | None = None


def _tool_or_404(slug: str) -> Tool:
    try:
        return registry.get(slug)
    except registry.UnknownTool:
        raise NotFound(_("There is no tool called {slug}.").format(slug=slug)) from None


def _asked(request: Request) -> _Asked:
    """The validated body, JSON or form."""
    is_form = isinstance(request.data, MultiValueDict)
    kind = RunFormSerializer if is_form else RunSerializer
    body = kind(data=members_of(request, objects=OBJECTS), context={"is_form": is_form})
    body.is_valid(raise_exception=True)
    values = body.validated_data
    settings, reuse = values.get("settings", {}), values["reuse"]
    if not is_form:
        return _Asked(values["image"], "/image", settings, reuse)
    given = next(name for name in ("file", "url", "upload") if name in values)
    return _Asked(values, f"/{given}", settings, reuse, file=values.get("file"))


def _start(request: Request, tool: Tool, uid: UUID) -> Batch:
    """Start what the request asks for, as the batch of this id."""
    asked = _asked(request)
    tool.clean(asked.settings)  # to look at a picture takes longer
    image = asked.image
    upload = image.get("upload", "")
    if asked.file is not None:
        upload = str(received(request, asked.file)[0].uid)
    row = Row(
        url=image.get("url", ""),
        upload=upload,
        name=image.get("name", ""),
        external_id=image.get("id", ""),
    )
    try:
        return one_image.start(
            user_of(request), tool, row, settings=asked.settings, reuse=asked.reuse, uid=uid
        ).batch
    except intake.RowsInvalid as invalid:
        raise intake.RowsInvalid(
            [replace(error, pointer=_pointer(error.pointer, asked)) for error in invalid.errors]
        ) from None


def _pointer(in_batch: str, asked: _Asked) -> str:
    """Where in this body something is that a batch has in its first image."""
    inside = in_batch.removeprefix("/images/0")
    if inside.startswith("/settings"):
        return inside
    return f"{asked.at}{inside}" if asked.at == "/image" else asked.at
