"""How the API tells about tools."""

from typing import Any

from rest_framework import serializers

from tools import abilities
from tools.base import Tool


class PriceSerializer(serializers.Serializer[dict[str, Any]]):
    """What one image costs with the default settings, and what changes that."""

    credits = serializers.IntegerField()
    per = serializers.CharField()
    rules = serializers.ListField(child=serializers.JSONField())


class ToolSerializer(serializers.Serializer[Tool]):
    """One tool, with a JSON Schema of its settings."""

    slug = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    output = serializers.ChoiceField(choices=["image", "text"])
    available = serializers.BooleanField()
    unavailable_reason = serializers.CharField(allow_null=True)
    price = PriceSerializer()
    settings_schema = serializers.JSONField()

    def to_representation(self, instance: Tool) -> dict[str, Any]:
        """The tool as it stands here and now, in the reader's language."""
        reason = abilities.unavailable_reason(instance)
        return {
            "slug": instance.slug,
            "name": str(instance.name),
            "description": str(instance.description),
            "output": "image" if instance.output == "image" else "text",
            "available": reason is None,
            "unavailable_reason": reason,
            "price": {
                "credits": instance.price_for(instance.defaults()),
                "per": "image",
                "rules": instance.price_rules(),
            },
            "settings_schema": instance.settings_schema(),
        }


class ToolListSerializer(serializers.Serializer[dict[str, Any]]):
    """All tools; there is always one page only."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = ToolSerializer(many=True)
