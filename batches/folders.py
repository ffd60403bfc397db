"""Folders of somebody's library: a tree that is small enough to be read whole.

Whatever changes a library goes through `locked`: one change after the other for each owner, so
that a folder can't be moved into its own child from two tabs, and no quota is passed twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone

from accounts.models import User
from batches import messages
from batches.models import Asset, Folder
from batches.names import Names, clean_name

DEEPEST = 8
"""Folders within each other."""
MOST_FOLDERS = 1000
"""Of one owner: the whole tree is on the page."""


class LibraryRefused(Exception):
    """A library that can't do what it was asked. Nothing has changed."""

    def __init__(self, code: str, **params: Any) -> None:
        super().__init__(code, params)
        self.code = code
        self.params: Mapping[str, Any] = params

    @property
    def detail(self) -> str:
        """Cause, effect and next step, for people."""
        return messages.text(self.code, self.params)


@dataclass
class Branch:
    """A folder with what is in it, as trees show it."""

    folder: Folder
    depth: int
    """1 for a folder at the top."""
    path: str
    """Its name with those above it: `shoes/left`."""
    count: int = 0
    """Assets that lie right in it, without the trash."""
    children: list["Branch"] = field(default_factory=list)

    @property
    def height(self) -> int:
        """How many folders lie within each other from here on, this one included."""
        return 1 + max((child.height for child in self.children), default=0)

    def walk(self) -> Iterator["Branch"]:
        """This one and all below, each before those in it."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass
class Tree:
    """All folders of an owner."""

    roots: list[Branch]
    by_id: dict[int, Branch]

    def walk(self) -> Iterator[Branch]:
        """All of them, each before those in it, by name."""
        for root in self.roots:
            yield from root.walk()

    def find(self, uid: UUID) -> Branch | None:
        """The branch of this folder, if there is one."""
        return next((at for at in self.by_id.values() if at.folder.uid == uid), None)

    def trail(self, folder: Folder) -> list[Branch]:
        """The way to a folder from the top, itself at the end."""
        way: list[Branch] = []
        at = self.by_id.get(folder.pk)
        while at:
            way.insert(0, at)
            at = self.by_id.get(at.folder.parent_id or 0)
        return way

    def inside(self, parent: Folder | None) -> list[Branch]:
        """The folders right in this one, or at the top."""
        return self.by_id[parent.pk].children if parent else self.roots


@contextmanager
def locked(owner: User) -> Iterator[None]:
    """A transaction in which nobody else changes this owner's library."""
    with transaction.atomic():
        # Rows that point to the owner can still be inserted, so this holds up nothing else.
        User.objects.select_for_update(no_key=True).get(pk=owner.pk)
        yield


def tree(owner: User) -> Tree:
    """All folders with the number of assets in each. One query."""
    kept = Count("assets", filter=Q(assets__trashed_at=None))
    rows = list(Folder.objects.visible_to(owner).annotate(n=kept).order_by("pk"))
    rows.sort(key=lambda folder: (folder.name.casefold(), folder.pk))
    below: dict[int | None, list[Any]] = {}
    for row in rows:
        below.setdefault(row.parent_id, []).append(row)
    found = Tree([], {})

    def grow(parent: int | None, depth: int, prefix: str) -> list[Branch]:
        grown = []
        for row in below.get(parent, []):
            path = f"{prefix}{row.name}"
            branch = Branch(row, depth, path, row.n, grow(row.pk, depth + 1, f"{path}/"))
            found.by_id[row.pk] = branch
            grown.append(branch)
        return grown

    found.roots = grow(None, 1, "")
    return found


def make(owner: User, name: str, *, parent: Folder | None = None) -> Folder:
    """A new folder. Raises `LibraryRefused`: the name is taken, too deep, too many."""
    with locked(owner):
        return _make(owner, tree(owner), name, parent)


