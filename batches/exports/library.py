"""Results into the library of the batch's owner: the exporter `library`.

Words about a picture become its alt text (`batches.library.save`). Undoing puts what was added
into the trash, and gives a picture its old alt text back.
"""

from pathlib import PurePosixPath
from uuid import UUID

from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from batches import folders, library
from batches.exports.base import ExportError, Sent
from batches.folders import LibraryRefused
from batches.models import Asset, Delivery, Parcel, Result


class Options(serializers.Serializer):
    """Where in the library, and under which tags."""

    folder = serializers.CharField(
        label=_("Folder"),
        help_text=_("Made where it is missing; / between folders."),
        max_length=1000,
        allow_blank=True,
        default="",
    )
    tags = serializers.ListField(
        label=_("Tags"),
        child=serializers.CharField(max_length=library.LONGEST_TAG),
        max_length=library.MOST_TAGS,
        default=list,
    )


class LibraryExporter:
    """Keeps results as assets. Sending a result again finds what is there."""

    slug = "library"
    Options = Options

    def send(self, delivery: Delivery, result: Result, *, name: str) -> Sent:
        """Keep one result; the folders of its name lie within the one that was chosen.

        Raises `ExportError`: `library_full`, `asset_source_gone`, `folders_full`.
        """
        owner = delivery.batch.owner
        path = PurePosixPath(delivery.options.get("folder", ""), *PurePosixPath(name).parts[:-1])
        try:
            folder = folders.ensure(owner, [part for part in path.parts if part.strip("/. ")])
            kept = library.save(
                owner,
                result,
                folder=folder,
                name=PurePosixPath(name).name,
                tags=delivery.options.get("tags", ()),
                delivery=str(delivery.uid),
            )
        except LibraryRefused as refused:
            raise ExportError(refused.code, **refused.params) from refused
        asset = kept.asset
        undo = {"asset": str(asset.uid)}
        if kept.alt_text_before is not None:
            undo |= {"alt_text": asset.alt_text, "before": kept.alt_text_before}
        place = "/".join(
            [*(at.folder.name for at in folders.tree(owner).trail(asset.folder)), asset.name]
            if asset.folder
            else [asset.name]
        )
        url = settings.SITE_URL.rstrip("/") + reverse("batches:asset", args=[asset.uid])
        return Sent(place=place, url=url, undo=undo)

    def undo(self, delivery: Delivery, parcel: Parcel) -> None:
        """Trash what this delivery added; what was there before gets its old alt text back."""
        own = Asset.objects.visible_to(delivery.batch.owner)
        asset = own.filter(uid=parcel.undo.get("asset")).first()
        if asset is None:
            return
        if asset.origin.get("delivery") == str(delivery.uid):
            library.trash(delivery.batch.owner, [UUID(parcel.undo["asset"])])
        elif asset.alt_text == parcel.undo.get("alt_text"):  # nobody has changed it since
            library.edit(asset, alt_text=parcel.undo["before"])
