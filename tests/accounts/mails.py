"""Links in mails that were sent."""

import re

from django.core import mail


def link(number: int = -1) -> str:
    """The path of the first link in a mail, by default the last one."""
    return re.search(r"https?://[^/\s]+(/\S+)", mail.outbox[number].body)[1]
