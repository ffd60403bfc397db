"""What a tool costs somebody, and whether it is on for them, as staff has set it.

A rule for a person's plan counts before a rule for all plans; without any, a tool is on at its own
price. What an image costs is that share of what the tool itself asks for it, in whole credits,
rounded up once.

What a batch costs is settled when it is made (`Batch.price_percent`): a rule that changes later
moves neither what is on hold nor what is captured, nor what a retry costs. Whether a tool is on is
asked whenever something begins; batches that run go on.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.utils.translation import gettext as _

from accounts import plans
from accounts.models import User
from accounts.remembered import Remembered
from batches.models import Batch, ToolRule
from tools import registry
from tools.base import Tool


@dataclass(frozen=True)
class Terms:
    """On which terms somebody has a tool; `note` is why it is off, in staff's words."""

    is_on: bool = True
    percent: int = 100
    note: str = ""


USUAL = Terms()

Rules = Mapping[tuple[str, int | None], Terms]
"""By tool and plan; None stands for all plans."""


def _read() -> Rules:
    return {
        (rule.tool, rule.plan_id): Terms(rule.is_on, rule.percent, rule.note)
        for rule in ToolRule.objects.all()
    }


rules: Remembered[Rules] = Remembered(_read, ToolRule)


def terms(owner: User | None, slug: str) -> Terms:
    """The owner's terms for a tool; a stranger's are those of the default plan."""
    found = rules.get()
    if not found:
        return USUAL
    plan = plans.id_of(owner)
    return found.get((slug, plan)) or found.get((slug, None)) or USUAL


def offered(tool: Tool, owner: User | None) -> Tool:
    """The tool at the owner's price; it says that it can't be used where it is off.

    A tool that was offered to somebody before is judged anew: no share of a share is taken.
    Raises `registry.UnknownTool`.
    """
    own = registry.get(tool.slug)
    theirs = terms(owner, tool.slug)
    return own if theirs == USUAL else _on(own, theirs)


def of_batch(batch: Batch) -> Tool:
    """The batch's tool at the batch's price. Raises `registry.UnknownTool`."""
    tool = registry.get(batch.tool)
    return tool if batch.price_percent == 100 else _on(tool, Terms(percent=batch.price_percent))


def percent_of(tool: Tool) -> int:
    """The share of its own price that a tool costs as it was offered."""
    return int(vars(tool).get("percent", 100))


def off(owner: User | None, slug: str) -> str:
    """Why a tool is off for its owner, for people; empty where it is on."""
    theirs = terms(owner, slug)
    return "" if theirs.is_on else why_off(theirs)


def why_off(theirs: Terms) -> str:
    """Why nothing can be begun on these terms, for people."""
    return theirs.note or _("It is switched off on this site for now.")


def charged(price: int, percent: int) -> int:
    """So many per cent of a price, in whole credits, rounded up."""
    return -(-price * percent // 100)


@lru_cache(maxsize=256)
def _on(tool: Tool, theirs: Terms) -> Tool:
    """The same tool at other prices. Tools keep no state, so that a shallow copy is one.

    All that names a price is asked of the tool itself, which knows what it goes by: prices are
    not made of other prices here.
    """
    other = copy.copy(tool)
    percent = theirs.percent

    def price_for(settings: Mapping[str, Any], **size: int | None) -> int:
        return charged(tool.price_for(settings, **size), percent)

    def price_rules() -> list[dict[str, Any]]:
        usual = price_for(tool.defaults())
        rules = [
            {**rule, "credits": charged(rule["credits"], percent)} for rule in tool.price_rules()
        ]
        return [rule for rule in rules if rule["credits"] != usual]

    vars(other).update(
        percent=percent,
        price_for=price_for,
        max_price=lambda settings: charged(tool.max_price(settings), percent),
        lowest_price=lambda: charged(tool.lowest_price(), percent),
        price_rules=price_rules,
    )
    if not theirs.is_on:
        vars(other)["unavailable_reason"] = lambda _settings=None: why_off(theirs)
    return other
