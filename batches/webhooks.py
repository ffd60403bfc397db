"""Telling people's own servers what has happened, by the rules of Standard Webhooks.

What is to be told lies in the outbox (`batches.outbox`). A message keeps its id however often it
is sent; receivers may see it twice, and know it by that id.
"""

import base64
import binascii
import hashlib
import hmac
import json
import logging
import secrets
import time
import uuid
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _
from standardwebhooks import Webhook

from accounts import vault
from accounts.models import User
from batches import clock, envelopes, fetch, messages, outbox
from batches.models import (
    DefaultSecret,
    Envelope,
    WebhookEndpoint,
    WebhookMessage,
    WebhookState,
)

WAITS = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 60, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 8 * 3600, 8 * 3600)
)
"""After each try that came to nothing; a day in all, and then the message has failed."""
SECONDS = 15.0
"""For one answer. Whoever needs longer answers first and works later."""
AT_ONCE = 32
THREADS = 8
LEASE = timedelta(seconds=2 * SECONDS * AT_ONCE / THREADS)
"""Twice what sending takes where nobody answers."""
MOST_ENDPOINTS = 20
SHORTEST_SECRET = 16
PREFIX = "whsec_"
"""Of secrets in the standard's format."""
KEPT_FOR = timedelta(days=30)
"""Messages that are over are forgotten then."""
GONE = 410
"""The status by which a server says that it wants no more."""

log = logging.getLogger(__name__)


