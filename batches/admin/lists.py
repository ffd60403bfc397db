"""What the admin's lists of work share: they are read and moved by actions, and never written."""

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import quote
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import TextFilter

from accounts.lists import CappedPaginator, DiscreetAdmin
from accounts.models import User
from tools import registry

STAYS = "stays"
"""In the form of an action: it was chosen on a row's page, and leads back there."""
SHOWN_REFUSALS = 10
"""Of rows that an action could not move, each with its reason; the others are counted."""


class ReadOnlyAdmin(DiscreetAdmin):
    """Rows that staff look at and move by actions, but never write.

    The actions of the list stand on the page of each row, too.
    """

    ordering = ("-pk",)
    list_per_page = 50
    view_on_site = False  # those pages are for their owners alone
    show_full_result_count = False
    paginator = CappedPaginator
    actions: Any = ()
    change_form_outer_before_template = "admin/batches/_steps.html"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Nobody adds rows by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Actions on the list, for those with the right; the page of one row is to read."""
        return obj is None and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Nobody deletes rows by hand: credits hang on them."""
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet, search_term: str
    ) -> tuple[QuerySet, bool]:
        """An id is looked up by itself; words are looked for in the search fields."""
        if uid := uuid_of(search_term):
            return self.of_id(queryset, uid), False
        return super().get_search_results(request, queryset, search_term)

    def of_id(self, queryset: QuerySet, uid: UUID) -> QuerySet:
        """The rows that an id leads to."""
        return queryset.filter(uid=uid)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """With the row's own facts and the actions that whoever asks may take."""
        obj = kwargs.get("obj")
        if obj is not None:
            context |= self.told(request, obj)
            context["steps"] = [
                (name, description)
                for name, (_call, _name, description) in self.get_actions(request).items()
                if self.fits(name, obj)
            ]
            context |= {"list_url": _url(self, "changelist"), "checkbox": ACTION_CHECKBOX_NAME}
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=_("trace id"))
    def trace_id(self, obj: Any) -> str:
        """Its id, the same for people, the API and the logs; one click takes all of it."""
        return format_html('<code class="studio-id">{}</code>', obj.uid)

    def told(self, request: HttpRequest, obj: Any) -> dict[str, Any]:  # noqa: ARG002
        """What the templates of a row's page need beside the row."""
        return {}

    def fits(self, action: str, obj: Any) -> bool:  # noqa: ARG002
        """Whether an action makes sense for a row as it is; the list offers all of them."""
        return True

    def response_action(self, request: HttpRequest, queryset: QuerySet) -> Any:
        """Back to the row's page, where the action was chosen there."""
        answer = super().response_action(request, queryset)
        chosen = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if isinstance(answer, HttpResponseRedirect) and STAYS in request.POST and chosen:
            return HttpResponseRedirect(_url(self, "change", quote(chosen[0])))
        return answer

    def ask(
        self, request: HttpRequest, rows: Iterable[tuple[Any, Any]], *, action: str, **words: Any
    ) -> HttpResponse:
        """Show which rows an action is about, each with what is to be said of it, and ask."""
        told = [(row, said, _url(self, "change", row.pk)) for row, said in rows]
        stays = STAYS in request.POST and bool(told)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "rows": told,
            "action": action,
            "checkbox": ACTION_CHECKBOX_NAME,
            "list_url": _url(self, "changelist"),
            "stays": stays,
            "back": told[0][2] if stays else _url(self, "changelist"),
            **words,
        }
        return TemplateResponse(request, "admin/batches/confirm.html", context)

    def tell_moved(
        self, request: HttpRequest, text: str, *, moved: int, refusals: Sequence[tuple[Any, str]]
    ) -> None:
        """Say how many moved, and why the others did not."""
        if moved or not refusals:
            self.message_user(request, text, messages.SUCCESS if moved else messages.WARNING)
        self.tell_refusals(request, refusals)

    def tell_refusals(self, request: HttpRequest, refusals: Sequence[tuple[Any, str]]) -> None:
        """Say which rows did not move and why; of very many, how many more there are."""
        for row, reason in refusals[:SHOWN_REFUSALS]:
            self.message_user(request, format_html("{}: {}", row, reason), messages.WARNING)
        if more := refusals[SHOWN_REFUSALS:]:
            text = _("{n} more stay as they are.").format(n=len(more))
            self.message_user(request, text, messages.WARNING)


class OwnerFilter(TextFilter):
    """Rows of those whose address begins so; `path` leads from a row to its owner."""

    title = _("owner's address")
    parameter_name = "owner"
    path = "owner"

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:  # noqa: ARG002
        """Addresses are kept in lower case."""
        begins = (self.value() or "").strip().lower()
        if not begins:
            return queryset
        owners = User.objects.filter(email__startswith=begins)
        return queryset.filter(**{f"{self.path}__in": owners.values("pk")})


class BatchOwnerFilter(OwnerFilter):
    """The same for what belongs to a batch."""

    path = "batch__owner"


class ByTool(admin.SimpleListFilter):
    """Rows of one tool. The choices are the tools that there are: no look at the table."""

    title = _("tool")
    parameter_name = "tool"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:  # noqa: ARG002
        """All tools, by name."""
        tools = [(tool.slug, tool.name) for tool in registry.all()]
        return sorted(tools, key=lambda tool: str(tool[1]))

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:  # noqa: ARG002
        """Rows of the one that was chosen."""
        return queryset.filter(tool=self.value()) if self.value() else queryset


def narrowing(owner: User) -> str:
    """The owner's address, as a link that narrows a list with an `OwnerFilter` to it."""
    query = urlencode({OwnerFilter.parameter_name: owner.email})
    return format_html('<a href="?{}">{}</a>', query, owner)


def link_to(row: Model | None) -> str:
    """A row by its name, as a link to its page in the admin; a dash for none."""
    if row is None:
        return "-"
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
    return format_html('<a href="{}">{}</a>', reverse(name, args=[row.pk]), row)


def bare_address(address: str) -> str:
    """An address for staff to read: what may be a secret of its owner's is struck out.

    That is the name and password before a host, the values behind a question mark, which sign
    links to private files, and what opens a file of this site to whoever has it.
    """
    try:
        parts = urlsplit(address)
        host = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"
    except ValueError:
        return "\N{HORIZONTAL ELLIPSIS}" if address else ""
    if not parts.netloc:
        return address
    names = [name for name, _value in parse_qsl(parts.query, keep_blank_values=True)]
    query = "&".join(f"{name}=\N{HORIZONTAL ELLIPSIS}" for name in names)
    path, files = parts.path, reverse("batches:link", args=["-"]).removesuffix("-")
    if path.startswith(files):
        path = f"{files}\N{HORIZONTAL ELLIPSIS}"
    return urlunsplit((parts.scheme, host, path, query, ""))


def uuid_of(text: str) -> UUID | None:
    """The id that a search is for, if it is one."""
    try:
        return UUID(text.strip())
    except ValueError:
        return None


def _url(of: ModelAdmin, page: str, *args: Any) -> str:
    return reverse(f"admin:{of.opts.app_label}_{of.opts.model_name}_{page}", args=args)
