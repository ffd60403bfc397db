"""The start page and the gallery of tools."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.http import require_GET

from accounts.models import User
from batches import pricing
from batches.views.asking import tool_or_404, whoever
from tools import abilities, examples, registry
from tools.base import SettingsInvalid, Tool

WORTH_SEARCHING = 9
"""From so many tools on there is a search box."""


@dataclass(frozen=True)
class Card:
    """A tool in the gallery."""

    tool: Tool
    price: int
    """The lowest that an image costs."""
    varies: bool
    """Whether other settings cost more."""
    unavailable: str | None
    before: str
    """Names of its pictures among the static files; empty for a tool without an example."""
    after: str
    said: str
    """What it says of its picture, for a tool that makes words."""

    def answers(self, wanted: str) -> bool:
        """Whether every word is in its name or description."""
        text = f"{self.tool.name} {self.tool.description}".casefold()
        return all(word in text for word in wanted.casefold().split())


@require_GET
def home(request: HttpRequest) -> HttpResponseBase:
    """What this is, for strangers; the tools for everybody else."""
    if request.user.is_authenticated:
        return redirect("batches:gallery")
    cards = _cards(whoever(request))
    context = {
        "cards": cards,
        "example": next((card for card in cards if card.before), None),
    }
    return TemplateResponse(request, "studio/home.html", context)


@require_GET
def gallery(request: HttpRequest) -> TemplateResponse:
    """All tools, with what each does to a picture; `?q=` narrows them."""
    cards = _cards(whoever(request))
    wanted = request.GET.get("q", "").strip()
    context = {
        "here": "tools",
        "q": wanted,
        "cards": [card for card in cards if card.answers(wanted)],
        "searchable": len(cards) >= WORTH_SEARCHING or wanted,
    }
    return TemplateResponse(request, "batches/gallery.html", context)


@require_GET
def notice(request: HttpRequest, slug: str) -> TemplateResponse:
    """What people should know before they start with the settings that the address holds."""
    tool = tool_or_404(request, slug)
    try:
        settings = tool.clean(request.GET)
    except SettingsInvalid:
        said = None  # it says so itself when it is sent
    else:
        said = abilities.unavailable_reason(tool, settings) or tool.notice(settings)
    context = {"tool": tool, "notice": said, "answered": True}
    return TemplateResponse(request, "batches/_notice.html", context)


def _cards(owner: User | None) -> Sequence[Card]:
    """Tools that work come first; the others say why they don't."""
    cards = [card_of(pricing.offered(tool, owner)) for tool in registry.all()]
    return sorted(cards, key=lambda card: (card.unavailable is not None, str(card.tool.name)))


def card_of(tool: Tool) -> Card:
    """The tool as the gallery shows it."""
    pictures = f"img/tools/{tool.slug}-" if tool.example else ""
    said = examples.said(tool) if tool.example else ""
    return Card(
        tool=tool,
        price=tool.lowest_price(),
        varies=bool(tool.price_rules()),
        unavailable=abilities.unavailable_reason(tool),
        before=pictures and f"{pictures}before.webp",
        after="" if said else pictures and f"{pictures}after.webp",
        said=said,
    )
