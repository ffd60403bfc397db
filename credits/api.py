"""The HTTP API's view of an account: who is asking, what they have, where it went."""

from datetime import UTC
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.pagination import NewestFirst
from accounts.plans import plan_for
from credits import ledger
from credits.models import LedgerEntry


class BalanceSerializer(serializers.Serializer):
    """Credits that can be spent, and credits set aside for work under way."""

    available = serializers.IntegerField()
    held = serializers.IntegerField()


class LimitsSerializer(serializers.Serializer):
    """How much one batch and one image may be, and whether images may go to the storage."""

    batch_images = serializers.IntegerField()
    image_bytes = serializers.IntegerField()
    image_pixels = serializers.IntegerField()
    direct_uploads = serializers.BooleanField()


class MeSerializer(serializers.Serializer):
    """The account that a key or a session belongs to."""

    id = serializers.UUIDField()
    email = serializers.EmailField()
    plan = serializers.CharField()
    credits = BalanceSerializer()
    limits = LimitsSerializer()


class EntrySerializer(serializers.ModelSerializer[LedgerEntry]):
    """One line of the statement."""

    id = serializers.UUIDField(source="uid")
    created_at = serializers.DateTimeField(default_timezone=UTC)

    class Meta:
        """The columns that clients may rely on."""

        model = LedgerEntry
        fields = (
            "id",
            "kind",
            "available_delta",
            "held_delta",
            "available_after",
            "reference",
            "created_at",
        )


class MeView(APIView):
    """``GET me``: the call that tests a key."""

    @extend_schema(operation_id="me_read", responses=MeSerializer)
    def get(self, request: Request) -> Response:
        """The user, what they have and what they may do."""
        user: Any = request.user
        plan = plan_for(user)
        me = {
            "id": user.uid,
            "email": user.email,
            "plan": plan.name,
            "credits": ledger.balance(user)._asdict(),
            "limits": {
                "batch_images": plan.batch_images,
                "image_bytes": settings.IMAGE_MAX_BYTES,
                "image_pixels": settings.IMAGE_MAX_PIXELS,
                "direct_uploads": "direct" in settings.STORAGES,
            },
        }
        return Response(MeSerializer(me).data)


class EntriesView(ListAPIView[LedgerEntry]):
    """``GET credits/entries``: the statement, newest first."""

    serializer_class = EntrySerializer
    pagination_class = NewestFirst
    queryset = LedgerEntry.objects.none()  # tells the OpenAPI document the model

    @extend_schema(operation_id="credits_entries")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The statement, newest first: what came in, and what was held, taken and given back."""
        return super().get(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[LedgerEntry]:
        """The asking user's entries alone."""
        user: Any = self.request.user
        return ledger.entries(user)
