"""Forgetting somebody who leaves: work stopped, images and personal data gone, the ledger kept.

`leave` shuts the account in one statement; from then on all of it happens, whoever dies. `erase`
does it in steps that may be repeated, files before the rows that name them, so that a second
run finds what the first one left. `finish` is what the scheduler calls: it goes on where somebody
died, and looks once more when all requests that were under way at the time have ended.
"""

import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import ProtectedError

from accounts import farewell, mail
from accounts.models import ApiKey, User
from batches import lifecycle, storage
from batches.models import (
    Asset,
    Batch,
    DefaultSecret,
    Delivery,
    Draft,
    Folder,
    Item,
    Original,
    PartialUpload,
    Recurring,
    Result,
    Sheet,
    Tag,
    WebhookEndpoint,
    WebhookMessage,
)
from batches.states import LIVE, ON_HOLD, BatchState, ItemState
from credits import ledger

BUDGET_SECONDS = 10.0
"""How long one call works; the scheduler has other things to do, and people wait for a page."""
CHUNK = 100

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Losses:
    """What goes when somebody leaves."""

    batches: int
    running: int
    originals: int
    results: int
    assets: int
    keys: int
    credits: int


def losses(user: User, *, now: datetime) -> Losses:
    """Counted as it is now."""
    own = Batch.objects.visible_to(user)
    balance = ledger.balance(user)
    return Losses(
        batches=own.count(),
        running=own.filter(state__in=LIVE).count(),
        originals=Original.objects.visible_to(user).count(),
        results=Item.objects.visible_to(user).filter(state=ItemState.DONE).count(),
        assets=Asset.objects.visible_to(user).count(),
        keys=ApiKey.objects.usable(now=now).filter(user=user).count(),
        credits=balance.available + balance.held,
    )


def leave(user: User, *, now: datetime) -> bool:
    """Shut the account and erase it; True when nothing is left already.

    What does not fit into the time of a request, or goes wrong, is left to `finish`.
    """
    address = user.email
    if farewell.begin(user, now=now):
        mail.send("gone", address)
    try:
        return erase(user, now=now)
    except Exception:
        log.exception("Erasing user %s goes on later", user.pk)
        return False


def finish(*, now: datetime) -> int:
    """Go on with whatever was begun; how many accounts were looked at.

    What goes wrong with one account is raised when the others are done.
    """
    failures: list[Exception] = []
    users = list(farewell.due(now=now).order_by("pk"))
    for user in users:
        try:
            erase(user, now=now)
        except Exception as error:
            log.exception("User %s could not be erased", user.pk)
            failures.append(error)
    if failures:
        raise failures[0]
    return len(users)


def erase(user: User, *, now: datetime) -> bool:
    """Erase what there is of somebody whose account is shut; False when time ran out.

    Two at once don't disturb each other.
    """
    until = time.monotonic() + BUDGET_SECONDS
    farewell.close_doors(user, now=now)
    Recurring.objects.filter(owner=user).delete()
    _stop_work(user)
    Draft.objects.filter(owner=user).delete()
    WebhookEndpoint.objects.filter(owner=user).delete()
    WebhookMessage.objects.filter(owner=user).delete()
    DefaultSecret.objects.filter(owner=user).delete()
    if not (_erase_uploads(user, until) and _erase_batches(user, until)):
        return False
    if not (_erase_originals(user, until) and _erase_sheets(user, until)):
        return False
    if not _erase_library(user, until):
        return False
    farewell.anonymise(user)
    farewell.finish(user, now=now)
    return True


def _stop_work(user: User) -> None:
    """Cancel all of it first, so that nothing is charged while the rest goes."""
    ended = [BatchState.FINISHED, BatchState.CANCELLED]
    for batch in Batch.objects.visible_to(user).exclude(state__in=ended).order_by("pk"):
        if batch.state == BatchState.CANCELLING:
            lifecycle.finish_cancelling(batch)
        else:
            with suppress(lifecycle.StateConflict, Batch.DoesNotExist):  # somebody was faster
                lifecycle.cancel(batch)


def _erase_uploads(user: User, until: float) -> bool:
    for upload in PartialUpload.objects.filter(owner=user).order_by("pk"):
        if time.monotonic() > until:
            return False
        storage.delete(storage.ORIGINALS, *upload.pieces)
        PartialUpload.objects.filter(pk=upload.pk).delete()
    return True


def _erase_batches(user: User, until: float) -> bool:
    for pk in list(Batch.objects.visible_to(user).order_by("pk").values_list("pk", flat=True)):
        if time.monotonic() > until or not _erase_batch(user, pk):
            return False
    return True


def _erase_batch(user: User, pk: int) -> bool:
    """Files, then rows; False when somebody runs it again just now."""
    results = Result.objects.filter(item__batch_id=pk).values_list("key", "thumbnail_key")
    made = Delivery.objects.filter(batch_id=pk).values_list("key", flat=True)
    storage.delete(storage.RESULTS, *_flat(results), *made)
    with transaction.atomic():
        batch = Batch.objects.select_for_update().filter(pk=pk).first()
        if batch is None:
            return True
        ledger.lock(user.pk)  # no item can be settled, or be taken in hand, while it goes
        if batch.items.filter(state__in=ON_HOLD).exists():
            return False
        about = ContentType.objects.get_for_model(Batch)
        LogEntry.objects.filter(content_type=about, object_id=str(pk)).delete()
        batch.delete()
    return True


def _erase_originals(user: User, until: float) -> bool:
    own = Original.objects.visible_to(user).order_by("pk")
    while chunk := list(own[:CHUNK]):
        if time.monotonic() > until:
            return False
        storage.delete(
            storage.ORIGINALS,
            *_flat((original.key, original.thumbnail_key) for original in chunk),
        )
        try:
            Original.objects.filter(pk__in=[original.pk for original in chunk]).delete()
        except ProtectedError:  # a request that was under way has just made another batch
            return False
    return True


def _erase_sheets(user: User, until: float) -> bool:
    for sheet in Sheet.objects.visible_to(user).order_by("pk"):
        if time.monotonic() > until:
            return False
        storage.delete(storage.ORIGINALS, sheet.key)
        sheet.delete()
    return True


def _erase_library(user: User, until: float) -> bool:
    own = Asset.objects.visible_to(user).order_by("pk")
    while chunk := list(own[:CHUNK]):
        if time.monotonic() > until:
            return False
        storage.delete(storage.RESULTS, *_flat((asset.key, asset.thumbnail_key) for asset in chunk))
        Asset.objects.filter(pk__in=[asset.pk for asset in chunk]).delete()
    Folder.objects.visible_to(user).delete()
    Tag.objects.filter(owner=user).delete()
    return True


def _flat(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return [key for pair in pairs for key in pair]
