"""The HTTP API of webhooks and of links to results: thin doors onto `webhooks` and `links`."""

from datetime import UTC
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.idempotency import idempotent
from accounts.pagination import NewestFirst
from batches import links, outbox, webhooks
from batches.api import batch_of, user_of
from batches.models import WebhookEndpoint, WebhookMessage, WebhookState
from batches.serializers import NothingSerializer, Strict


class NewWebhookSerializer(Strict):
    """A webhook to be made."""

    url = serializers.CharField(max_length=2000, help_text="A public http(s) address.")
    events = serializers.ListField(
        child=serializers.ChoiceField(choices=outbox.EVENTS), allow_empty=False
    )
    secret = serializers.CharField(
        required=False,
        allow_blank=True,
        min_length=webhooks.SHORTEST_SECRET,
        max_length=200,
        help_text="Without it one is made: `whsec_` and base64, as Standard Webhooks has it.",
    )


class WebhookSerializer(serializers.ModelSerializer[WebhookEndpoint]):
    """A webhook. Its secret is only in the answer that made it."""

    id = serializers.UUIDField(source="uid")
    events = serializers.ListField(child=serializers.ChoiceField(choices=outbox.EVENTS))
    created_at = serializers.DateTimeField(default_timezone=UTC)
    disabled_at = serializers.DateTimeField(default_timezone=UTC, allow_null=True)

    class Meta:
        """The columns that clients may rely on."""

        model = WebhookEndpoint
        fields: tuple[str, ...] = ("id", "url", "events", "created_at", "disabled_at")


class MadeWebhookSerializer(WebhookSerializer):
    """A new webhook, with its secret."""

    secret = serializers.CharField()

    class Meta(WebhookSerializer.Meta):
        """As it is read, and the secret this once."""

        fields: tuple[str, ...] = (*WebhookSerializer.Meta.fields, "secret")


class AttemptSerializer(serializers.Serializer):
    """One try of sending a message."""

    at = serializers.DateTimeField(default_timezone=UTC)
    seconds = serializers.FloatField()
    status = serializers.IntegerField(allow_null=True)
    code = serializers.CharField(allow_null=True)


class WebhookMessageSerializer(serializers.ModelSerializer[WebhookMessage]):
    """A message and every try of sending it. `id` is its `webhook-id`."""

    id = serializers.SerializerMethodField()
    payload = serializers.DictField()
    attempts = serializers.SerializerMethodField()
    next_at = serializers.SerializerMethodField()
    state = serializers.ChoiceField(choices=WebhookState.values)

    class Meta:
        """The columns that clients may rely on."""

        model = WebhookMessage
        fields = (
            "id",
            "event",
            "state",
            "payload",
            "attempts",
            "next_at",
            "created_at",
            "finished_at",
        )

    def get_id(self, message: WebhookMessage) -> str:
        """Its id on the wire."""
        return message.message_id

    @extend_schema_field(AttemptSerializer(many=True))
    def get_attempts(self, message: WebhookMessage) -> list[dict[str, Any]]:
        """Oldest first."""
        return [
            {**attempt, "at": attempt["at"].replace("+00:00", "Z"), "code": attempt["code"] or None}
            for attempt in message.attempts
        ]

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_next_at(self, message: WebhookMessage) -> Any:
        """When it is tried next; null once it is over."""
        return message.next_at if message.state == WebhookState.WAITING else None


class WebhooksView(APIView):
    """``GET webhooks`` lists, ``POST webhooks`` adds."""

    pagination_class = NewestFirst

    @extend_schema(operation_id="webhooks_list", responses=WebhookSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The user's webhooks, newest first."""
        pages = self.pagination_class()
        page = pages.paginate_queryset(_own(request), request, view=self)
        return pages.get_paginated_response(WebhookSerializer(page, many=True).data)

    @extend_schema(
        operation_id="webhooks_create",
        request=NewWebhookSerializer,
        responses={201: MadeWebhookSerializer},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Add a webhook. The answer holds its secret, this once."""
        body = NewWebhookSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        try:
            made = webhooks.register(user_of(request), **body.validated_data)
        except webhooks.Refused as refused:
            raise serializers.ValidationError(
                {refused.field: [serializers.ErrorDetail(refused.detail, code=refused.code)]}
            ) from None
        return Response(MadeWebhookSerializer(made).data, status=201)


class WebhookView(APIView):
    """``GET`` and ``DELETE webhooks/{id}``."""

    @extend_schema(operation_id="webhooks_read", responses=WebhookSerializer)
    def get(self, request: Request, uid: UUID) -> Response:
        """One webhook."""
        return Response(WebhookSerializer(get_object_or_404(_own(request), uid=uid)).data)

    @extend_schema(operation_id="webhooks_delete", responses={204: None})
    def delete(self, request: Request, uid: UUID) -> Response:
        """Tell it nothing more."""
        webhooks.remove(get_object_or_404(_own(request), uid=uid))
        return Response(status=204)


class WebhookDeliveriesView(APIView):
    """``GET webhooks/{id}/deliveries``."""

    pagination_class = NewestFirst

    @extend_schema(
        operation_id="webhooks_deliveries", responses=WebhookMessageSerializer(many=True)
    )
    def get(self, request: Request, uid: UUID) -> Response:
        """What was sent to it, newest first, with every try."""
        endpoint = get_object_or_404(_own(request), uid=uid)
        pages = self.pagination_class()
        page = pages.paginate_queryset(endpoint.messages.all(), request, view=self)
        return pages.get_paginated_response(WebhookMessageSerializer(page, many=True).data)


class WebhookTestView(APIView):
    """``POST webhooks/{id}/test``."""

    @extend_schema(
        operation_id="webhooks_test",
        request=NothingSerializer,
        responses={202: WebhookMessageSerializer},
    )
    @idempotent
    def post(self, request: Request, uid: UUID) -> Response:
        """Send it a `ping`, to see whether it arrives."""
        NothingSerializer(data=request.data).is_valid(raise_exception=True)
        message = webhooks.ping(get_object_or_404(_own(request), uid=uid))
        return Response(WebhookMessageSerializer(message).data, status=202)


class RevokeLinksView(APIView):
    """``POST batches/{id}/links/revoke``."""

    @extend_schema(
        operation_id="batches_links_revoke", request=NothingSerializer, responses={204: None}
    )
    @idempotent
    def post(self, request: Request, uid: UUID) -> Response:
        """Take back every signed link to the batch's results that was given out."""
        NothingSerializer(data=request.data).is_valid(raise_exception=True)
        links.revoke(batch_of(request, uid))
        return Response(status=204)


def _own(request: Request) -> QuerySet[WebhookEndpoint]:
    return WebhookEndpoint.objects.visible_to(user_of(request))
