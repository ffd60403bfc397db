"""The record of what staff did: to look at and to search, and nothing else."""

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import DropdownFilter

from accounts.lists import BetweenFilter, CappedPaginator, DiscreetAdmin
from accounts.models import StaffAction, User

OFFERED_OF = 10_000
"""The filters offer what occurs in so many of the latest lines: a look at all would grow with
them."""
MOST_STAFF = 200


class Latest(DropdownFilter):
    """One of the values that a column has had lately."""

    column = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        """All of them, in order, and the chosen one however long ago it was."""
        latest = StaffAction.objects.order_by("-pk").values("pk")[:OFFERED_OF]
        rows = StaffAction.objects.filter(pk__in=latest).order_by()
        found = set(rows.values_list(self.column, flat=True).distinct())
        return [(value, value) for value in sorted(found | {self.value() or ""}) if value]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:  # noqa: ARG002
        """Lines with this value."""
        return queryset.filter(**{self.column: self.value()}) if self.value() else queryset


class ByAction(Latest):
    """What was done."""

    title = _("action")
    parameter_name = column = "action"


class ByTarget(Latest):
    """To what kind of thing."""

    title = _("kind of target")
    parameter_name = column = "target_kind"


class ByActor(DropdownFilter):
    """Who did it, of those who are staff now; the search finds the others by address."""

    title = _("actor")
    parameter_name = "actor"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        """Everybody who may enter the admin."""
        staff = User.objects.filter(is_staff=True).order_by("email")
        return [(str(pk), email) for pk, email in staff.values_list("pk", "email")[:MOST_STAFF]]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:  # noqa: ARG002
        """Lines of this person; of nobody where that is no number."""
        chosen = self.value()
        if not chosen:
            return queryset
        return queryset.filter(actor_id=int(chosen)) if chosen.isdecimal() else queryset.none()


@admin.register(StaffAction)
class StaffActionAdmin(DiscreetAdmin):
    """What staff did. Nobody adds, changes or deletes anything here."""

    list_display = (
        "at", "actor_email", "action", "target_kind", "target_label", "rows", "reason",
    )  # fmt: skip
    list_display_links = ("at", "action")
    list_filter = (ByAction, ByActor, ByTarget, ("at", BetweenFilter))
    list_filter_submit = True
    list_per_page = 50
    # Django offers a search where there are fields; get_search_results says how it is done.
    search_fields = ("target_id", "request_id", "actor_email")
    search_help_text = _("Id of what was changed, trace id, or address of staff")
    ordering = ("-pk",)
    sortable_by = ()
    paginator = CappedPaginator
    show_full_result_count = False
    actions = None
    fieldsets = (
        (None, {"fields": ("action", "at", "reason", "rows")}),
        (_("Who"), {"fields": ("actor_email", "ip", "request_id")}),
        (_("To what"), {"fields": ("target_kind", "target_label", "target_id")}),
        (_("Changes"), {"fields": ("changes",)}),
    )
    readonly_fields = ("changes",)

    def get_search_results(
        self,
        request: HttpRequest,  # noqa: ARG002
        queryset: QuerySet[StaffAction],
        search_term: str,
    ) -> tuple[QuerySet[StaffAction], bool]:
        """Whole ids and addresses, so that indexes answer however long the record is."""
        word = search_term.strip()
        if not word:
            return queryset, False
        exact = Q(target_id=word) | Q(request_id=word) | Q(actor_email=word.lower())
        return queryset.filter(exact), False

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """No."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """No."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """No."""
        return False

    @admin.display(description=_("changes"))
    def changes(self, done: StaffAction) -> str:
        """Each field before and after, side by side."""
        names = list(dict.fromkeys([*done.before, *done.after]))
        if not names:
            return "-"
        rows = format_html_join(
            "",
            "<tr><th scope='row'>{}</th><td>{}</td><td>{}</td></tr>",
            (
                (_label(done, name), _shown(done.before, name), _shown(done.after, name))
                for name in names
            ),
        )
        return format_html(
            "<table class='studio-changes'><thead><tr><th scope='col'>{}</th>"
            "<th scope='col'>{}</th><th scope='col'>{}</th></tr></thead><tbody>{}</tbody></table>",
            _("Field"),
            _("Before"),
            _("After"),
            rows,
        )


def _label(done: StaffAction, name: str) -> str:
    """What the pages call a field of the target; the name itself where it is none."""
    try:
        model = apps.get_model(done.target_kind)
        return str(model._meta.get_field(name).verbose_name)
    except (LookupError, ValueError, FieldDoesNotExist):
        return name.replace("_", " ")


def _shown(values: dict[str, Any], name: str) -> Any:
    """A value as people read it; a dash where there was none."""
    value = values.get(name)
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return "\N{EN DASH}" if value in (None, "") else value
