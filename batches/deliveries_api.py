"""The HTTP API of deliveries: thin doors onto `deliveries`."""

from collections.abc import Sequence
from datetime import UTC
from typing import Any
from uuid import UUID

from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.idempotency import idempotent
from accounts.pagination import NewestFirst
from batches import deliveries, storage
from batches.api import batch_of, body_of, user_of
from batches.exports import archive
from batches.exports.registry import ARCHIVE
from batches.formats import SHEET_TYPES
from batches.models import Delivery, DeliveryState
from batches.serializers import NewDeliverySerializer, NothingSerializer, address


class CauseSerializer(serializers.Serializer):
    """Why some results are not where they should be."""

    code = serializers.CharField()
    message = serializers.CharField()
    count = serializers.IntegerField()


class DeliverySerializer(serializers.Serializer):
    """Results on their way to one place, and how far they are."""

    id = serializers.UUIDField()
    batch = serializers.UUIDField()
    to = serializers.CharField()
    options = serializers.DictField()
    connection = serializers.UUIDField(allow_null=True)
    status = serializers.ChoiceField(choices=DeliveryState.values)
    done = serializers.IntegerField()
    skipped = serializers.IntegerField()
    failed = serializers.IntegerField()
    undone = serializers.IntegerField()
    total = serializers.IntegerField()
    errors = CauseSerializer(many=True)  # type: ignore[assignment] # the contract's word
    url = serializers.URLField(allow_null=True)
    created_at = serializers.DateTimeField(default_timezone=UTC)
    finished_at = serializers.DateTimeField(default_timezone=UTC, allow_null=True)


def delivery_as_read(
    delivery: Delivery,
    progress: deliveries.Progress,
    causes: Sequence[deliveries.Cause],
    request: Request,
) -> dict[str, Any]:
    """The delivery as clients read it. Wants its batch and connection."""
    url = None
    if delivery.to == ARCHIVE:
        url = address(request, "batch-results", delivery.batch.uid)
    elif delivery.key:
        url = address(request, "delivery-file", delivery.uid)
    read: dict[str, Any] = DeliverySerializer(
        {
            "id": delivery.uid,
            "batch": delivery.batch.uid,
            "to": delivery.to,
            "options": delivery.options,
            "connection": delivery.connection.uid if delivery.connection else None,
            "status": delivery.state,
            "done": progress.done,
            "skipped": progress.skipped,
            "failed": progress.failed,
            "undone": progress.undone,
            "total": progress.total,
            "errors": causes,
            "url": url,
            "created_at": delivery.created_at,
            "finished_at": delivery.finished_at,
        }
    ).data
    return read


class BatchDeliveriesView(APIView):
    """``GET`` and ``POST batches/{id}/deliveries``."""

    pagination_class = NewestFirst

    @extend_schema(operation_id="deliveries_list", responses=DeliverySerializer(many=True))
    def get(self, request: Request, uid: UUID) -> Response:
        """Where the batch's results have gone and go, newest first."""
        batch = batch_of(request, uid)
        found = Delivery.objects.filter(batch=batch).select_related("batch", "connection")
        pages = self.pagination_class()
        page = pages.paginate_queryset(found, request, view=self) or []
        looks, causes = deliveries.progress_of(page), deliveries.causes_of(page)
        return pages.get_paginated_response(
            [
                delivery_as_read(delivery, looks[delivery.pk], causes[delivery.pk], request)
                for delivery in page
            ]
        )

    @extend_schema(
        operation_id="deliveries_create",
        request=NewDeliverySerializer,
        responses={202: DeliverySerializer},
    )
    @idempotent
    def post(self, request: Request, uid: UUID) -> Response:
        """Take the results that there are somewhere else, or make a file of them."""
        batch = batch_of(request, uid)
        asked = body_of(request, NewDeliverySerializer)
        return _delivered(request, deliveries.ask(batch, **asked), status=202)


class DeliveryView(APIView):
    """``GET deliveries/{id}``."""

    @extend_schema(operation_id="deliveries_read", responses=DeliverySerializer)
    def get(self, request: Request, uid: UUID) -> Response:
        """How far a delivery is."""
        return _delivered(request, _delivery(request, uid))


class DeliveryRetryView(APIView):
    """``POST deliveries/{id}/retry``."""

    may_refuse = ["state_conflict"]

    @extend_schema(
        operation_id="deliveries_retry",
        request=NothingSerializer,
        responses={200: DeliverySerializer},
    )
    @idempotent
    def post(self, request: Request, uid: UUID) -> Response:
        """Send again what failed."""
        body_of(request, NothingSerializer)
        return _delivered(request, deliveries.retry(_delivery(request, uid)))


class DeliveryUndoView(APIView):
    """``POST deliveries/{id}/undo``."""

    may_refuse = ["state_conflict"]

    @extend_schema(
        operation_id="deliveries_undo",
        request=NothingSerializer,
        responses={200: DeliverySerializer},
    )
    @idempotent
    def post(self, request: Request, uid: UUID) -> Response:
        """Put the place back as it was, but for what others have changed there since."""
        body_of(request, NothingSerializer)
        return _delivered(request, deliveries.undo(_delivery(request, uid)))


class DeliveryFileView(APIView):
    """``GET deliveries/{id}/file``."""

    @extend_schema(
        operation_id="deliveries_file",
        responses={(200, kind): OpenApiTypes.BINARY for kind in SHEET_TYPES},
    )
    def get(self, request: Request, uid: UUID) -> HttpResponseBase:
        """The file that a delivery has made."""
        delivery = _delivery(request, uid)
        if not delivery.key:
            raise NotFound(_("There is no file yet, or this delivery makes none."))
        return archive.picture_response(
            storage.RESULTS,
            delivery.key,
            content_type=delivery.content_type,
            name=delivery.filename,
            download=True,
        )


def _delivery(request: Request, uid: UUID) -> Delivery:
    own = Delivery.objects.visible_to(user_of(request)).select_related("batch__owner", "connection")
    return get_object_or_404(own, uid=uid)


def _delivered(request: Request, delivery: Delivery, *, status: int = 200) -> Response:
    look = deliveries.progress_of([delivery])[delivery.pk]
    read = delivery_as_read(delivery, look, deliveries.causes(delivery), request)
    return Response(read, status=status)
