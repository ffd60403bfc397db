"""Mails to people: plain text from templates, links from the site's own address."""

import logging
from smtplib import SMTPException
from typing import Any

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string

log = logging.getLogger(__name__)


def send(template: str, to: str, **context: Any) -> bool:
    """Send ``accounts/mail/<template>.txt``, whose first line is the subject; False if it failed.

    Addresses in mails begin with ``settings.SITE_URL``, never with what a request calls us. A
    mail server that is away must not break the page: people can ask for the mail again.
    """
    context |= {"site_url": settings.SITE_URL.rstrip("/"), "to": to}
    subject, text = render_to_string(f"accounts/mail/{template}.txt", context).split("\n", 1)
    try:
        send_mail(subject.strip(), text.strip() + "\n", settings.DEFAULT_FROM_EMAIL, [to])
    except (SMTPException, OSError):
        log.exception("The mail %r was not sent", template)
        return False
    return True


def is_filed() -> bool:
    """Whether mails end in files on this machine, so that pages can say where to look."""
    return settings.EMAIL_BACKEND.endswith("filebased.EmailBackend")
