"""``/api/webhooks`` as Sirv AI Studio has it: an address, one event, that service's envelope."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.idempotency import idempotent
from batches import webhooks
from batches.api import user_of
from batches.envelopes import SIRV_EVENTS, sirv_name
from batches.models import Envelope, WebhookEndpoint
from batches.zapier.answers import DoorView


class _HookSerializer(serializers.Serializer):
    """A webhook to be made."""

    url = serializers.CharField(max_length=2000)
    event = serializers.ChoiceField(choices=list(SIRV_EVENTS))
    secret = serializers.CharField(
        required=False,
        allow_null=True,
        allow_blank=True,
        min_length=webhooks.SHORTEST_SECRET,
        max_length=200,
    )


class HooksView(DoorView):
    """``GET webhooks`` lists, ``POST webhooks`` adds."""

    def get(self, request: Request) -> Response:
        """Those that were made here, newest first; an account has few."""
        return Response({"webhooks": [_read(hook) for hook in _own(request).order_by("-pk")]})

    @idempotent
    def post(self, request: Request) -> Response:
        """Add one. The answer holds its secret, this once."""
        body = _HookSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        try:
            made = webhooks.register(
                user_of(request),
                url=asked["url"],
                events=[SIRV_EVENTS[asked["event"]]],
                secret=asked.get("secret") or "",
                envelope=Envelope.SIRV,
            )
        except webhooks.Refused as refused:
            wrong = serializers.ErrorDetail(refused.detail, code=refused.code)
            raise serializers.ValidationError({refused.field: [wrong]}) from None
        return Response({**_read(made), "secret": made.secret}, status=201)


class HookView(DoorView):
    """``DELETE webhooks/{id}``."""

    def delete(self, request: Request, uid: UUID) -> Response:
        """Tell it nothing more."""
        webhooks.remove(get_object_or_404(_own(request), uid=uid))
        return Response(status=204)


def _own(request: Request) -> QuerySet[WebhookEndpoint]:
    return WebhookEndpoint.objects.visible_to(user_of(request)).filter(envelope=Envelope.SIRV)


def _read(hook: WebhookEndpoint) -> dict[str, Any]:
    return {
        "id": str(hook.uid),
        "url": hook.url,
        "event": sirv_name(hook.events[0]),
        "active": hook.disabled_at is None,
        "created_at": hook.created_at.isoformat().replace("+00:00", "Z"),
    }
