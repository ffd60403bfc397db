"""Mails to people: one text from a template, sent as plain text and as HTML.

The HTML is made of the text: its paragraphs, and a line that is nothing but an address as a button.
So both parts always say the same, and a new mail is one template. A paragraph of prose is one line
there, however long: the plain text is wrapped here, the HTML by who shows it.
"""

import logging
import re
import textwrap
from collections.abc import Mapping
from enum import Enum
from smtplib import (
    SMTPDataError,
    SMTPException,
    SMTPNotSupportedError,
    SMTPRecipientsRefused,
)
from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

log = logging.getLogger(__name__)

ADDRESS = re.compile(r"https?://\S+")
WIDTH = 76
"""Characters in a line of plain text; addresses may be longer."""
PREVIEW_FROM = 20
"""A line so long says enough to be shown beside the subject in a list of mails."""


class Outcome(Enum):
    """What became of a mail. Only what was handed over counts as true."""

    SENT = "sent"
    REFUSED = "refused"
    """The server won't take it, for good: there is no such mailbox, as a rule."""
    LATER = "later"
    """The server will perhaps take it later; others may do better now."""
    AWAY = "away"
    """The server doesn't answer, or takes nothing from us at all."""

    def __bool__(self) -> bool:
        return self is Outcome.SENT


def send(
    template: str, to: str, *, headers: Mapping[str, str] | None = None, **context: Any
) -> Outcome:
    """Send ``<template>.txt``, whose first line is the subject, and say what became of it.

    A bare name is a template of accounts: ``confirm`` is ``accounts/mail/confirm.txt``. Addresses
    in mails begin with ``settings.SITE_URL``, never with what a request calls us. Texts in the
    context come from people: each becomes one line. A mail server that is away must not break the
    page: people can ask for the mail again, and what runs by the clock tries again.
    """
    context = {name: _one_line(value) for name, value in context.items()}
    context |= {"site_url": settings.SITE_URL.rstrip("/"), "to": to}
    context["is_answered"] = bool(settings.MAIL_REPLY_TO)
    name = template if "/" in template else f"accounts/mail/{template}"
    subject, text = render_to_string(f"{name}.txt", context).split("\n", 1)
    subject, text = _one_line(subject), text.strip() + "\n"
    mail = EmailMultiAlternatives(
        subject,
        _wrapped(text),
        settings.DEFAULT_FROM_EMAIL,
        [to],
        reply_to=[settings.MAIL_REPLY_TO] if settings.MAIL_REPLY_TO else None,
        headers={"Auto-Submitted": "auto-generated", **(headers or {})},
    )
    mail.attach_alternative(_html(subject, text, context), "text/html")
    try:
        mail.send()
    except (SMTPException, OSError) as error:
        outcome = _outcome_of(error)
        why = type(error).__name__  # no more of it: refusals name the person's address
        log.error("The mail %r was not sent: %s (%s)", template, why, outcome.value)  # noqa: TRY400
        return outcome
    return Outcome.SENT


def is_filed() -> bool:
    """Whether mails end in files on this machine, so that pages can say where to look."""
    return settings.EMAIL_BACKEND.endswith("filebased.EmailBackend")


def _outcome_of(error: Exception) -> Outcome:
    """Whether another try makes sense, and whether it does for other mails."""
    if isinstance(error, SMTPRecipientsRefused):
        codes = [code for code, _said in error.recipients.values()]
        return Outcome.REFUSED if all(code >= 500 for code in codes) else Outcome.LATER
    if isinstance(error, SMTPDataError):
        return Outcome.REFUSED if error.smtp_code >= 500 else Outcome.LATER
    if isinstance(error, SMTPNotSupportedError):  # an address that this server can't even write
        return Outcome.REFUSED
    return Outcome.AWAY


def _one_line(value: Any) -> Any:
    """A text without line breaks, which would end the subject; anything else as it is."""
    return " ".join(value.split()) if isinstance(value, str) else value


def _wrapped(text: str) -> str:
    lines = (
        textwrap.fill(line, WIDTH, break_long_words=False, break_on_hyphens=False)
        for line in text.splitlines()
    )
    return "\n".join(lines) + "\n"


def _html(subject: str, text: str, context: Mapping[str, Any]) -> str:
    """The same words in mark-up that mail programs understand."""
    blocks: list[dict[str, Any]] = []
    for paragraph in text.strip().split("\n\n"):
        words: list[str] = []
        for line in paragraph.splitlines():
            if ADDRESS.fullmatch(line.strip()):
                blocks += [{"lines": words}] if words else []
                quiet = line.strip() == context.get("unsubscribe")
                blocks.append({"address": line.strip(), "quiet": quiet})
                words = []
            else:
                words.append(line)
        blocks += [{"lines": words}] if words else []
    lines = [line for block in blocks for line in block.get("lines", ())]
    return render_to_string(
        "accounts/mail/base.html",
        {
            "subject": subject,
            "preview": next((line for line in lines if len(line) > PREVIEW_FROM), ""),
            "blocks": blocks,
            "site_url": context["site_url"],
            "is_answered": context["is_answered"],
        },
    )
