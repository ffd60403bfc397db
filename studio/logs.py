"""How log lines look: plain for people, or JSON for machines, both with the same ids.

A line has the ids of its request and of whoever is signed in, or of the batch and item that a
worker had in hand. Nothing else about people gets there: who reads logs need not know who they are.
Secrets and e-mail addresses are struck out of every line, whoever wrote it.
"""

import logging
import os
import socket
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from batches.tracing import in_hand
from studio.hiding import hide
from studio.middleware import current_request

PLAIN = "%(asctime)s %(levelname)s %(name)s [%(trace)s] %(message)s"
IDS = ("request_id", "user", "batch", "item")
ACCESS = "%(m)s %(U)s %(s)s %(B)s bytes %(M)s ms"
"""Of requests, where the level is INFO: no network address, and nothing behind a question mark."""


class IdsFilter(logging.Filter):
    """Gives each line `request_id`, `user`, `batch`, `item`, and `worker`, its process."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add them; nothing is filtered out."""
        # Django logs refusals after the request was let go: then the line alone knows it.
        request = current_request() or getattr(record, "request", None)
        request_id = getattr(request, "request_id", "")
        if record.name == "gunicorn.access" and isinstance(record.args, dict):
            request_id = record.args["{x-request-id}o"]
        batch, item = in_hand()
        vars(record).update(
            request_id=request_id,
            user=_user_of(request),
            batch=batch,
            item=item,
            worker=f"{socket.gethostname()}:{os.getpid()}",
        )
        return True


def _user_of(request: Any) -> str:
    """Who is signed in, by uid, if anybody has asked so far: a log line asks no database."""
    user = vars(request).get("user") if request is not None else None
    return str(getattr(getattr(user, "_wrapped", user), "uid", ""))


class PlainFormatter(logging.Formatter):
    """Lines for people: what there is of the ids stands between brackets."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line without its stack trace."""
        ids = [vars(record).get(name, "") for name in IDS]
        vars(record)["trace"] = "/".join(filter(None, ids)) or "-"
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """The line with its stack trace, and without secrets."""
        return hide(super().format(record))


class SecretiveJsonFormatter(JsonFormatter):
    """Lines for machines, without secrets."""

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """The fields as they are written."""
        return {
            name: hide(value) if isinstance(value, str) else value
            for name, value in log_data.items()
        }


def settings(*, level: str, form: str) -> dict[str, Any]:
    """What ``LOGGING`` is set to; `form` is `plain` or `json`."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"ids": {"()": "studio.logs.IdsFilter"}},
        "formatters": {
            "plain": {"()": "studio.logs.PlainFormatter", "fmt": PLAIN},
            "json": {
                "()": "studio.logs.SecretiveJsonFormatter",
                "fmt": ["asctime", "levelname", "name", "message", *IDS, "worker"],
                "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
                # Requests have addresses, and addresses of links have secrets.
                "reserved_attrs": [*RESERVED_ATTRS, "request", "trace"],
            },
        },
        "handlers": {
            "console": {"class": "logging.StreamHandler", "formatter": form, "filters": ["ids"]}
        },
        # The web server's own lines go the same way.
        "loggers": {
            name: {"handlers": [], "level": level, "propagate": True}
            for name in ("gunicorn.error", "gunicorn.access")
        },
        "root": {"handlers": ["console"], "level": level},
    }
