"""Spreadsheets whose rows name images."""

import uuid
from typing import Self

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import User


class SheetKind(models.TextChoices):
    """What a sheet is."""

    CSV = "csv", "CSV"
    XLSX = "xlsx", "XLSX"
    GOOGLE = "google_sheet", _("Google Sheet")


class SheetQuerySet(models.QuerySet["Sheet"]):
    """Questions about sheets."""

    def visible_to(self, user: User) -> Self:
        """Those that belong to the user."""
        return self.filter(owner=user)


class Sheet(models.Model):
    """A spreadsheet as somebody gave it, kept so that results can be written back into it."""

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="sheets")
    kind = models.CharField(max_length=12, choices=SheetKind)
    name = models.CharField(max_length=255)
    """The file's name, or the title of a Google Sheet."""
    key = models.CharField(max_length=255, blank=True)
    """The file as it came, among the originals."""
    bytes = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    address = models.TextField(blank=True)
    """Of a Google Sheet, as it was pasted. `key` holds its cells as CSV, as they were read."""
    google_id = models.CharField(max_length=128, blank=True)
    tab = models.CharField(max_length=255, blank=True)
    """The sheet in the file that the rows come from."""
    tabs = models.JSONField(default=list)
    """Names of the sheets to choose from, hidden ones last; empty where there is only one."""
    columns = models.JSONField(default=list)
    """The names of the tab's columns, from A on; empty while nobody has looked."""
    header = models.PositiveIntegerField(null=True, blank=True)
    """1-based row of the column names; nothing where there are none."""
    mapping = models.JSONField(default=dict)
    """Column to what it is: `url`, `name`, `id`, `ignore`, or a setting of the tool."""
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = SheetQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name
