"""What of a library is asked for, and in which order: shared by its pages and the picker."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import F, Q
from django.db.models.functions import Lower
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from batches.folders import Branch, Tree
from batches.models import Asset, AssetQuerySet

LOOSE = "none"
"""Stands for what is in no folder."""

ORDERS: Mapping[str, tuple[Any, str, bool]] = {
    "": (_("Newest first"), "created_at", True),
    "oldest": (_("Oldest first"), "created_at", False),
    "name": (_("By name"), "lower_name", False),
    "size": (_("Largest first"), "bytes", True),
}
"""Words, the field that counts, and whether it goes down. Equal ones follow their ids."""


@dataclass(frozen=True)
class Wish:
    """What somebody wants to see. Nonsense means everything."""

    words: str = ""
    folder: str = ""
    tag: str = ""
    tool: str = ""
    kind: str = ""
    favourites: bool = False
    trash: bool = False
    order: str = ""

    @classmethod
    def of(cls, query: QueryDict, tree: Tree) -> "Wish":
        """The wish that an address expresses."""
        folder, order = query.get("folder", ""), query.get("sort", "")
        if folder != LOOSE and branch_of(tree, folder) is None:
            folder = ""
        return cls(
            words=query.get("q", "").replace("\0", "").strip()[:200],
            folder=folder,
            tag=query.get("tag", "").replace("\0", "")[:64],
            tool=query.get("tool", "").replace("\0", "")[:50],
            kind=query.get("type", "").replace("\0", "")[:8],
            favourites=bool(query.get("favourites")),
            trash=bool(query.get("trash")),
            order=order if order in ORDERS else "",
        )

    @property
    def is_narrow(self) -> bool:
        """Whether more than a place is asked for."""
        return bool(self.words or self.tag or self.tool or self.kind or self.favourites)

    def address(self, **other: str | int) -> str:
        """The query of the address that expresses it, with some parts changed; "" is left out."""
        parts: dict[str, str | int] = {
            "q": self.words,
            "folder": self.folder,
            "tag": self.tag,
            "tool": self.tool,
            "type": self.kind,
            "favourites": "1" if self.favourites else "",
            "trash": "1" if self.trash else "",
            "sort": self.order,
        }
        query = QueryDict(mutable=True)
        query.update({name: str(value) for name, value in (parts | other).items() if value})
        return query.urlencode()

    def assets(self, owner: User, tree: Tree) -> AssetQuerySet:
        """The owner's assets that are wished for, in order.

        A folder shows what lies right in it; whoever looks for something there finds what is in
        the folders below, too.
        """
        found = self.without_place(owner)
        branch = branch_of(tree, self.folder)
        if self.folder == LOOSE:
            found = found.filter(folder=None)
        elif branch and self.is_narrow:
            found = found.filter(folder__in=[at.folder.pk for at in branch.walk()])
        elif branch:
            found = found.filter(folder=branch.folder)
        return in_order(found, self.order)

    def without_place(self, owner: User) -> AssetQuerySet:
        """The same, wherever it lies."""
        own = Asset.objects.visible_to(owner)
        found = own.filter(trashed_at__isnull=False) if self.trash else own.kept()
        found = found.matching(self.words)
        if self.tag:
            found = found.tagged(self.tag)
        if self.tool:
            found = found.filter(tool=self.tool)
        if self.kind:
            found = found.filter(format=self.kind)
        if self.favourites:
            found = found.filter(favourite=True)
        return found


def branch_of(tree: Tree, text: str) -> Branch | None:
    """The folder that a form or an address names by its uid; nothing for nonsense."""
    try:
        return tree.find(UUID(text))
    except ValueError:
        return None


def in_order(assets: AssetQuerySet, order: str) -> AssetQuerySet:
    """The assets in one of `ORDERS`."""
    _words, name, falls = ORDERS[order]
    sign = "-" if falls else ""
    return assets.annotate(lower_name=Lower("name")).order_by(f"{sign}{name}", f"{sign}pk")


def neighbours(assets: AssetQuerySet, order: str, asset: Asset) -> tuple[UUID | None, UUID | None]:
    """Who comes before and after an asset among these."""
    _words, name, falls = ORDERS[order]
    value = asset.name.lower() if name == "lower_name" else getattr(asset, name)
    assets = assets.annotate(lower_name=Lower("name"))
    higher = Q(**{f"{name}__gt": value}) | Q(**{name: value, "pk__gt": asset.pk})
    lower = Q(**{f"{name}__lt": value}) | Q(**{name: value, "pk__lt": asset.pk})
    above = assets.filter(higher).order_by(F(name).asc(), "pk").values_list("uid", flat=True)
    below = assets.filter(lower).order_by(F(name).desc(), "-pk").values_list("uid", flat=True)
    up, down = above.first(), below.first()
    return (up, down) if falls else (down, up)


def uuids(texts: list[str]) -> list[UUID]:
    """The uids that a form carries; nonsense is left out."""
    found = []
    for text in dict.fromkeys(texts):
        try:
            found.append(UUID(text))
        except ValueError:
            continue
    return found
