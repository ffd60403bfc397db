"""What the admin's lists share, above all those of tables that grow for ever."""

from datetime import datetime, time, timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import BadRequest
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_time
from django.utils.functional import cached_property
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import RangeDateTimeFilter

from accounts.trail import SECRETS

COUNTED = 10_000
"""How far a list is counted, and how many of its rows can be leafed through."""


class DiscreetAdmin(ModelAdmin):
    """Pages whose lists can't be asked about secrets, and count nothing without a bound.

    Django lets the address of a list compare any column, also of a row that it belongs to: asked
    letter by letter, `?owner__password__startswith=` would tell a column that no page shows.
    """

    show_facets = admin.ShowFacets.NEVER  # a count for each choice, however large the table

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """No, for columns that are named like a secret."""
        if any(word in lookup for word in SECRETS):
            return False
        return bool(super().lookup_allowed(lookup, value, request))

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """The list; what no column can hold is a bad question and no fault of ours."""
        if any("\0" in value for value in request.GET.values()):
            raise BadRequest("A list was asked about a null character.")
        return super().changelist_view(request, *args, **kwargs)


class CappedPaginator(Paginator):
    """Pages of which no look counts more than `COUNTED` rows."""

    @cached_property
    def count(self) -> int:
        """How many rows there are, up to `COUNTED`."""
        rows: Any = self.object_list
        counted: int = rows.order_by().values("pk")[:COUNTED].count()
        return counted


class BetweenFilter(RangeDateTimeFilter):
    """From one moment to another, in the site's time zone; a day alone is all of it.

    Unfold's own filter compares moments without a time zone, and passes over a day without a time.
    """

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:  # noqa: ARG002
        """The rows in between; what is no moment is no bound."""
        begin, end = self._moment("from"), self._moment("to")
        if begin:
            queryset = queryset.filter(**{f"{self.parameter_name}__gte": begin})
        if end:
            queryset = queryset.filter(**{f"{self.parameter_name}__lt": end})
        return queryset

    def _moment(self, which: str) -> datetime | None:
        chosen = self.used_parameters
        try:
            day = parse_date(chosen.get(f"{self.parameter_name}_{which}_0") or "")
            hour = parse_time(chosen.get(f"{self.parameter_name}_{which}_1") or "")
            if day is None:
                return None
            if hour is None and which == "to":
                day += timedelta(days=1)
            return timezone.make_aware(datetime.combine(day, hour or time.min))
        except (ValueError, OverflowError):
            return None
