"""What workers are asked to do: one line per job. They decide nothing and call the verb.

Arguments are ids, by keyword, and unknown ones are ignored, so that workers of yesterday
survive the jobs of today during a deploy.
"""

from typing import Any

from batches import clock, couriers, imports, pipeline, recurring_runs, webhooks


def fetch_items(*, item_ids: list[int], **_: Any) -> None:
    """Bring the originals of these items in."""
    pipeline.fetch(item_ids)


def run_item(*, item_id: int, **_: Any) -> None:
    """Run the batch's tool on one item."""
    pipeline.run(item_id)


def send_webhooks(**_: Any) -> None:
    """Send the messages that are due."""
    webhooks.send_due(now=clock.now())


def import_rows(*, batch_id: int, **_: Any) -> None:
    """Make items of the next rows of the batch's sheet."""
    imports.run(batch_id)


def deliver(*, delivery_id: int, **_: Any) -> None:
    """Take some results of a delivery to where they go."""
    couriers.send(delivery_id)


def run_recurring(*, run_id: int, **_: Any) -> None:
    """Look what is new at a schedule's source, and make a batch of it."""
    recurring_runs.run(run_id)
