"""The asset library: pictures that people keep, whatever becomes of the batch that made them."""

import uuid
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import User


class FolderQuerySet(models.QuerySet["Folder"]):
    """Questions about folders."""

    def visible_to(self, user: User) -> Self:
        """Those that belong to the user."""
        return self.filter(owner=user)


class Folder(models.Model):
    """A folder of somebody's library, in another one or at the top."""

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="folders")
    parent = models.ForeignKey(
        "self", models.CASCADE, null=True, blank=True, related_name="children"
    )
    name = models.CharField(max_length=255)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = FolderQuerySet.as_manager()

    class Meta:
        """Names are unique within their folder."""

        constraints = [
            models.UniqueConstraint(fields=["owner", "parent", "name"], name="one_folder_per_name"),
            models.UniqueConstraint(
                fields=["owner", "name"],
                condition=Q(parent=None),
                name="one_top_folder_per_name",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Tag(models.Model):
    """A word that somebody puts on assets."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="tags")
    name = models.CharField(max_length=64)

    class Meta:
        """Each word is there once for its owner."""

        constraints = [models.UniqueConstraint(fields=["owner", "name"], name="one_tag_per_name")]

    def __str__(self) -> str:
        return self.name


class AssetQuerySet(models.QuerySet["Asset"]):
    """Questions about assets."""

    def visible_to(self, user: User) -> Self:
        """Those that belong to the user, the trash included."""
        return self.filter(owner=user)

    def kept(self) -> Self:
        """Without what lies in the trash."""
        return self.filter(trashed_at=None)

    def matching(self, words: str) -> Self:
        """Those in which each of the words occurs: in the name, the alt text, a tag or the tool."""
        found = self
        for word in words.split():
            tagged = Asset.tags.through.objects.filter(
                asset=OuterRef("pk"), tag__name__icontains=word
            )
            found = found.filter(
                Q(name__icontains=word)
                | Q(alt_text__icontains=word)
                | Q(tool__icontains=word)
                | Exists(tagged)
            )
        return found

    def tagged(self, name: str) -> Self:
        """Those with this tag."""
        on = Asset.tags.through.objects.filter(asset=OuterRef("pk"), tag__name=name)
        return self.filter(Exists(on))


class Asset(models.Model):
    """A picture or text in somebody's library, with bytes of its own."""

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="assets")
    folder = models.ForeignKey(
        Folder, models.SET_NULL, null=True, blank=True, related_name="assets"
    )
    name = models.CharField(max_length=255)
    key = models.CharField(max_length=255)
    """Among the results, under a name of the library's own."""
    thumbnail_key = models.CharField(max_length=255, blank=True)
    format = models.CharField(max_length=8)
    width = models.PositiveIntegerField(null=True)
    height = models.PositiveIntegerField(null=True)
    bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    alt_text = models.TextField(_("alt text"), blank=True)
    favourite = models.BooleanField(_("favourite"), default=False)
    tags = models.ManyToManyField(Tag, blank=True, related_name="assets")
    tool = models.SlugField(blank=True)
    """The tool that made it; empty for what came in as it is."""
    source_sha256 = models.CharField(max_length=64, blank=True)
    """Of the picture it was made from: versions of one picture share it."""
    origin = models.JSONField(default=dict)
    """Where it comes from, as it was: batch and item (uid, name), settings, model version."""
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)
    trashed_at = models.DateTimeField(null=True, blank=True)

    objects = AssetQuerySet.as_manager()

    class Meta:
        """The library lists by owner and folder, newest first."""

        indexes = [
            models.Index(fields=["owner", "-created_at"], name="asset_by_owner"),
            models.Index(fields=["owner", "folder", "-created_at"], name="asset_by_folder"),
            models.Index(fields=["owner", "source_sha256"], name="asset_by_source"),
            models.Index(
                fields=["trashed_at"],
                condition=Q(trashed_at__isnull=False),
                name="asset_in_trash",
            ),
        ]

    def __str__(self) -> str:
        return self.name
