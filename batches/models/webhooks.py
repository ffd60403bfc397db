"""Who is told what happens, and every message that goes out. The rows are the outbox."""

import json
import uuid
from typing import Self
from urllib.parse import urlsplit

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import vault
from accounts.models import User


class WebhookState(models.TextChoices):
    """Where a message stands."""

    WAITING = "waiting", _("Waiting")
    SENT = "sent", _("Delivered")
    FAILED = "failed", _("Failed")


class Envelope(models.TextChoices):
    """How messages are written to an endpoint."""

    STANDARD = "standard", _("Standard Webhooks")
    SIRV = "sirv", _("As Sirv AI Studio writes them")


class WebhookEndpointQuerySet(models.QuerySet["WebhookEndpoint"]):
    """Questions about endpoints."""

    def visible_to(self, user: User) -> Self:
        """Those that belong to the user."""
        return self.filter(owner=user)


class Signing(models.Model):
    """What signs messages. Only this site's own keys can read it."""

    sealed_secret = models.TextField(editable=False)

    class Meta:
        """No table of its own."""

        abstract = True

    @property
    def secret(self) -> str:
        """`whsec_…`. Raises `vault.Unreadable`."""
        return vault.unseal(self.sealed_secret)

    @secret.setter
    def secret(self, secret: str) -> None:
        self.sealed_secret = vault.seal(secret)


class DefaultSecret(Signing):
    """An account's own secret, for addresses that single batches name."""

    owner = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="webhook_secret"
    )

    def __str__(self) -> str:
        return f"secret of {self.owner_id}"


class WebhookEndpoint(Signing):
    """An address that somebody's events are sent to."""

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="webhooks")
    url = models.TextField()
    events = models.JSONField(default=list)
    envelope = models.CharField(
        max_length=8, choices=Envelope, default=Envelope.STANDARD, editable=False
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    disabled_at = models.DateTimeField(null=True, blank=True)
    """When we gave it up: nothing is sent to it until somebody switches it on again."""

    objects = WebhookEndpointQuerySet.as_manager()

    def __str__(self) -> str:
        """Its host alone: what stands behind it may be a secret of its owner's."""
        return urlsplit(self.url).hostname or str(self.uid)


class WebhookMessage(models.Model):
    """One event on its way to one address; its id stays the same however often it is sent."""

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    endpoint = models.ForeignKey(
        WebhookEndpoint, models.CASCADE, null=True, blank=True, related_name="messages"
    )
    """Nothing where a batch named its own address: then the owner's default secret signs."""
    url = models.TextField()
    event = models.CharField(max_length=40)
    payload = models.JSONField()
    state = models.CharField(max_length=8, choices=WebhookState, default=WebhookState.WAITING)
    attempts = models.JSONField(default=list)
    """Oldest first: at, seconds, status or nothing, code of the error or nothing."""
    tries = models.PositiveIntegerField(default=0)
    """Since it was sent, or sent again by hand."""
    next_at = models.DateTimeField(default=timezone.now)
    token = models.UUIDField(null=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        """The scheduler asks for what is due."""

        indexes = [
            models.Index(
                fields=["next_at"], condition=Q(state="waiting"), name="webhook_message_due"
            ),
            models.Index(fields=["endpoint", "-created_at"], name="webhook_message_log"),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.uid}"

    @property
    def message_id(self) -> str:
        """Its id on the wire: the same for each try, so that receivers know it again."""
        return f"msg_{self.uid.hex}"

    @property
    def payload_text(self) -> str:
        """What it says, for people."""
        return json.dumps(self.payload, ensure_ascii=False, indent=1)
