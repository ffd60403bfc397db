"""A tool's page as it is shown: empty, as it was left, or with what is in the way."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.http import HttpRequest, QueryDict
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.fields import empty

from accounts import plans
from batches import drafts, pricing
from batches.forms import NewBatchForm
from batches.models import Batch, Original
from batches.patterns import PLACEHOLDERS
from batches.refusals import Refusal
from batches.views import connecting, delivering, drafting, sheeting
from batches.views.asking import user_of, whoever
from batches.views.gallery import card_of
from credits import ledger
from tools import abilities
from tools.base import SettingsInvalid, Tool, ToolSettings

LEFT = ("urls", "batch_name", "name_pattern", "folders", "deliver_to", "deliver_folder")
"""Fields of the form that come back as they were typed, beside the tool's settings."""
SAMPLE = 3
"""Images of "run a few first"."""


class TooMany(Exception):
    """More images than one batch takes: somebody has to say which."""

    def __init__(self, count: int, limit: int) -> None:
        super().__init__(f"{count} images, {limit} at once")
        self.count = count
        self.limit = limit

    @property
    def rest(self) -> int:
        """How many stay on the page when the first `limit` are started."""
        return self.count - self.limit

    @property
    def question(self) -> str:
        """What is the matter, for people."""
        return _("You have {count} images; one batch takes {limit}.").format(
            count=self.count, limit=self.limit
        )


def as_left(
    request: HttpRequest, tool: Tool, *, error: str = "", status: int = 200
) -> TemplateResponse:
    """The page with what was put on it before, and with what is wrong with a request."""
    found = drafting.contents(request, tool)
    text = {name: "\n".join(found.fields.get(name, ())) for name in LEFT}
    form = NewBatchForm(text) if error else NewBatchForm(initial=text)
    if error:
        form.add_error(None, error)
    return _render(
        request,
        tool,
        form,
        originals=found.originals,
        refused=found.refused,
        settings_form=_taken_over(request, tool) or _typed_settings(request, tool, found.fields),
        panel=sheeting.panel(request, tool, found.fields),
        connected=connecting.panel(request, found.fields.get("connected", ())),
        status=status,
    )


def with_problems(
    request: HttpRequest,
    tool: Tool,
    form: NewBatchForm,
    *,
    status: int,
    invalid: SettingsInvalid | None = None,
    short: ledger.InsufficientCredits | None = None,
    over: TooMany | None = None,
) -> TemplateResponse:
    """The page with the form that somebody sent, and what is in the way. Nothing of it is lost."""
    owner = user_of(request)
    uploads: Sequence[str] = form.cleaned_data.get("uploads", [])
    refused: Sequence[Refusal] = form.cleaned_data.get("refused", [])
    found = Original.objects.visible_to(owner).in_bulk(uploads, field_name="uid")
    originals = [found[uid] for uid in map(UUID, uploads) if uid in found]
    drafting.remember(request, tool)
    drafts.add(owner, tool.slug, originals)
    return _render(
        request,
        tool,
        form,
        originals=originals,
        refused=refused,
        settings_form=_sent_settings(request, tool, invalid),
        panel=sheeting.panel(request, tool, request.POST, at_once=True),
        connected=connecting.panel(request, request.POST.getlist("connected")),
        status=status,
        short=short,
        fitting=_fitting(tool, request, short) if short else 0,
        over=over,
    )


def limit_of(request: HttpRequest) -> int:
    """How many images one batch takes."""
    if request.user.is_authenticated:
        return plans.plan_for(user_of(request)).batch_images
    return plans.STANDARD.batch_images


def _render(
    request: HttpRequest,
    tool: Tool,
    form: NewBatchForm,
    *,
    originals: Sequence[Original],
    refused: Sequence[Refusal],
    settings_form: ToolSettings | Mapping[str, Any],
    panel: sheeting.Panel,
    connected: connecting.Panel | None,
    status: int = 200,
    **problems: Any,
) -> TemplateResponse:
    price = tool.max_price(tool.defaults())
    context = {
        "here": "tools",
        "tool": tool,
        "form": form,
        "form_uid": uuid4(),
        "originals": originals,
        "refused": refused,
        "settings_form": settings_form,
        "panel": panel,
        "connected": connected,
        "card": card_of(tool),
        "price": price,
        "price_from": min([price, *(rule["credits"] for rule in tool.price_rules())]),
        "price_rules": json.dumps(tool.price_rules()),
        "shown_percent": pricing.percent_of(tool),
        "unavailable": abilities.unavailable_reason(tool),
        "off": pricing.off(whoever(request), tool.slug),
        "limit": limit_of(request),
        "max_bytes": settings.IMAGE_MAX_BYTES,
        "max_megabytes": settings.IMAGE_MAX_BYTES // 2**20,
        "sample": SAMPLE,
        "placeholders": PLACEHOLDERS,
        **problems,
    }
    if request.user.is_authenticated:
        context |= delivering.places(user_of(request))
    response = TemplateResponse(request, "batches/new.html", context, status=status)
    # Going back shows what is here now, not a form whose images have been started.
    response["Cache-Control"] = "no-store, private"
    return response


def _fitting(tool: Tool, request: HttpRequest, short: ledger.InsufficientCredits) -> int:
    """How many images the credits that are there would do."""
    price = tool.max_price(tool.clean(request.POST))
    return short.available // price if price else 0


def _taken_over(request: HttpRequest, tool: Tool) -> dict[str, Any]:
    """The settings of an own batch that the address names, `?from=<uid>`: those and no others."""
    try:
        uid = UUID(request.GET.get("from", ""))
    except ValueError:
        return {}
    if not request.user.is_authenticated:
        return {}
    own = Batch.objects.visible_to(user_of(request)).filter(uid=uid, tool=tool.slug).first()
    return dict(own.settings) if own else {}


def _typed_settings(
    request: HttpRequest, tool: Tool, fields: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Settings as they were typed, sense or none; before that, what the person prefers."""
    declared = tool.Settings().fields
    if not any(name in fields for name in declared):
        return _preferred(request, declared)
    form = QueryDict(mutable=True)
    for name, values in fields.items():
        form.setlist(name, list(values))
    values_ = {name: field.get_value(form) for name, field in declared.items()}
    return {name: value for name, value in values_.items() if value is not empty}


def _preferred(
    request: HttpRequest, declared: Mapping[str, serializers.Field[Any, Any, Any, Any]]
) -> dict[str, Any]:
    field = declared.get("format")
    if not request.user.is_authenticated or not isinstance(field, serializers.ChoiceField):
        return {}
    kind = user_of(request).default_format
    return {"format": kind} if kind in field.choices else {}


def _sent_settings(
    request: HttpRequest, tool: Tool, invalid: SettingsInvalid | None
) -> ToolSettings:
    """The tool's settings as they were sent."""
    if invalid:
        return invalid.bound
    try:
        bound = tool.Settings(data=tool.clean(request.POST))
    except SettingsInvalid as wrong:
        return wrong.bound
    bound.is_valid()
    return bound
