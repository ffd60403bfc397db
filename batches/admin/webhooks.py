"""Webhooks in the admin: who is told, what was sent, and once more. No secret is anywhere.

An address is shown without what may be a secret in it.
"""

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.translation import gettext as now_
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts import trail
from accounts.lists import BetweenFilter
from batches import messages as wording
from batches import outbox, webhooks
from batches.admin import contents
from batches.admin.lists import OwnerFilter, ReadOnlyAdmin, bare_address, link_to, narrowing
from batches.models import WebhookEndpoint, WebhookMessage, WebhookState

SHOWN_MESSAGES = 25


class IsOn(admin.SimpleListFilter):
    """Endpoints that are told, and those that were given up."""

    title = _("state")
    parameter_name = "on"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:  # noqa: ARG002
        """Both kinds."""
        return [("1", _("On")), ("0", _("Given up"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:  # noqa: ARG002
        """Those that were chosen."""
        if self.value() not in ("0", "1"):
            return queryset
        return queryset.filter(disabled_at__isnull=self.value() == "1")


class ByEvent(admin.SimpleListFilter):
    """Messages about one kind of event."""

    title = _("event")
    parameter_name = "event"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        """All kinds that there are."""
        return [(name, name) for name in (*outbox.EVENTS, outbox.PING)]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:  # noqa: ARG002
        """Those about the one that was chosen."""
        return queryset.filter(event=self.value()) if self.value() else queryset


class CountedChangeList(ChangeList):
    """A page of endpoints, each with how many messages wait and how many have failed."""

    def get_results(self, request: HttpRequest) -> None:
        """Count the messages of all endpoints on the page at once."""
        super().get_results(request)
        found = list(self.result_list)
        counts = counts_of(found)
        for endpoint in found:
            endpoint.counts = counts.get(endpoint.pk, {"waiting": 0, "failed": 0})
        self.result_list = found


def counts_of(endpoints: list[WebhookEndpoint]) -> dict[int, dict[str, int]]:
    """How many messages wait for each endpoint and how many have failed, in one question."""
    messages = WebhookMessage.objects.filter(endpoint__in=endpoints).order_by()
    rows = messages.values("endpoint").annotate(
        waiting=Count("pk", filter=Q(state=WebhookState.WAITING)),
        failed=Count("pk", filter=Q(state=WebhookState.FAILED)),
    )
    return {row["endpoint"]: {"waiting": row["waiting"], "failed": row["failed"]} for row in rows}


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ReadOnlyAdmin):
    """Addresses that are told what happens."""

    list_display = ("address", "owner_link", "told_of", "state", "waiting", "failed", "created_at")
    list_select_related = ("owner",)
    list_filter = (IsOn, "envelope", OwnerFilter, ("created_at", BetweenFilter))
    list_filter_submit = True
    search_fields = ("url", "owner__email")
    search_help_text = _("Address, owner's address, or id")
    actions = ("switch_on", "ping")
    change_form_outer_after_template = "admin/batches/webhookendpoint/_messages.html"
    fieldsets = (
        (
            None,
            {"fields": (("trace_id", "owner_page"), ("address", "state"), ("told_of", "envelope"))},
        ),
        (_("Dates"), {"fields": (("created_at", "given_up_at"),)}),
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        """The list that counts."""
        return CountedChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookEndpoint]:
        """Without what signs."""
        return super().get_queryset(request).defer("sealed_secret")

    @admin.action(description=_("Switch on again"), permissions=["change"])
    def switch_on(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        """Go on with endpoints that were given up; what waited for them is sent."""
        moved, refusals = 0, []
        for endpoint in queryset.order_by("pk"):
            if webhooks.switch_on(endpoint):
                moved += 1
                before = {"disabled_at": endpoint.disabled_at}
                trail.record(
                    request,
                    "webhook.switch_on",
                    endpoint,
                    before=before,
                    after={"disabled_at": None},
                )
            else:
                refusals.append((bare_address(endpoint.url), now_("It is on already.")))
        text = ngettext("%(n)d webhook is on again.", "%(n)d webhooks are on again.", moved)
        self.tell_moved(request, text % {"n": moved}, moved=moved, refusals=refusals)

    @admin.action(description=_("Send a test"), permissions=["change"])
    def ping(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        """Send each a message that means nothing, to see whether it arrives."""
        sent = 0
        for endpoint in queryset.order_by("pk"):
            message = webhooks.ping(endpoint)
            trail.record(request, "webhook.ping", endpoint, after={"message": message.uid})
            sent += 1
        text = ngettext("%(n)d test is on its way.", "%(n)d tests are on their way.", sent)
        self.message_user(request, text % {"n": sent})

    def told(self, request: HttpRequest, obj: WebhookEndpoint) -> dict[str, Any]:
        """The newest messages to it."""
        if not request.user.has_perm("batches.view_webhookmessage"):
            return {}
        newest = obj.messages.order_by("-created_at", "-pk")[:SHOWN_MESSAGES]
        address = reverse("admin:batches_webhookmessage_changelist")
        return {
            "sent": [(message, outcome_of(message)) for message in newest],
            "sent_url": f"{address}?endpoint__id__exact={obj.pk}",
        }

    def fits(self, action: str, obj: WebhookEndpoint) -> bool:
        """Only what was given up can be switched on."""
        return action != "switch_on" or obj.disabled_at is not None

    @admin.display(description=_("address"), ordering="url")
    def address(self, endpoint: WebhookEndpoint) -> str:
        """Without what may be a secret in it."""
        return bare_address(endpoint.url)

    @admin.display(description=_("owner"), ordering="owner__email")
    def owner_link(self, endpoint: WebhookEndpoint) -> str:
        """Whose it is, which narrows the list to the owner's."""
        return narrowing(endpoint.owner)

    @admin.display(description=_("owner"))
    def owner_page(self, endpoint: WebhookEndpoint) -> str:
        """Whose it is."""
        return link_to(endpoint.owner)

    @admin.display(description=_("told of"))
    def told_of(self, endpoint: WebhookEndpoint) -> str:
        """Which events."""
        return ", ".join(endpoint.events)

    @admin.display(description=_("given up at"))
    def given_up_at(self, endpoint: WebhookEndpoint) -> Any:
        """Since when nothing is sent to it."""
        return endpoint.disabled_at

    @admin.display(description=_("state"), ordering="disabled_at")
    def state(self, endpoint: WebhookEndpoint) -> str:
        """Whether it is told."""
        return now_("Given up") if endpoint.disabled_at else now_("On")

    @admin.display(description=_("waiting"))
    def waiting(self, endpoint: Any) -> int:
        """Messages that are still to be sent."""
        return int(endpoint.counts["waiting"])

    @admin.display(description=_("failed"))
    def failed(self, endpoint: Any) -> int:
        """Messages that never arrived."""
        return int(endpoint.counts["failed"])


@admin.register(WebhookMessage)
class WebhookMessageAdmin(ReadOnlyAdmin):
    """What was sent, or is still to be."""

    list_display = (
        "event", "address", "owner_link", "state", "tries_in_all", "outcome", "created_at",
    )  # fmt: skip
    list_select_related = ("owner",)
    list_filter = ("state", ByEvent, OwnerFilter, ("created_at", BetweenFilter))
    list_filter_submit = True
    search_fields = ("url",)
    search_help_text = _("Address, or id of a message (with or without msg_)")
    actions = ("resend",)
    change_form_outer_after_template = "admin/batches/webhookmessage/_tries.html"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("trace_id", "owner_page"),
                    ("event", "state"),
                    ("endpoint_page", "address"),
                ),
            },
        ),
        (_("What it says"), {"fields": ("says",)}),
        (_("Work"), {"fields": ("tries_in_all", ("next_try", "lease_until"))}),
        (_("Dates"), {"fields": (("created_at", "finished_at"),)}),
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet, search_term: str
    ) -> tuple[QuerySet, bool]:
        """Also by the id that is on the wire."""
        return super().get_search_results(request, queryset, search_term.removeprefix("msg_"))

    @admin.action(description=_("Send again"), permissions=["change"])
    def resend(self, request: HttpRequest, queryset: QuerySet[WebhookMessage]) -> None:
        """Send what is over once more, under its own id; what still waits is left alone."""
        moved, refusals = 0, []
        for message in queryset.order_by("pk"):
            if webhooks.resend(message):
                moved += 1
                before, after = {"state": message.state}, {"state": WebhookState.WAITING}
                trail.record(request, "webhook.resend", message, before=before, after=after)
            else:
                refusals.append((message, now_("It is on its way already.")))
        text = ngettext("%(n)d message is sent again.", "%(n)d messages are sent again.", moved)
        self.tell_moved(request, text % {"n": moved}, moved=moved, refusals=refusals)

    def told(self, request: HttpRequest, obj: WebhookMessage) -> dict[str, Any]:  # noqa: ARG002
        """Each try, the newest first."""
        return {"tries": [_try(one) for one in reversed(obj.attempts)]}

    def fits(self, action: str, obj: WebhookMessage) -> bool:
        """Only what is over is sent again."""
        return action != "resend" or obj.state != WebhookState.WAITING

    @admin.display(description=_("address"), ordering="url")
    def address(self, message: WebhookMessage) -> str:
        """Without what may be a secret in it."""
        return bare_address(message.url)

    @admin.display(description=_("webhook"))
    def endpoint_page(self, message: WebhookMessage) -> str:
        """The webhook that it is for; none where a batch names an address of its own."""
        if message.endpoint is None:
            return now_("None: the batch names the address")
        address = reverse("admin:batches_webhookendpoint_change", args=[message.endpoint.pk])
        return format_html('<a href="{}">{}</a>', address, bare_address(message.endpoint.url))

    @admin.display(description=_("owner"), ordering="owner__email")
    def owner_link(self, message: WebhookMessage) -> str:
        """Whose it is, which narrows the list to the owner's."""
        return narrowing(message.owner)

    @admin.display(description=_("owner"))
    def owner_page(self, message: WebhookMessage) -> str:
        """Whose it is."""
        return link_to(message.owner)

    @admin.display(description=_("tries"))
    def tries_in_all(self, message: WebhookMessage) -> int:
        """Those before it was sent again by hand included."""
        return len(message.attempts)

    @admin.display(description=_("last try"))
    def outcome(self, message: WebhookMessage) -> str:
        """What came of the last try."""
        return format_html('<span class="studio-words">{}</span>', outcome_of(message))

    @admin.display(description=_("next try"), ordering="next_at")
    def next_try(self, message: WebhookMessage) -> Any:
        """When, while it waits."""
        return message.next_at if message.state == WebhookState.WAITING else None

    @admin.display(description=_("contents"))
    def says(self, message: WebhookMessage) -> str:
        """What it says, name by name; addresses without what opens them."""
        pairs = [
            (name, bare_address(value) if isinstance(value, str) else _plain(value))
            for name, value in message.payload.items()
        ]
        return contents.list_of(pairs)


def outcome_of(message: WebhookMessage) -> str:
    """What came of the last try, in words; a dash before the first."""
    return _try(message.attempts[-1])["outcome"] if message.attempts else "-"


def _try(one: dict[str, Any]) -> dict[str, Any]:
    """A try as people read it."""
    code = one.get("code") or ""
    if one.get("status"):
        outcome = now_("answered {status}").format(status=one["status"])
    elif code:
        outcome = wording.text(code) if code in wording.TEXTS else code
    else:
        outcome = "-"
    at = parse_datetime(one["at"]) if one.get("at") else None
    return {"at": at, "seconds": one.get("seconds"), "outcome": outcome, "code": code}


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return now_("yes") if value else now_("no")
    if value is None:
        return "-"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_plain(one)}" for name, one in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "-"
    return bare_address(str(value))
