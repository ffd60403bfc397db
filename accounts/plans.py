"""What an account may do. Everybody is on one plan until plans can be bought."""

from dataclasses import dataclass, replace

from django.conf import settings

from accounts.models import User


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The limits of an account: images per batch, bytes kept in the library, the HTTP API.

    Requests are counted by the hour, for each API key apart.
    """

    name: str
    batch_images: int
    library_bytes: int
    api: bool
    api_reads_per_hour: int
    api_writes_per_hour: int


STANDARD = Plan(
    name="standard",
    batch_images=500,
    library_bytes=10 * 1024**3,
    api=True,
    api_reads_per_hour=settings.API_READS_PER_HOUR,
    api_writes_per_hour=settings.API_WRITES_PER_HOUR,
)
"""Strangers have its figures too, for each network."""


def plan_for(user: User) -> Plan:
    """The plan that the user is on, with what staff has set for this one account."""
    if user.batch_images is None:
        return STANDARD
    return replace(STANDARD, batch_images=user.batch_images)