def ensure(owner: User, path: Sequence[str]) -> Folder | None:
    """The folder that this way leads to, made as far as it is missing; nothing for no way.

    A way that is too long ends at the deepest folder that may be. Raises `LibraryRefused`
    where there are too many.
    """
    wanted = [clean_name(name) for name in path if name.strip()][:DEEPEST]
    if not wanted:
        return None
    with locked(owner):
        known = tree(owner)
        folder: Folder | None = None
        is_known = True
        for name in wanted:
            there = known.inside(folder) if is_known else []
            same = [at.folder for at in there if _is_taken(name, [at.folder.name])]
            is_known = bool(same)
            folder = same[0] if same else _insert(owner, known, name, folder)
        return folder


def rename(folder: Folder, name: str) -> None:
    """Give a folder another name. Raises `LibraryRefused` where it is taken."""
    with locked(folder.owner):
        name = clean_name(name)
        known = tree(folder.owner)
        at = _branch(known, folder)
        parent = at.folder.parent_id
        others = known.by_id[parent].children if parent else known.roots
        if _is_taken(name, [other.folder.name for other in others if other is not at]):
            raise LibraryRefused("folder_taken", name=name)
        Folder.objects.filter(pk=folder.pk).update(name=name)
        folder.name = name


def move(folder: Folder, parent: Folder | None) -> None:
    """Put a folder into another one or at the top.

    Raises `LibraryRefused`: into itself, too deep, or the name is taken there.
    """
    with locked(folder.owner):
        known = tree(folder.owner)
        at = _branch(known, folder)
        to = _branch(known, parent) if parent else None
        if to and to in list(at.walk()):
            raise LibraryRefused("folder_inside_itself", name=at.folder.name)
        if (to.depth if to else 0) + at.height > DEEPEST:
            raise LibraryRefused("folder_too_deep", max=DEEPEST)
        others = to.children if to else known.roots
        if _is_taken(at.folder.name, [other.folder.name for other in others if other is not at]):
            raise LibraryRefused("folder_taken", name=at.folder.name)
        Folder.objects.filter(pk=folder.pk).update(parent=parent)


def delete(folder: Folder, *, with_contents: bool = False) -> int:
    """Remove a folder; how many assets went into the trash with it.

    Without `with_contents` only an empty one goes: `LibraryRefused` says so. Assets in the trash
    don't count; restored, they lie at the top. Deleting one that is gone does nothing.
    """
    with locked(folder.owner):
        at = tree(folder.owner).by_id.get(folder.pk)
        if at is None:
            return 0
        branches = list(at.walk())
        if not with_contents and (at.children or at.count):
            raise LibraryRefused("folder_not_empty", name=at.folder.name)
        inside = [branch.folder.pk for branch in branches]
        now = timezone.now()
        assets = Asset.objects.visible_to(folder.owner).kept().filter(folder__in=inside)
        trashed = assets.update(trashed_at=now, updated_at=now)
        Folder.objects.filter(pk__in=inside).delete()
        return trashed


def _branch(known: Tree, folder: Folder) -> Branch:
    """Where a folder is now. Raises `LibraryRefused` when it has gone."""
    if at := known.by_id.get(folder.pk):
        return at
    raise LibraryRefused("folder_missing")


def _make(owner: User, known: Tree, name: str, parent: Folder | None) -> Folder:
    name = clean_name(name)
    at = _branch(known, parent) if parent else None
    if at and at.depth >= DEEPEST:
        raise LibraryRefused("folder_too_deep", max=DEEPEST)
    others = at.children if at else known.roots
    if _is_taken(name, [other.folder.name for other in others]):
        raise LibraryRefused("folder_taken", name=name)
    return _insert(owner, known, name, parent)


def _insert(owner: User, known: Tree, name: str, parent: Folder | None) -> Folder:
    # Those that one call makes on its way are few, and the bound is no promise to the last one.
    if len(known.by_id) >= MOST_FOLDERS:
        raise LibraryRefused("folders_full", max=MOST_FOLDERS)
    return Folder.objects.create(owner=owner, parent=parent, name=name)


def _is_taken(name: str, others: Sequence[str]) -> bool:
    """Whether a disk might take the name for one of the others."""
    return Names(*others).unique(name) != name
