"""Pages about credits: the balance, where it went, and all of it as a file."""

import csv
from collections.abc import Iterator
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from accounts.views.asking import user_of
from credits import ledger, references, statement


@login_required
@require_GET
def show(request: HttpRequest) -> HttpResponseBase:
    """The balance, the last days, and the statement; or each entry of one piece of work."""
    user, page = user_of(request), request.GET.get("page")
    context: dict[str, Any] = {"section": "credits"}
    if reference := request.GET.get("of", "").replace("\0", ""):
        found = statement.entries_of(user, reference, page=page)
        entries = [(entry, statement.kind_of(entry)) for entry in found.object_list]
        named = references.named(user, [reference]).get(reference)
        context |= {"page": found, "entries": entries, "of": named, "reference": reference}
        return TemplateResponse(request, "credits/entries.html", context)
    found, lines = statement.lines(user, page=page)
    days = statement.days(user, today=timezone.localdate())
    context |= {
        "balance": ledger.balance(user),
        "page": found,
        "lines": lines,
        "days": days,
        "used": sum(day.used for day in days),
        "most": max(day.used for day in days),
    }
    return TemplateResponse(request, "credits/statement.html", context)


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
