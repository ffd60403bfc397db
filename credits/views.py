"""Pages about credits: the balance, where it went, and all of it as a file."""

import csv
from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from accounts.limits import Limit, network_of
from accounts.models import User
from accounts.views.asking import user_of
from credits import ledger, promos, references, statement
from credits.forms import PromoForm

TRIES_BY_PERSON = Limit(what="promo-person", most=10)
TRIES_BY_NETWORK = Limit(what="promo-network", most=60)


@login_required
@require_GET
def show(request: HttpRequest) -> HttpResponseBase:
    """The balance, the last days, and the statement; or each entry of one piece of work."""
    user, page = user_of(request), request.GET.get("page")
    if reference := request.GET.get("of", "").replace("\0", ""):
        found = statement.entries_of(user, reference, page=page)
        entries = [(entry, statement.kind_of(entry)) for entry in found.object_list]
        named = references.named(user, [reference]).get(reference)
        context: dict[str, Any] = {"section": "credits", "page": found, "entries": entries}
        context |= {"of": named, "reference": reference}
        return TemplateResponse(request, "credits/entries.html", context)
    return TemplateResponse(request, "credits/statement.html", _overview(user, page, PromoForm()))


@login_required
@require_POST
def redeem(request: HttpRequest) -> HttpResponseBase:
    """Take a promo code; what is wrong with it is said beside the field."""
    user, form = user_of(request), PromoForm(request.POST)
    if form.is_valid():
        tries = [(TRIES_BY_NETWORK, network_of(request)), (TRIES_BY_PERSON, str(user.pk))]
        for limit, who in tries:
            limit.take(who)
        try:
            given = promos.redeem(user, form.cleaned_data["code"]).available_delta
        except promos.Refused as refused:
            form.add_error("code", refused.detail)
        else:
            for limit, who in tries:
                limit.give_back(who)
            text = ngettext("{n} credit was added.", "{n} credits were added.", given)
            messages.success(request, text.format(n=given))
            return redirect("credits:statement")
    context = _overview(user, None, form)
    return TemplateResponse(request, "credits/statement.html", context, status=422)


def _overview(user: User, page: str | None, form: PromoForm) -> dict[str, Any]:
    """What the page of a user's credits shows."""
    found, lines = statement.lines(user, page=page)
    days = statement.days(user, today=timezone.localdate())
    return {
        "section": "credits",
        "form": form,
        "balance": ledger.balance(user),
        "page": found,
        "lines": lines,
        "days": days,
        "used": sum(day.used for day in days),
        "most": max(day.used for day in days),
    }


@login_required
@require_GET
def as_csv(request: HttpRequest) -> HttpResponseBase:
    """Every entry as CSV, sent while it is read: a long history needs no memory."""
    answer = StreamingHttpResponse(
        _csv(statement.csv_rows(user_of(request))), content_type="text/csv; charset=utf-8"
    )
    name = f"credits-{timezone.localdate():%Y-%m-%d}.csv"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


class _Echo:
    """A file that hands back what is written into it."""

    def write(self, text: str) -> str:
        return text


def _csv(rows: Iterator[tuple[object, ...]]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    for row in rows:
        yield writer.writerow(row)
