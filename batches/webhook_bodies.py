"""What webhooks send, in the words of the OpenAPI document.

`webhooks.body_of` writes these bodies out of what `outbox.record` was given.
"""

from datetime import UTC

from drf_spectacular.utils import OpenApiResponse, OpenApiWebhook, extend_schema
from rest_framework import serializers

from batches import outbox
from batches.models import DeliveryState
from batches.states import BatchState


class BatchDataSerializer(serializers.Serializer):
    """A batch that has come to a stop."""

    batch_id = serializers.UUIDField()
    name = serializers.CharField()
    tool = serializers.CharField()
    status = serializers.ChoiceField(choices=BatchState.values)
    total = serializers.IntegerField()
    done = serializers.IntegerField()
    failed = serializers.IntegerField()
    cancelled = serializers.IntegerField()
    credits_used = serializers.IntegerField()
    url = serializers.URLField(help_text="Where the API tells the rest.")


class DeliveryDataSerializer(serializers.Serializer):
    """A delivery that has ended."""

    delivery_id = serializers.UUIDField()
    batch_id = serializers.UUIDField()
    to = serializers.CharField()
    status = serializers.ChoiceField(choices=DeliveryState.values)
    done = serializers.IntegerField()
    failed = serializers.IntegerField()
    total = serializers.IntegerField()


class AssetDataSerializer(serializers.Serializer):
    """An image, or a text about one, in the library."""

    id = serializers.UUIDField()
    url = serializers.URLField(help_text="Opens it for whoever has it, for 30 days.")
    name = serializers.CharField()
    format = serializers.CharField()
    width = serializers.IntegerField(allow_null=True)
    height = serializers.IntegerField(allow_null=True)
    bytes = serializers.IntegerField()
    sha256 = serializers.CharField()
    tool = serializers.CharField()
    folder = serializers.UUIDField(allow_null=True)
    batch = serializers.UUIDField(allow_null=True)
    item = serializers.UUIDField(allow_null=True)
    created_at = serializers.DateTimeField(default_timezone=UTC)


class DeletedDataSerializer(serializers.Serializer):
    """What was in the library."""

    id = serializers.UUIDField()
    name = serializers.CharField()


class ProcessedDataSerializer(serializers.Serializer):
    """An image of a batch that is done, and the first of its results."""

    id = serializers.UUIDField(help_text="Of the item.")
    batch_id = serializers.UUIDField()
    external_id = serializers.CharField(allow_blank=True)
    tool = serializers.CharField()
    url = serializers.URLField(help_text="Opens the result for whoever has it, for 30 days.")
    name = serializers.CharField()
    format = serializers.CharField()
    width = serializers.IntegerField(allow_null=True)
    height = serializers.IntegerField(allow_null=True)
    bytes = serializers.IntegerField()
    text = serializers.CharField(allow_null=True, help_text="Of tools that write.")
    credits_used = serializers.IntegerField()


class PingDataSerializer(serializers.Serializer):
    """The webhook that was to be tried."""

    webhook_id = serializers.UUIDField()


class MessageSerializer(serializers.Serializer):
    """What every message has. ``event`` and ``created_at`` say the same as the two before."""

    id = serializers.CharField(help_text="Of the event; each receiver gets it under this id.")
    type = serializers.CharField()
    timestamp = serializers.DateTimeField(default_timezone=UTC)
    event = serializers.CharField()
    created_at = serializers.DateTimeField(default_timezone=UTC)


class BatchMessageSerializer(MessageSerializer):
    """A message about a batch."""

    data = BatchDataSerializer()  # type: ignore[assignment]  # the standard's word


class DeliveryMessageSerializer(MessageSerializer):
    """A message about a delivery."""

    data = DeliveryDataSerializer()  # type: ignore[assignment]


class AssetMessageSerializer(MessageSerializer):
    """A message about an image in the library."""

    data = AssetDataSerializer()  # type: ignore[assignment]


class DeletedMessageSerializer(MessageSerializer):
    """A message about what has left the library."""

    data = DeletedDataSerializer()  # type: ignore[assignment]


class ProcessedMessageSerializer(MessageSerializer):
    """A message about one image of a batch."""

    data = ProcessedDataSerializer()  # type: ignore[assignment]


class PingMessageSerializer(MessageSerializer):
    """A message that means nothing."""

    data = PingDataSerializer()  # type: ignore[assignment]


_HOW = (
    "Signed as Standard Webhooks has it: `webhook-id`, `webhook-timestamp` and "
    "`webhook-signature`. `X-Webhook-Signature` is the older habit: `sha256=` and the HMAC of "
    "the body in hex, with the secret as text. What gets no answer of 200 to 299 within 15 "
    "seconds is sent again for a day, under the same id."
)


def _webhook(event: str, summary: str, body: type[MessageSerializer]) -> OpenApiWebhook:
    taken = OpenApiResponse(description="Taken. The body of the answer is not read.")
    return OpenApiWebhook(
        name=event,
        decorator=extend_schema(
            summary=summary,
            description=_HOW,
            tags=["webhooks"],
            request=body,
            responses={"2XX": taken},
        ),
    )


BATCH_FINISHED = _webhook(
    outbox.BATCH_FINISHED, "A batch has finished, or was cancelled.", BatchMessageSerializer
)
BATCH_SAMPLED = _webhook(
    outbox.BATCH_SAMPLED, "A sample is done and waits for approval.", BatchMessageSerializer
)
DELIVERY_FINISHED = _webhook(
    outbox.DELIVERY_FINISHED, "Results have arrived somewhere.", DeliveryMessageSerializer
)
ASSET_CREATED = _webhook(
    outbox.ASSET_CREATED, "Something is in the library now.", AssetMessageSerializer
)
ASSET_UPDATED = _webhook(
    outbox.ASSET_UPDATED, "Something in the library was changed.", AssetMessageSerializer
)
ASSET_DELETED = _webhook(
    outbox.ASSET_DELETED, "Something has left the library for good.", DeletedMessageSerializer
)
ASSET_PROCESSED = _webhook(
    outbox.ASSET_PROCESSED, "An image of a batch is done.", ProcessedMessageSerializer
)
PING = _webhook(outbox.PING, "Somebody wants to see whether this arrives.", PingMessageSerializer)
