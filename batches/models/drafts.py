"""What is on the way in: pages that nobody has started yet, files that come by pieces."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from batches.models.work import Original


class Draft(models.Model):
    """What somebody has put on a tool's page and not started yet; one for each tool.

    It is what a reload, another tab or another device shows. `fields` holds the text fields and
    settings as they were typed, whether they make sense or not.
    """

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="drafts")
    tool = models.SlugField()
    fields = models.JSONField(default=dict)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        """One for each tool: whoever asks first makes it."""

        constraints = [
            models.UniqueConstraint(fields=["owner", "tool"], name="one_draft_per_tool"),
        ]

    def __str__(self) -> str:
        return f"{self.tool} draft {self.pk}"


class DraftImage(models.Model):
    """An uploaded picture on a tool's page, or a file that was turned away there."""

    draft = models.ForeignKey(Draft, models.CASCADE, related_name="images")
    original = models.ForeignKey(
        Original, models.CASCADE, null=True, blank=True, related_name="drafts"
    )
    refusal = models.TextField(blank=True)
    """A signed `batches.refusals.Refusal` where the file could not be taken in."""
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        """The same picture is there once."""

        constraints = [
            models.UniqueConstraint(fields=["draft", "original"], name="one_image_per_draft"),
            models.CheckConstraint(
                condition=Q(original__isnull=False) ^ ~Q(refusal=""), name="image_or_refusal"
            ),
        ]

    def __str__(self) -> str:
        return str(self.original or "refused file")


class PartialUpload(models.Model):
    """A file on its way in: by pieces, through the tus protocol, or straight to the bucket.

    Pieces lie in the storage of originals, one file for each request, so that any web host can
    take the next. `outcome` is kept until the row is pruned: a browser that missed the last
    answer asks for it.
    """

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    tool = models.SlugField(blank=True)
    """On whose page it was dropped; empty when it belongs to none."""
    name = models.CharField(max_length=255)
    length = models.PositiveBigIntegerField()
    offset = models.PositiveBigIntegerField(default=0)
    pieces = models.JSONField(default=list)
    """Keys of the pieces, in order."""
    direct = models.BooleanField(default=False)
    """Whether its sender writes it to the bucket: one piece, whose name is known beforehand."""
    sha256 = models.CharField(max_length=64, blank=True)
    """What its sender says that its bytes are; empty when nothing was said."""
    outcome = models.JSONField(null=True)
    """Once all of it is here: the original's id as `upload`, or a refusal's token as `refused`."""
    updated_at = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.offset} of {self.length})"
