"""Why a running batch stands still, in words: nobody is there who could run what waits in it."""

from django.utils.translation import gettext as _

from batches import dispatch
from batches.models import Batch, Item
from batches.progress import Progress
from batches.states import BatchState, ItemState
from tools import abilities, registry
from tools.base import Tool


def reason(batch: Batch, counts: Progress, *, rows: bool = False) -> str:
    """What its owner reads; empty while something moves, and where nobody knows.

    Goes by the batch's own settings; with `rows` also by those that single images have, for which
    it asks the database where some worker is missing.
    """
    if not (lacking := _lacking(batch, counts, rows=rows)):
        return ""
    return _(
        "No worker that can run {what} is connected. Images that need it wait, and run by "
        "themselves as soon as there is one. Nothing is charged until then; you can cancel."
    ).format(what=_words(lacking))


def what_to_do(batch: Batch, counts: Progress) -> str:
    """The same for staff, with what helps."""
    if not (lacking := _lacking(batch, counts, rows=True)):
        return ""
    return _(
        "No worker that can run {what} is connected. Start one (manage.py worker {queue}) on a "
        "host that has its weights (manage.py fetchweights); the workers' table on the dashboard "
        "says what is there."
    ).format(what=_words(lacking), queue=dispatch.queue_for(batch.tool))


def nowhere(tool_slug: str) -> list[str]:
    """The abilities of a tool that no worker has who is there; none where nobody knows."""
    there = dispatch.engine_workers()
    if there is None:
        return []
    try:
        dispatch.queue_for(tool_slug)
    except (registry.UnknownTool, dispatch.NoEngine):
        return []
    return [
        ability
        for ability in abilities.all_of(registry.get(tool_slug))
        if not any(worker.can_run(ability) for worker in there)
    ]


def is_stalled(item: Item) -> bool:
    """Whether one image waits for a worker that is not there."""
    if item.state != ItemState.FETCHED or not (lacking := nowhere(item.batch.tool)):
        return False
    return abilities.needed(registry.get(item.batch.tool), item.settings) in lacking


def _lacking(batch: Batch, counts: Progress, *, rows: bool) -> list[tuple[Tool, str]]:
    """The tool, and the models that items wait for and nobody can run."""
    if batch.state != BatchState.RUNNING or not counts.waiting or counts.processing:
        return []
    if not (lacking := nowhere(batch.tool)):
        return []
    tool = registry.get(batch.tool)
    needed = {abilities.needed(tool, batch.settings)}
    if rows and not needed.intersection(lacking):
        waiting = batch.items.filter(state=ItemState.FETCHED).order_by()
        models = waiting.values_list("settings__model", flat=True).distinct()
        needed = {abilities.needed(tool, {"model": model}) for model in models}
    return [(tool, ability.partition(":")[2]) for ability in lacking if ability in needed]


def _words(lacking: list[tuple[Tool, str]]) -> str:
    """“Upscale (SPAN, fast and faithful)”; several with commas between them."""
    words = []
    for tool, model in lacking:
        field = tool.Settings().fields.get("model")
        label = getattr(field, "choices", {}).get(model, "")
        words.append(f"{tool.name} ({label})" if label else str(tool.name))
    return ", ".join(words)
