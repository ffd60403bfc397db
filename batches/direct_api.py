"""The HTTP API of uploads that go straight to the site's storage: a thin door onto `direct`."""

from datetime import UTC
from uuid import UUID

from django.http import Http404
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.idempotency import idempotent
from batches import direct, partials
from batches.api import body_of, user_of
from batches.models import PartialUpload
from batches.serializers import NothingSerializer, Strict, UploadSerializer, address
from tools.engines import images

LONGEST_NAME = 1000

LONGEST_TYPE = 100
LARGEST_LENGTH = 2**63 - 1


class NewDirectUploadSerializer(Strict):
    """A file that is to be sent to the storage."""

    name = serializers.CharField(max_length=LONGEST_NAME, help_text="What the file is called.")
    bytes = serializers.IntegerField(
        min_value=0, max_value=LARGEST_LENGTH, help_text="Its length: exactly that is taken."
    )
    content_type = serializers.RegexField(
        r"^[A-Za-z0-9][A-Za-z0-9.+-]*/[A-Za-z0-9][A-Za-z0-9.+-]*\Z",
        max_length=LONGEST_TYPE,
        required=False,
        help_text="Sent along as `Content-Type` if it is given. Files are judged by their content.",
    )
    sha256 = serializers.RegexField(
        r"^[0-9A-Fa-f]{64}\Z",
        required=False,
        help_text="In hexadecimal digits. A file with another one is refused.",
    )


class DirectUploadSerializer(serializers.Serializer):
    """Where to send the file, and how: ``method`` and ``headers`` exactly as they are here.

    Then post to ``complete``.
    """

    id = serializers.UUIDField(source="upload.uid")
    method = serializers.ChoiceField(choices=["PUT"])
    url = serializers.URLField()
    headers = serializers.DictField(child=serializers.CharField())
    expires_at = serializers.DateTimeField(default_timezone=UTC)
    complete = serializers.SerializerMethodField()

    def get_complete(self, ticket: direct.Ticket) -> str:
        """Where to say that the file is there."""
        return address(self.context["request"], "upload-direct-complete", ticket.upload.uid)


class DirectUploadsView(APIView):
    """``POST uploads/direct``."""

    may_refuse = ["file_too_large", "file_empty", "too_many_uploads", direct.Unavailable.code]

    @extend_schema(
        operation_id="uploads_direct_create",
        request=NewDirectUploadSerializer,
        responses={201: DirectUploadSerializer},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Get an address in the site's storage for one file, where the storage is S3.

        `limits.direct_uploads` of `GET me` tells whether this site has such addresses.
        """
        asked = body_of(request, NewDirectUploadSerializer)
        ticket = direct.begin(
            user_of(request),
            name=asked["name"],
            length=asked["bytes"],
            content_type=asked.get("content_type", ""),
            sha256=asked.get("sha256", "").lower(),
        )
        read = DirectUploadSerializer(ticket, context={"request": request}).data
        return Response(read, status=201)


class CompleteView(APIView):
    """``POST uploads/direct/{id}/complete``."""

    may_refuse = [*sorted(images.CODES), "upload_differs", direct.Missing.code, direct.Expired.code]

    @extend_schema(
        operation_id="uploads_direct_complete",
        request=NothingSerializer,
        responses={201: UploadSerializer, 200: UploadSerializer},
    )
    @idempotent
    def post(self, request: Request, uid: UUID) -> Response:
        """Take in the file that was sent to the storage, as ``POST uploads`` would.

        Once more it is the same upload, with 200. A file that is refused is removed.
        """
        mine = PartialUpload.objects.filter(owner=user_of(request), direct=True)
        upload = get_object_or_404(mine.select_related("owner"), uid=uid)
        body_of(request, NothingSerializer)
        try:
            original, is_new = direct.complete(upload)
        except partials.Gone:
            raise Http404 from None
        read = UploadSerializer(original, context={"request": request}).data
        return Response(read, status=201 if is_new else 200)