class Refused(Exception):
    """An endpoint that can't be had; `code` and the words say why."""

    def __init__(self, field: str, code: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field
        self.code = code
        self.detail = detail


def register(
    owner: User,
    *,
    url: str,
    events: Collection[str],
    secret: str = "",
    envelope: Envelope = Envelope.STANDARD,
) -> WebhookEndpoint:
    """A new endpoint, told from now on; without a secret one is made. Raises `Refused`."""
    url = checked_url(url)
    unknown = sorted(set(events) - set(outbox.EVENTS))
    if unknown or not events:
        raise Refused(
            "events",
            "unknown_event",
            _("Choose among these events: {events}.").format(events=", ".join(outbox.EVENTS)),
        )
    if secret and len(secret) < SHORTEST_SECRET:
        raise Refused(
            "secret",
            "secret_too_short",
            _("A secret has at least {n} characters. Leave it out, and one is made.").format(
                n=SHORTEST_SECRET
            ),
        )
    with transaction.atomic():
        # Under the owner's row, so that two requests don't both take the last place.
        User.objects.select_for_update().get(pk=owner.pk)
        if WebhookEndpoint.objects.visible_to(owner).count() >= MOST_ENDPOINTS:
            raise Refused(
                "url",
                "too_many_webhooks",
                _("There are {n} webhooks already. Remove one first.").format(n=MOST_ENDPOINTS),
            )
        endpoint = WebhookEndpoint(
            owner=owner,
            url=url,
            events=[name for name in outbox.EVENTS if name in events],
            envelope=envelope,
        )
        endpoint.secret = secret or new_secret()
        endpoint.save()
    return endpoint


def checked_url(url: str) -> str:
    """An address that messages may be sent to, in normal form. Raises `Refused`."""
    try:
        return fetch.check_url(url, allow=settings.FETCH_ALLOW)
    except fetch.FetchError as error:
        raise Refused("url", error.code, messages.text(error.code, error.params)) from error


def remove(endpoint: WebhookEndpoint) -> None:
    """Tell it nothing more; its log goes with it."""
    WebhookEndpoint.objects.filter(pk=endpoint.pk).delete()


def switch_on(endpoint: WebhookEndpoint) -> bool:
    """Go on with one that was given up; False when it was on already."""
    given_up = WebhookEndpoint.objects.filter(pk=endpoint.pk, disabled_at__isnull=False)
    return bool(given_up.update(disabled_at=None))


def ping(endpoint: WebhookEndpoint) -> WebhookMessage:
    """Send it a message that means nothing, to see whether it arrives."""
    message = WebhookMessage.objects.create(
        owner_id=endpoint.owner_id,
        endpoint=endpoint,
        url=endpoint.url,
        event=outbox.PING,
        payload={"webhook_id": str(endpoint.uid)},
    )
    outbox.ring()
    return message


def resend(message: WebhookMessage) -> bool:
    """Send a message that is over once more, under its own id; False while it is not over."""
    over = WebhookMessage.objects.filter(pk=message.pk).exclude(state=WebhookState.WAITING)
    moved = over.update(
        state=WebhookState.WAITING,
        next_at=clock.now(),
        finished_at=None,
        token=None,
        lease_until=None,
        tries=0,
    )
    if moved:
        outbox.ring()
    return bool(moved)


def default_secret(owner: User) -> str:
    """What signs messages to addresses that single batches name; made when first asked for.

    One that can't be read any more, because the site's keys are gone, is made anew.
    """
    row = DefaultSecret.objects.filter(owner=owner).first()
    if row is None:
        fresh = DefaultSecret(owner=owner)
        fresh.secret = new_secret()
        row, _new = DefaultSecret.objects.get_or_create(
            owner=owner, defaults={"sealed_secret": fresh.sealed_secret}
        )
    try:
        return row.secret
    except vault.Unreadable:
        return renew_default_secret(owner)


def renew_default_secret(owner: User) -> str:
    """Another one in its place; what is sent from now on carries the new one's signature."""
    secret = new_secret()
    DefaultSecret.objects.update_or_create(
        owner=owner, defaults={"sealed_secret": vault.seal(secret)}
    )
    return secret


def new_secret() -> str:
    """256 random bits as Standard Webhooks writes them."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signed(secret: str, message_id: str, body: bytes, *, at: datetime) -> dict[str, str]:
    """The headers that prove who sent a message.

    `webhook-signature` is Standard Webhooks 1.0: HMAC-SHA256 over id, time and body. A secret
    that is not in that format (`whsec_` and base64) is used as the bytes that it is.
    `X-Webhook-Signature` is the older habit: over the body alone, with the secret as text.
    """
    key = _key_of(secret)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(key).sign(message_id, at, body.decode()),
        "X-Webhook-Signature": "sha256="
        + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
    }


def send_due(*, now: datetime) -> int:
    """Send what is due, a handful side by side; returns how many messages were tried.

    Two at once never send the same message: each is claimed first. One whose sender died is
    claimed again when its lease has run out.
    """
    ids = outbox.due(now=now).order_by("next_at").values_list("pk", flat=True)[:AT_ONCE]
    claimed = [message for pk in list(ids) if (message := _claim(pk, now=now))]
    if not claimed:
        return 0
    with ThreadPoolExecutor(min(THREADS, len(claimed))) as pool:
        # Threads talk to the servers and touch no database; what came of it is settled here.
        tried = {pool.submit(_try, *_prepared(message)): message for message in claimed}
        for done in as_completed(tried):
            _settle(tried[done], done.result(), now=now)
    outbox.ring_if_due(now=clock.now())
    return len(claimed)


def prune(*, now: datetime, dry_run: bool = False) -> int:
    """Forget messages that have been over for long; returns how many. Or just count them."""
    old = WebhookMessage.objects.filter(finished_at__lt=now - KEPT_FOR)
    if dry_run:
        return old.count()
    removed, _by_model = old.delete()
    return removed


def body_of(message: WebhookMessage) -> bytes:
    """What is sent: small enough to be read at once, the rest is a request away."""
    return json.dumps(envelopes.told(message), ensure_ascii=False, separators=(",", ":")).encode()


def _claim(pk: int, *, now: datetime) -> WebhookMessage | None:
    token = uuid.uuid4()
    # Not by `outbox.due`: a move through a join does not compare with what is there.
    free = Q(lease_until=None) | Q(lease_until__lt=now)
    waiting = WebhookMessage.objects.filter(free, pk=pk, state=WebhookState.WAITING)
    if not waiting.update(token=token, lease_until=now + LEASE):
        return None
    mine = WebhookMessage.objects.filter(pk=pk, token=token)
    return mine.select_related("endpoint", "owner").first()


def _prepared(message: WebhookMessage) -> tuple[str, bytes, dict[str, str] | None]:
    """Address, body and headers; no headers where the secret can't be read any more."""
    body = body_of(message)
    try:
        secret = message.endpoint.secret if message.endpoint else default_secret(message.owner)
    except vault.Unreadable:
        return message.url, body, None
    return message.url, body, signed(secret, message.message_id, body, at=clock.now())


def _try(url: str, body: bytes, headers: dict[str, str] | None) -> dict[str, Any]:
    """Send it, and say what came of that."""
    begun, now = time.monotonic(), clock.now()
    status, code = None, ""
    try:
        if headers is None:
            code = "secret_unreadable"
        else:
            status = fetch.post(
                url,
                body,
                headers={**headers, "Content-Type": "application/json"},
                deadline=SECONDS,
                allow=settings.FETCH_ALLOW,
            )
    except fetch.FetchError as error:
        code = error.code
    except Exception:
        log.exception("A webhook message could not be sent")
        code = "processing_failed"
    seconds = round(time.monotonic() - begun, 3)
    return {"at": now.isoformat(), "seconds": seconds, "status": status, "code": code}


def _settle(message: WebhookMessage, attempt: dict[str, Any], *, now: datetime) -> None:
    """Write down what a try came to, if the claim still stands."""
    status = attempt["status"]
    mine = WebhookMessage.objects.filter(pk=message.pk, token=message.token)
    tries = message.tries + 1
    known = {
        "attempts": [*message.attempts, attempt],
        "tries": tries,
        "token": None,
        "lease_until": None,
    }
    if status is not None and 200 <= status < 300:
        mine.update(state=WebhookState.SENT, finished_at=now, **known)
    elif status == GONE or message.event == outbox.PING or tries > len(WAITS):
        if mine.update(state=WebhookState.FAILED, finished_at=now, **known):
            _give_up(message, now=now, at_once=status == GONE)
    else:
        mine.update(next_at=now + WAITS[tries - 1], **known)


def _give_up(message: WebhookMessage, *, now: datetime, at_once: bool) -> None:
    """Leave an endpoint alone that wants nothing more, or has taken nothing for a whole day."""
    if message.endpoint is None or message.event == outbox.PING:
        return
    answered = WebhookMessage.objects.filter(
        endpoint=message.endpoint, state=WebhookState.SENT, finished_at__gt=message.created_at
    )
    if at_once or not answered.exists():
        WebhookEndpoint.objects.filter(pk=message.endpoint.pk, disabled_at=None).update(
            disabled_at=now
        )


def _key_of(secret: str) -> bytes:
    if secret.startswith(PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except (binascii.Error, ValueError):
            pass
    return secret.encode()
