"""How the admin looks and what its sidebar holds."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy
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


def entry(title: Any, icon: str, app: str, model: str) -> dict[str, Any]:
    """A list of the admin, for those who may look at it. `icon` is of Material Symbols."""
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{app}_{model}_changelist"),
        "permission": may(f"{app}.view_{model}"),
    }


def settings() -> dict[str, Any]:
    """What ``UNFOLD`` is set to."""
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
        "SHOW_VIEW_ON_SITE": False,
        "SHOW_HISTORY": False,  # what staff did has a record of its own
        "DASHBOARD_CALLBACK": "studio.dashboard.fill",
        "SIDEBAR": {"show_search": True, "navigation": NAVIGATION},
    }


NAVIGATION = [
    {
        "items": [
            {
                "title": _("Dashboard"),
                "icon": "monitoring",
                "link": reverse_lazy("admin:index"),
            },
        ],
    },
    {
        "title": _("Work"),
        "separator": True,
        "items": [
            entry(_("Batches"), "stacks", "batches", "batch"),
            entry(_("Items"), "image", "batches", "item"),
            entry(_("Library"), "photo_library", "batches", "asset"),
            entry(_("Tool rules"), "tune", "batches", "toolrule"),
        ],
    },
    {
        "title": _("People"),
        "separator": True,
        "items": [
            entry(_("Users"), "person", "accounts", "user"),
            entry(_("Plans"), "sell", "accounts", "plan"),
            entry(_("API keys"), "key", "accounts", "apikey"),
            entry(_("Connections"), "cable", "accounts", "connection"),
            entry(_("Groups"), "groups", "auth", "group"),
        ],
    },
    {
        "title": _("Credits"),
        "separator": True,
        "items": [
            entry(_("Accounts"), "account_balance_wallet", "credits", "creditaccount"),
            entry(_("Promo codes"), "redeem", "credits", "promocode"),
            entry(_("Grants"), "add_card", "credits", "grant"),
            entry(_("Holds"), "lock_clock", "credits", "hold"),
            entry(_("Ledger"), "receipt_long", "credits", "ledgerentry"),
        ],
    },
    {
        "title": _("Site"),
        "separator": True,
        "items": [
            entry(_("Scheduled runs"), "schedule", "studio", "scheduledrun"),
            entry(_("Staff actions"), "history", "accounts", "staffaction"),
        ],
    },
]
