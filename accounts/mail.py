"""Mails to people: one text from a template, sent as plain text and as HTML.

The HTML is made of the text: its paragraphs, and a line that is nothing but an address as a button.
So both parts always say the same, and a new mail is one template.
"""

import logging
import re
from collections.abc import Mapping
from smtplib import SMTPException
from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

log = logging.getLogger(__name__)

ADDRESS = re.compile(r"https?://\S+")


def send(
    template: str, to: str, *, headers: Mapping[str, str] | None = None, **context: Any
) -> bool:
    """Send ``<template>.txt``, whose first line is the subject; False if it failed.

    A bare name is a template of accounts: ``confirm`` is ``accounts/mail/confirm.txt``. Addresses
    in mails begin with ``settings.SITE_URL``, never with what a request calls us. A mail server
    that is away must not break the page: people can ask for the mail again.
    """
    context |= {"site_url": settings.SITE_URL.rstrip("/"), "to": to}
    name = template if "/" in template else f"accounts/mail/{template}"
    subject, text = render_to_string(f"{name}.txt", context).split("\n", 1)
    subject, text = " ".join(subject.split()), text.strip() + "\n"
    mail = EmailMultiAlternatives(
        subject, text, settings.DEFAULT_FROM_EMAIL, [to], headers=dict(headers or {})
    )
    mail.attach_alternative(_html(subject, text, context), "text/html")
    try:
        mail.send()
    except (SMTPException, OSError):
        log.exception("The mail %r was not sent", template)
        return False
    return True


def is_filed() -> bool:
    """Whether mails end in files on this machine, so that pages can say where to look."""
    return settings.EMAIL_BACKEND.endswith("filebased.EmailBackend")


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
    return render_to_string(
        "accounts/mail/base.html",
        {"subject": subject, "blocks": blocks, "site_url": context["site_url"]},
    )
