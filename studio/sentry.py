"""Errors to a Sentry of the operator's, where one is named; else none of it is imported."""

import os
import socket
from typing import Any

from studio.hiding import KEPT, hide

SECRETS = ("authorization", "cookie", "token", "secret", "password", "key", "email")
"""What a name holds whose value goes nowhere."""


def start(dsn: str, *, environment: str) -> None:
    """Report errors of this process. Personal data, secrets and contents of forms stay here."""
    import sentry_sdk
    from sentry_sdk.integrations.django import DjangoIntegration
    from sentry_sdk.integrations.logging import LoggingIntegration

    sentry_sdk.init(
        dsn=dsn,
        environment=environment or None,
        send_default_pii=False,
        max_request_body_size="never",
        include_local_variables=False,  # pictures, settings, credentials pass through them
        traces_sample_rate=0.0,
        integrations=[DjangoIntegration(), LoggingIntegration()],
        default_integrations=True,
        auto_enabling_integrations=False,
        before_send=before_send,
    )


def before_send(event: Any, _hint: Any) -> Any:
    """The event with the ids that our logs have, and without what looks like a secret."""
    from batches.tracing import in_hand
    from studio.middleware import current_request_id

    batch, item = in_hand()
    found = {
        "request_id": current_request_id(),
        "batch": batch,
        "item": item,
        "worker": f"{socket.gethostname()}:{os.getpid()}",
    }
    event.setdefault("tags", {}).update({name: uid for name, uid in found.items() if uid})
    event.pop("user", None)
    return _without_secrets(event)


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: KEPT
            if isinstance(name, str) and any(word in name.lower() for word in SECRETS)
            else _without_secrets(part)
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [_without_secrets(part) for part in value]
    return hide(value) if isinstance(value, str) else value
