"""Addresses of this very site that clients hand back as images.

What lies here is taken from the storage: our own addresses never go through the guard of
addresses, which would refuse a private one, and are never downloaded.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from django.conf import settings
from django.db.models import Q
from django.urls import Resolver404, resolve
from django.utils import timezone

from accounts.models import User
from batches import formats, intake, links, storage
from batches.models import Asset, Original, Result

Refusal = tuple[str, Mapping[str, Any]]
"""The code and the figures of its message."""

GONE: Refusal = ("source_missing", {})
"""Not there, over, or somebody else's: nobody is told which."""

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class _Upload:
    """A picture as it came in."""

    uid: UUID


@dataclass(frozen=True)
class _Kept:
    """Something in the library."""

    uid: UUID


@dataclass(frozen=True)
class _Made:
    """A result, by its place; by a link also the version of its batch's links."""

    item: UUID
    position: int
    version: int | None = None


_Meant = _Upload | _Kept | _Made | links.Broken | None


def pictures(owner: User, addresses: Iterable[str], *, host: str) -> dict[str, Original | Refusal]:
    """Those among the addresses that are our own, with the owner's original that each stands for.

    Other addresses are left out. `host` is what the site is called in this request; `SITE_URL`
    names it, too. A result becomes an original the first time. Queries and copies grow with the
    results, not with the uploads.
    """
    hosts = {_place(settings.SITE_URL), _place(f"http://{host}"), _place(f"https://{host}")}
    meant = {address: _meant(address) for address in set(addresses) if _place(address) in hosts}
    uids = [one.uid for one in meant.values() if isinstance(one, _Upload)]
    here = Original.objects.visible_to(owner).filter(uid__in=uids).in_bulk(field_name="uid")
    found: dict[str, Original | Refusal] = {}
    for address, one in meant.items():
        match one:
            case _Upload(uid):
                found[address] = here.get(uid) or GONE
            case _Made():
                found[address] = _of_result(owner, one)
            case _Kept(uid):
                found[address] = _of_asset(owner, uid)
            case links.Broken():
                found[address] = GONE
            case None:
                continue  # a page of ours, or a file for everybody: no different from others
    return found


def _place(address: str) -> tuple[str, int] | None:
    """Host and port; None where the address makes no sense."""
    try:
        parts = urlsplit(address.strip())
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (host, port) if host and port else None


def _meant(address: str) -> _Meant:
    """What an address of ours names; None for what names no image."""
    parts = urlsplit(address.strip())
    try:
        match = resolve(parts.path)
    except Resolver404:
        return None
    match match.view_name:
        case "api:upload-file":
            return _Upload(match.kwargs["uid"])
        case "api:item-result" | "batches:result":
            position = parse_qs(parts.query).get("position", ["0"])[0]
            if not (position.isdecimal() and len(position) < 5):
                return links.Broken("no position")
            return _Made(match.kwargs["uid"], int(position))
        case "batches:link":
            return _linked(match.kwargs["token"])
    return None


def _linked(token: str) -> _Meant:
    try:
        named = links.named(token, now=timezone.now())
    except links.Broken as broken:
        return broken
    match named:
        case links.NamedUpload(upload):
            return _Upload(upload)
        case links.NamedResult(item, position, version):
            return _Made(item, position, version)
        case links.NamedAsset(asset):
            return _Kept(asset)


def _of_result(owner: User, one: _Made) -> Original | Refusal:
    """The original that a result of the owner has become, or becomes now."""
    current = Q() if one.version is None else Q(item__batch__link_version=one.version)
    own = Result.objects.filter(current, item__batch__owner=owner)
    result = own.filter(item__uid=one.item, position=one.position).select_related("item").first()
    if result is None:
        return GONE
    try:
        return intake.adopt(owner, result)
    except intake.ImageRefused as refused:
        return refused.code, refused.params


def _of_asset(owner: User, uid: UUID) -> Original | Refusal:
    """The original that something in the owner's library has become, or becomes now."""
    asset = Asset.objects.visible_to(owner).kept().filter(uid=uid).first()
    if asset is None:
        return GONE
    if asset.format in formats.TEXTS:
        return "source_not_image", {}
    try:
        data = storage.read(storage.RESULTS, asset.key)
        original, _new = intake.receive(owner, data, name=asset.name)
    except FileNotFoundError:
        return GONE
    except intake.ImageRefused as refused:
        return refused.code, refused.params
    return original
