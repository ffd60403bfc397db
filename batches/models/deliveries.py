"""Results on their way to somewhere: what was asked for, and each result's own fate."""

import uuid
from typing import Self

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from batches.models.work import Batch, Result


class DeliveryState(models.TextChoices):
    """Where a delivery stands. Some of its parcels may have failed when it is finished."""

    WAITING = "waiting", _("Waiting")
    RUNNING = "running", _("Delivering")
    FINISHED = "finished", _("Delivered")
    FAILED = "failed", _("Failed")


class ParcelState(models.TextChoices):
    """Where one result of a delivery stands."""

    WAITING = "waiting", _("Waiting")
    SENDING = "sending", _("Sending")
    SENT = "sent", _("Delivered")
    SKIPPED = "skipped", _("Left as it was")
    FAILED = "failed", _("Failed")
    UNDONE = "undone", _("Undone")


OPEN = (DeliveryState.WAITING, DeliveryState.RUNNING)
"""Something is still to come of it."""


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    """Questions about deliveries."""

    def visible_to(self, user: User) -> Self:
        """Those of the user's batches."""
        return self.filter(batch__owner=user)

    def open(self) -> Self:
        """Those of which something is still to come."""
        return self.filter(state__in=OPEN)


class Delivery(models.Model):
    """A batch's results, to be taken to one place. It never changes a result."""

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    batch = models.ForeignKey(Batch, models.CASCADE, related_name="deliveries")
    to = models.CharField(max_length=20)
    """Which exporter: `library`, `sirv`, `s3`, `google_sheet`, `xlsx`, `csv` or `zip`."""
    options = models.JSONField(default=dict)
    """What the exporter was told: folder, conflict rule and the like, validated."""
    connection = models.ForeignKey(
        "accounts.Connection", models.SET_NULL, null=True, blank=True, related_name="+"
    )
    follows = models.BooleanField(default=False)
    """Whether each result goes out as its image finishes, not only what is there at the start."""
    state = models.CharField(max_length=10, choices=DeliveryState, default=DeliveryState.WAITING)
    error_code = models.CharField(max_length=40, blank=True)
    error_params = models.JSONField(default=dict, blank=True)

    key = models.CharField(max_length=255, blank=True)
    """Of the file that was made, among the results, where the delivery is a file."""
    filename = models.CharField(max_length=255, blank=True)
    content_type = models.CharField(max_length=127, blank=True)
    bytes = models.PositiveBigIntegerField(default=0)

    cursor = models.JSONField(default=dict, editable=False)
    """How far it is, where results don't go out one by one."""
    attempt = models.PositiveIntegerField(default=0)
    retry_at = models.DateTimeField(null=True, editable=False)
    token = models.UUIDField(null=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    rung_at = models.DateTimeField(null=True, editable=False)

    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        """The scheduler asks for what is not over."""

        verbose_name_plural = _("deliveries")
        indexes = [
            models.Index(
                fields=["state"],
                condition=Q(state__in=["running", "waiting"]),
                name="delivery_open",
            )
        ]

    def __str__(self) -> str:
        return f"{self.to} {self.uid}"


class Parcel(models.Model):
    """One result on its way to one place; retried by itself, and undone by itself."""

    delivery = models.ForeignKey(Delivery, models.CASCADE, related_name="parcels")
    result = models.ForeignKey(Result, models.CASCADE, related_name="parcels")
    state = models.CharField(max_length=10, choices=ParcelState, default=ParcelState.WAITING)
    attempt = models.PositiveIntegerField(default=0)
    error_code = models.CharField(max_length=40, blank=True)
    error_params = models.JSONField(default=dict, blank=True)
    retry_at = models.DateTimeField(null=True, editable=False)
    token = models.UUIDField(null=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    name = models.TextField(blank=True)
    """What it is to be called there: a path with its ending, once in its delivery."""
    place = models.TextField(blank=True)
    """Where it lies now, in the words of the target: a path, a key."""
    url = models.TextField(blank=True)
    """Where people see it, if the target says so."""
    undo = models.JSONField(default=dict, editable=False)
    """What it takes to put the place back as it was."""
    changed_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        """A result goes to one place once."""

        constraints = [
            models.UniqueConstraint(fields=["delivery", "result"], name="one_parcel_per_result")
        ]
        indexes = [
            models.Index(fields=["delivery", "state"], name="parcel_by_state"),
            models.Index(
                fields=["lease_until"], condition=Q(state="sending"), name="parcel_in_hand"
            ),
        ]

    def __str__(self) -> str:
        return self.place or f"parcel {self.pk}"
