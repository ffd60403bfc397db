"""Budgets that every process of the site shares: how often others let us ask."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from batches.models import TokenBucket


def take(name: str, *, size: int, per_minute: float, now: datetime | None = None) -> float:
    """Take one call out of a budget; 0, or how many seconds it is until there is one to take.

    At most `size + per_minute` calls go out in any minute: `size` at once, the others as time
    passes. Nothing is taken where it must be waited. Call it outside of transactions: it holds a
    row that everybody wants.
    """
    now = now or timezone.now()
    with transaction.atomic():
        TokenBucket.objects.get_or_create(name=name, defaults={"tokens": size, "filled_at": now})
        bucket = TokenBucket.objects.select_for_update().get(name=name)
        # Two hosts' clocks differ a little: time that seems to run back fills nothing.
        passed = max((now - bucket.filled_at).total_seconds(), 0.0)
        tokens = min(size, bucket.tokens + passed * per_minute / 60)
        if tokens < 1:
            return (1 - tokens) * 60 / per_minute
        bucket.tokens, bucket.filled_at = tokens - 1, max(now, bucket.filled_at)
        bucket.save(update_fields=["tokens", "filled_at"])
    return 0.0
