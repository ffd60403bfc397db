"""How log lines look: plain for people, or JSON for machines, both with the same ids.

A line has the id of its request, or of the batch and item that a worker had in hand. Nothing else
about people gets there: who reads logs need not know who they are.
"""

import logging
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS

from batches.tracing import in_hand
from studio.middleware import current_request_id

PLAIN = "%(asctime)s %(levelname)s %(name)s [%(trace)s] %(message)s"
IDS = ("request_id", "batch", "item")


class IdsFilter(logging.Filter):
    """Gives each line `request_id`, `batch` and `item`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add them; nothing is filtered out."""
        # Django logs refusals after the request was let go: then the request alone knows its id.
        of_request = getattr(getattr(record, "request", None), "request_id", "")
        request_id = current_request_id() or of_request
        batch, item = in_hand()
        vars(record).update(request_id=request_id, batch=batch, item=item)
        return True


class PlainFormatter(logging.Formatter):
    """Lines for people: what there is of the ids stands between brackets."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line without its stack trace."""
        ids = [vars(record).get(name, "") for name in IDS]
        vars(record)["trace"] = "/".join(filter(None, ids)) or "-"
        return super().formatMessage(record)


def settings(*, level: str, form: str) -> dict[str, Any]:
    """What ``LOGGING`` is set to; `form` is `plain` or `json`."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"ids": {"()": "studio.logs.IdsFilter"}},
        "formatters": {
            "plain": {"()": "studio.logs.PlainFormatter", "fmt": PLAIN},
            "json": {
                "()": "pythonjsonlogger.json.JsonFormatter",
                "fmt": ["asctime", "levelname", "name", "message", *IDS],
                "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
                # Requests have addresses, and addresses of links have secrets.
                "reserved_attrs": [*RESERVED_ATTRS, "request", "trace"],
            },
        },
        "handlers": {
            "console": {"class": "logging.StreamHandler", "formatter": form, "filters": ["ids"]}
        },
        "root": {"handlers": ["console"], "level": level},
    }
