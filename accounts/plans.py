"""What an account may do. Everybody is on one plan until plans can be bought."""

from dataclasses import dataclass, replace

from accounts.models import User


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The limits of an account: images per batch, bytes kept in the library, the HTTP API."""

    name: str
    batch_images: int
    library_bytes: int
    api: bool


STANDARD = Plan(name="standard", batch_images=500, library_bytes=10 * 1024**3, api=True)


def plan_for(user: User) -> Plan:
    """The plan that the user is on, with what staff has set for this one account."""
    if user.batch_images is None:
        return STANDARD
    return replace(STANDARD, batch_images=user.batch_images)
