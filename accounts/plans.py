"""What an account may do. Everybody is on one plan until plans can be bought."""

from dataclasses import dataclass

from accounts.models import User


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The limits of an account: images per batch, and whether the HTTP API is open to it."""

    name: str
    batch_images: int
    api: bool


STANDARD = Plan(name="standard", batch_images=500, api=True)


def plan_for(_user: User) -> Plan:
    """The plan that the user is on."""
    return STANDARD
