"""Pictures that settings name: a mask, a backdrop, a picture to go by.

An `ImageSetting` holds an upload's id or an address. `keep` judges them when items are made or
change their settings, the fetch stage brings the addresses' pictures in (once for a batch), and
`resolve` puts the pictures in place for the tool.
"""

import io
import threading
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from django.conf import settings as site
from PIL import Image

from batches import fetch, messages, storage
from batches.models import Batch, Item, Original, SettingImage
from tools.base import SettingError, SettingsInvalid, Tool
from tools.engines import images

Problem = tuple[str, Mapping[str, Any]]
"""The code and the figures of its message."""

IN_MEMORY = 4
"""Decoded pictures that a worker keeps: the items of a batch mostly share one."""


def keep(batch: Batch, tool: Tool, settings: Iterable[Mapping[str, Any]]) -> dict[str, Problem]:
    """Note the pictures that these settings name, for the batch; what can't be one is returned.

    Nothing is fetched. What was wrong with an address before gets another chance. Call it in
    the transaction that stores the settings.
    """
    values = {value for one in settings for value in tool.image_settings(one).values()}
    if not values:
        return {}
    problems: dict[str, Problem] = {}
    uploads = _uploads(batch, values)
    rows = []
    for value in sorted(values):
        if _is_upload(value):
            if value in uploads:
                rows.append(SettingImage(batch=batch, value=value, original=uploads[value]))
            else:
                problems[value] = ("source_missing", {})
            continue
        try:
            fetch.check_url(value, allow=site.FETCH_ALLOW)
        except fetch.FetchError as error:
            problems[value] = (error.code, error.params)
        else:
            rows.append(SettingImage(batch=batch, value=value))
    SettingImage.objects.bulk_create(rows, batch_size=500, ignore_conflicts=True)
    batch.setting_images.filter(value__in=values).exclude(error_code="").update(
        error_code="", error_params={}
    )
    return problems


def keep_or_refuse(batch: Batch, tool: Tool, settings: Sequence[Mapping[str, Any]]) -> None:
    """`keep` where one that can't be used stops it all. Raises `SettingsInvalid`."""
    problems = keep(batch, tool, settings)
    for one in settings if problems else ():
        errors = [
            SettingError(name, problems[value][0], messages.text(*problems[value]))
            for name, value in tool.image_settings(one).items()
            if value in problems
        ]
        if errors:
            raise SettingsInvalid.about(tool.Settings(data=dict(one)), errors)


def sizes(batch: Batch, values: Collection[str]) -> dict[str, tuple[int, int]]:
    """How large these pictures are that the batch's settings name, as far as they are here."""
    if not values:
        return {}
    here = batch.setting_images.filter(original__isnull=False, value__in=values)
    columns = here.values_list("value", "original__width", "original__height")
    return {value: (width, height) for value, width, height in columns}


def unfetched(batch: Batch) -> bool:
    """Whether any of the batch's addresses is still to be opened."""
    return batch.setting_images.filter(original=None, error_code="").exists()


def resolve(item: Item, tool: Tool) -> dict[str, Any]:
    """The item's settings, with the pictures in place of what names them.

    Raises `KeyError` for one that nobody has fetched.
    """
    named = tool.image_settings(item.settings)
    if not named:
        return item.settings
    rows = SettingImage.objects.filter(batch=item.batch_id, value__in=named.values())
    keys = dict(rows.filter(original__isnull=False).values_list("value", "original__key"))
    return {**item.settings, **{name: _picture(keys[value]) for name, value in named.items()}}


@contextmanager
def to_fetch(item: Item, value: str) -> Iterator[SettingImage | None]:
    """The row of an address that this thread is to fetch; None when its picture is here.

    Within a process one thread fetches and the others wait for it.
    """
    row = SettingImage.objects.get(batch=item.batch_id, value=value)
    if row.original_id:
        yield None
        return
    with _locks[row.pk % len(_locks)]:
        row.refresh_from_db()
        yield None if row.original_id else row


@lru_cache(maxsize=IN_MEMORY)
def _picture(key: str) -> Image.Image:
    # A name always means the same bytes, so there is nothing to go stale.
    return images.read(io.BytesIO(storage.read(storage.ORIGINALS, key)))


_locks = [threading.Lock() for _ in range(64)]


def _uploads(batch: Batch, values: Iterable[str]) -> dict[str, Original]:
    """The owner's originals among the values, locked against deletion."""
    wanted = [value for value in values if _is_upload(value)]
    if not wanted:
        return {}
    found = Original.objects.filter(owner=batch.owner_id, uid__in=wanted).order_by("pk")
    return {str(original.uid): original for original in found.select_for_update()}


def _is_upload(value: str) -> bool:
    try:
        uuid.UUID(value)
    except ValueError:
        return False
    return True
