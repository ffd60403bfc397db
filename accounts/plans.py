"""What an account may do: its plan, with what staff has set for this one account.

Every request asks, so a process remembers the plans for `REMEMBERED_SECONDS`; what staff changes
counts in its own process at once and everywhere after that time, without a deploy.
"""

import time
from dataclasses import dataclass, field, replace

from django.conf import settings
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from accounts import models
from accounts.models import User

REMEMBERED_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The limits of an account: images per batch, bytes kept in the library, the HTTP API.

    Requests are counted by the hour, for each API key apart. `concurrent_batches` is how many
    batches of one person run at once, or nothing for any number.
    """

    name: str
    batch_images: int
    library_bytes: int
    api: bool
    api_reads_per_hour: int
    api_writes_per_hour: int
    concurrent_batches: int | None = None
    monthly_credits: int = 0
    rollover_credits: int = 0


STANDARD = Plan(
    name="standard",
    batch_images=500,
    library_bytes=10 * 1024**3,
    api=True,
    api_reads_per_hour=settings.API_READS_PER_HOUR,
    api_writes_per_hour=settings.API_WRITES_PER_HOUR,
)
"""What counts where staff has named no default plan, and, for each network, for strangers."""


@dataclass
class _Memory:
    """All plans by their row's id, and the default under None."""

    plans: dict[int | None, Plan] = field(default_factory=dict)
    until: float = 0.0


_memory = _Memory()


def plan_for(user: User) -> Plan:
    """The plan that the user is on, with what staff has set for this one account."""
    plans = _remembered()
    plan = plans.get(user.plan_id) or plans.get(None) or STANDARD
    if user.batch_images is None:
        return plan
    return replace(plan, batch_images=user.batch_images)


def forget(**_signal: object) -> None:
    """Read the plans anew when somebody asks next."""
    _memory.until = 0.0


def of_row(row: models.Plan) -> Plan:
    """A row of the database as the limits that it sets."""
    return Plan(
        name=row.slug,
        batch_images=row.batch_images,
        library_bytes=row.library_bytes,
        api=row.api,
        api_reads_per_hour=_or(row.api_reads_per_hour, settings.API_READS_PER_HOUR),
        api_writes_per_hour=_or(row.api_writes_per_hour, settings.API_WRITES_PER_HOUR),
        concurrent_batches=row.concurrent_batches,
        monthly_credits=row.monthly_credits,
        rollover_credits=row.rollover_credits,
    )


def _remembered() -> dict[int | None, Plan]:
    now = time.monotonic()
    if now >= _memory.until:
        rows = list(models.Plan.objects.all())
        _memory.plans = {row.pk: of_row(row) for row in rows}
        if default := next((row for row in rows if row.is_default), None):
            _memory.plans[None] = _memory.plans[default.pk]
        _memory.until = now + REMEMBERED_SECONDS
    return _memory.plans


def _or(figure: int | None, otherwise: int) -> int:
    return otherwise if figure is None else figure


receiver([post_save, post_delete], sender=models.Plan)(forget)
