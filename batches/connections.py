"""Accounts elsewhere: connect one, look whether it answers, say where results go, let it go.

A secret is tried before it is kept, sealed before it is stored, and shown to nobody again.
"""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from accounts import vault
from accounts.models import Connection, ConnectionKind, User
from batches.sources.base import Row
from batches.stores import paths
from batches.stores.base import Found, Store, StoreError
from tools.engines import images

MOST = 20
"""Connections of one person."""
MOST_OPEN = 64
"""Stores that one process keeps at hand; the least recently used one goes."""
CONFLICTS = ("skip", "rename", "overwrite")

_ENDINGS = (".jpeg", ".tif", ".heif", *images.EXTENSIONS.values())


class Refused(Exception):
    """A connection that can't be made or changed; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Folder:
    """What lies in a folder: names of the folders in it, and its pictures."""

    path: str
    folders: list[str]
    pictures: list[Found]
    is_cut: bool
    """Whether there are more pictures than were looked at."""


# --- Stores -----------------------------------------------------------------------------------

_open: OrderedDict[str, Store] = OrderedDict()
_opening = threading.Lock()


def open_store(connection: Connection) -> Store:
    """The storage behind a connection, shared by this process's threads.

    Raises `StoreError`: `connection_sealed` when the site's keys don't open its secret any more,
    `store_not_allowed` for an endpoint that may not be called (any more).
    """
    version = _version(connection)
    with _opening:
        if version in _open:
            _open.move_to_end(version)
            return _open[version]
        try:
            secret = connection.secret
        except vault.Unreadable:
            raise StoreError("connection_sealed") from None
        store = _store(connection.kind, connection.config, secret)
        _open[version] = store
        if len(_open) > MOST_OPEN:
            _open.popitem(last=False)
        return store


def _version(connection: Connection) -> str:
    """Changes with everything that a store is made from."""
    facts = [
        connection.kind,
        connection.config,
        connection.sealed_secret,
        settings.SIRV_API_URL,
        settings.FETCH_ALLOW,
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _store(kind: str, config: Mapping[str, str], secret: str) -> Store:
    # The clients are large: who opens no account, and that is nearly every process, needs none.
    allow = settings.FETCH_ALLOW
    if kind == ConnectionKind.SIRV:
        from batches.stores import guarding
        from batches.stores.sirv import Sirv

        return Sirv(
            client_id=config["client_id"],
            client_secret=secret,
            cdn=config.get("cdn", ""),
            api=settings.SIRV_API_URL,
            resolver=guarding.Resolver(allow=allow),
        )
    from batches.stores.s3 import S3

    return S3(
        bucket=config["bucket"],
        key_id=config["key_id"],
        secret=secret,
        endpoint=config.get("endpoint", ""),
        region=config.get("region", ""),
        prefix=config.get("prefix", ""),
        public_url=config.get("public_url", ""),
        allow=allow,
    )


# --- Verbs ------------------------------------------------------------------------------------


def connect(
    owner: User,
    *,
    kind: ConnectionKind,
    name: str,
    config: Mapping[str, str],
    secret: str,
    now: datetime,
) -> Connection:
    """Try the credentials and keep them. Raises `StoreError` or `Refused`; then nothing is kept."""
    if Connection.objects.visible_to(owner).count() >= MOST:
        raise Refused(_("You have {most} connections. Disconnect one first.").format(most=MOST))
    told = _store(kind, config, secret).check()
    connection = Connection(owner=owner, kind=kind, name=name, config={**config, **told})
    connection.secret = secret
    connection.checked_at = now
    _save(connection)
    return connection


def reconnect(
    connection: Connection, *, config: Mapping[str, str], secret: str, now: datetime
) -> None:
    """Give a connection other credentials, once they have worked. Raises `StoreError`."""
    told = _store(connection.kind, config, secret).check()
    sealed = Connection(kind=connection.kind, config={**config, **told})
    sealed.secret = secret
    Connection.objects.filter(pk=connection.pk).update(
        config=sealed.config,
        sealed_secret=sealed.sealed_secret,
        checked_at=now,
        error_code="",
        error_params={},
    )


def test(connection: Connection, *, now: datetime) -> StoreError | None:
    """Ask the account whether it knows us, and note the answer; gives what is wrong."""
    try:
        told = open_store(connection).check()
    except StoreError as error:
        note(connection, error)
        return error
    this = Connection.objects.filter(pk=connection.pk)
    this.update(
        config={**connection.config, **told}, checked_at=now, error_code="", error_params={}
    )
    return None


def note(connection: Connection, error: StoreError) -> None:
    """Remember what an account said last, for whoever looks at its page."""
    Connection.objects.filter(pk=connection.pk).update(
        error_code=error.code, error_params=dict(error.params)
    )


def arrange(
    connection: Connection, *, name: str, folders: Mapping[str, str], conflict: str
) -> None:
    """Say what it is called, where each tool's results go, and what happens to taken names.

    Raises `Refused`.
    """
    if conflict not in CONFLICTS:
        raise Refused(_("Choose what happens where a name is taken."))
    try:
        tidy = {tool: paths.folder(path) for tool, path in folders.items()}
    except StoreError as error:
        text = _("The folder “{path}” can't be used. Leave out dots and double slashes.")
        raise Refused(text.format(**error.params)) from error
    connection.name = name
    connection.folders = {tool: path for tool, path in tidy.items() if path}
    connection.conflict = conflict
    _save(connection, "name", "folders", "conflict")


def disconnect(connection: Connection) -> None:
    """Forget it and its secret. What was delivered stays where it is."""
    Connection.objects.filter(pk=connection.pk).delete()


def _save(connection: Connection, *fields: str) -> None:
    try:
        with transaction.atomic():
            connection.save(update_fields=fields or None)
    except IntegrityError:
        text = _("You have a connection called “{name}” already. Choose another name.")
        raise Refused(text.format(name=connection.name)) from None


# --- Chosen for a batch ------------------------------------------------------------------------


@dataclass(frozen=True)
class Pick:
    """Something in an account that somebody wants in a batch: a file, a folder, or its tree."""

    connection: str
    kind: str
    """`file`, `folder`, or `tree` with the folders in it."""
    path: str
    count: int
    """Of its pictures, when it was chosen."""

    @property
    def token(self) -> str:
        """As a form and a draft carry it; nothing in it is trusted."""
        return json.dumps([self.connection, self.kind, self.path, self.count], ensure_ascii=False)

    @classmethod
    def from_token(cls, token: str) -> "Pick | None":
        """What was chosen; nothing where a token makes no sense."""
        try:
            connection, kind, path, count = json.loads(token)
            pick = cls(str(UUID(connection)), str(kind), str(path), int(count))
        except (ValueError, TypeError, AttributeError, RecursionError):
            return None
        whole = kind in {"folder", "tree"} and not path
        is_sound = kind in {"file", "folder", "tree"} and (whole or paths.is_plain(pick.path))
        return pick if is_sound else None


def rows(owner: User, picks: Iterable[Pick]) -> Iterator[Row]:
    """The pictures that were chosen, each once, with their folders below what was chosen.

    Raises `StoreError`; `connection_gone` for what isn't the owner's, too.
    """
    own = {str(one.uid): one for one in Connection.objects.visible_to(owner)}
    seen = set()
    for pick in picks:
        if pick.connection not in own:
            raise StoreError("connection_gone")
        for path in _paths_of(own[pick.connection], pick):
            if (pick.connection, path) in seen:
                continue
            seen.add((pick.connection, path))
            start = len(pick.path) + 1 if pick.path and pick.kind != "file" else 0
            folder = "" if pick.kind == "file" else path[start:].rpartition("/")[0]
            yield Row(url=path, connection=pick.connection, folder=folder)


def _paths_of(connection: Connection, pick: Pick) -> Iterator[str]:
    if pick.kind == "file":
        yield pick.path
        return
    for found in pictures_in(connection, pick.path, recursive=pick.kind == "tree"):
        yield found.path


# --- What lies there --------------------------------------------------------------------------


def browse(connection: Connection, path: str, *, most: int) -> Folder:
    """What is right in a folder, with its first `most` pictures. Raises `StoreError`."""
    folder = paths.folder(path)
    found = list(islice(pictures_in(connection, folder, recursive=False), most + 1))
    return Folder(
        path=folder,
        folders=list(open_store(connection).folders(folder)),
        pictures=found[:most],
        is_cut=len(found) > most,
    )


def pictures_in(connection: Connection, folder: str, *, recursive: bool) -> Iterator[Found]:
    """Files of a folder that are pictures, going by their endings. Raises `StoreError`."""
    for found in open_store(connection).walk(folder, recursive=recursive):
        if found.path.lower().endswith(_ENDINGS):
            yield found
