"""What an account may do: its plan, with what staff has set for this one account.

Every request asks, so each process remembers the plans for ten seconds; what staff changes counts
everywhere after that time, without a deploy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from django.conf import settings

from accounts import models
from accounts.models import User
from accounts.remembered import Remembered


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


@dataclass(frozen=True)
class Known:
    """All plans by their row's id, and the default's id where staff has named one."""

    plans: Mapping[int, Plan] = field(default_factory=dict)
    default: int | None = None


def plan_for(user: User) -> Plan:
    """The plan that the user is on, with what staff has set for this one account."""
    known = remembered.get()
    plan = known.plans.get(id_of(user) or 0, STANDARD)
    if user.batch_images is None:
        return plan
    return replace(plan, batch_images=user.batch_images)


def id_of(user: User | None) -> int | None:
    """The row of the user's plan, the default's for strangers; nothing where there is none."""
    return (user.plan_id if user is not None else None) or remembered.get().default


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


def _read() -> Known:
    rows = list(models.Plan.objects.all())
    default = next((row.pk for row in rows if row.is_default), None)
    return Known({row.pk: of_row(row) for row in rows}, default)


remembered: Remembered[Known] = Remembered(_read, models.Plan)


def _or(figure: int | None, otherwise: int) -> int:
    return otherwise if figure is None else figure
