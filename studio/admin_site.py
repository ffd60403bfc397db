"""How the admin looks and what its sidebar holds.

The settings read this module: nothing here needs the apps before a page is asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext_lazy as _

BASE = {
    "50": "oklch(98.5% .004 95)",
    "100": "oklch(96.5% .004 95)",
    "200": "oklch(91% .006 95)",
    "300": "oklch(82% .008 95)",
    "400": "oklch(72% .012 270)",
    "500": "oklch(52% .015 270)",
    "600": "oklch(45% .015 270)",
    "700": "oklch(36% .014 270)",
    "800": "oklch(30% .014 270)",
    "900": "oklch(22% .012 270)",
    "950": "oklch(18.5% .012 270)",
}
"""The site's warm and cool greys."""
PRIMARY = {
    "50": "oklch(97% .015 268)",
    "100": "oklch(94% .03 268)",
    "200": "oklch(88% .06 268)",
    "300": "oklch(80% .1 268)",
    "400": "oklch(76% .13 268)",
    "500": "oklch(62% .17 268)",
    "600": "oklch(52% .19 268)",
    "700": "oklch(46% .19 268)",
    "800": "oklch(40% .17 268)",
    "900": "oklch(33% .13 268)",
    "950": "oklch(26% .1 268)",
}
"""Its indigo."""

Permission = Callable[[HttpRequest], bool]


def may(permission: str) -> Permission:
    """Whether whoever asks has this right: no entry of the sidebar leads to a refusal."""
    return lambda request: request.user.has_perm(permission)


@dataclass(frozen=True)
class Entry:
    """One line of the sidebar. `icon` is of Material Symbols."""

    title: Any
    icon: str
    address: str
    """The name of its page."""
    permission: str = ""
    """Whoever lacks it does not see the line; empty: it is for all staff."""

    @classmethod
    def of(cls, title: Any, icon: str, model: str) -> "Entry":
        """The list of a model, such as `batches.item`."""
        app, name = model.split(".")
        return cls(title, icon, f"admin:{app}_{name}_changelist", f"{app}.view_{name}")


def settings(*, environment: str) -> dict[str, Any]:
    """What ``UNFOLD`` is set to. ``environment`` is shown beside the title, unless it is empty."""
    return {
        "SITE_TITLE": _("Studio admin"),
        "SITE_HEADER": _("Studio admin"),
        "SITE_URL": "/",
        "SITE_ICON": lambda _request: static("img/mark.svg"),
        "SITE_FAVICONS": [
            {"rel": "icon", "type": "image/svg+xml", "href": lambda _: static("img/mark.svg")}
        ],
        "STYLES": [lambda _request: static("css/admin.css")],
        "BORDER_RADIUS": "9px",
        "COLORS": {"base": BASE, "primary": PRIMARY},
        "ENVIRONMENT": lambda _request: [environment, "warning"] if environment else None,
        "ENVIRONMENT_TITLE_PREFIX": f"[{environment}]" if environment else None,
        "SHOW_VIEW_ON_SITE": False,
        "SHOW_HISTORY": False,  # what staff did has a record of its own
        "DASHBOARD_CALLBACK": "studio.dashboard.fill",
        "SIDEBAR": {"show_search": True, "navigation": navigation},
    }


def navigation(_request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar, in groups, without lists that have no page. Unfold asks who may see a line."""
    return [
        {"title": title, "separator": True, "items": [line for line in map(_line, entries) if line]}
        for title, entries in NAVIGATION
    ]


def _line(entry: Entry) -> dict[str, Any] | None:
    try:
        link = reverse(entry.address)
    except NoReverseMatch:
        return None
    permission = may(entry.permission) if entry.permission else None
    return {"title": entry.title, "icon": entry.icon, "link": link, "permission": permission}


NAVIGATION: list[tuple[Any, list[Entry]]] = [
    (
        _("Work"),
        [
            Entry(_("Dashboard"), "monitoring", "admin:index"),
            Entry.of(_("Batches"), "stacks", "batches.batch"),
            Entry.of(_("Items"), "image", "batches.item"),
            Entry.of(_("Library"), "photo_library", "batches.asset"),
            Entry.of(_("Deliveries"), "local_shipping", "batches.delivery"),
            Entry.of(_("Webhooks"), "webhook", "batches.webhookendpoint"),
            Entry.of(_("Webhook messages"), "forward_to_inbox", "batches.webhookmessage"),
            Entry.of(_("Schedules"), "event_repeat", "batches.recurring"),
            Entry.of(_("Runs of schedules"), "update", "batches.recurringrun"),
        ],
    ),
    (
        _("People"),
        [
            Entry.of(_("Users"), "person", "accounts.user"),
            Entry.of(_("Plans"), "sell", "accounts.plan"),
            Entry.of(_("API keys"), "key", "accounts.apikey"),
            Entry.of(_("Connections"), "cable", "accounts.connection"),
            Entry.of(_("Promo codes"), "redeem", "credits.promocode"),
            Entry.of(_("Groups"), "groups", "auth.group"),
        ],
    ),
    (
        _("Credits"),
        [
            Entry.of(_("Accounts"), "account_balance_wallet", "credits.creditaccount"),
            Entry.of(_("Grants"), "add_card", "credits.grant"),
            Entry.of(_("Holds"), "lock_clock", "credits.hold"),
            Entry.of(_("Ledger"), "receipt_long", "credits.ledgerentry"),
        ],
    ),
    (_("Tools"), [Entry.of(_("Tool rules"), "tune", "batches.toolrule")]),
    (
        _("Site"),
        [
            Entry(_("Workers"), "memory", "admin:workers", "batches.view_batch"),
            Entry.of(_("Scheduled runs"), "schedule", "studio.scheduledrun"),
            Entry.of(_("Staff actions"), "history", "accounts.staffaction"),
        ],
    ),
]
