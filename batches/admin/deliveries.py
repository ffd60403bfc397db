"""Deliveries in the admin: where they stand, what went wrong, and once more."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts import trail
from accounts.lists import BetweenFilter
from batches import deliveries, lifecycle
from batches.admin import contents
from batches.admin.contents import Sent
from batches.admin.lists import BatchOwnerFilter, ReadOnlyAdmin, link_to, narrowing
from batches.exports import registry
from batches.models import Delivery, DeliveryState, ParcelState

SHOWN_PARCELS = 25
"""Results of a delivery on its page; failed ones first."""


class ToldChangeList(ChangeList):
    """A page of deliveries, each with how far it is and what went wrong."""

    def get_results(self, request: HttpRequest) -> None:
        """Ask for all deliveries on the page at once."""
        super().get_results(request)
        for told in (found := contents.sent(self.result_list)):
            told.delivery.told = told  # type: ignore[attr-defined]
        self.result_list = [told.delivery for told in found]


class ByPlace(admin.SimpleListFilter):
    """Deliveries to one kind of place."""

    title = _("place")
    parameter_name = "to"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:  # noqa: ARG002
        """All kinds that there are."""
        return list(registry.NAMES.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:  # noqa: ARG002
        """Those to the one that was chosen."""
        return queryset.filter(to=self.value()) if self.value() else queryset


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """Results on their way to somewhere."""

    list_display = (
        "place", "batch_page", "owner", "state", "arrived", "tries", "error", "created_at",
    )  # fmt: skip
    list_display_links = ("place",)
    list_filter = ("state", ByPlace, BatchOwnerFilter, ("created_at", BetweenFilter))
    list_filter_submit = True
    search_fields = ("error_code", "filename")
    search_help_text = _("Error code, name of a file, or the id of a delivery or a batch")
    actions = ("retry",)
    change_form_outer_after_template = "admin/batches/delivery/_parcels.html"
    fieldsets = (
        (None, {"fields": (("trace_id", "owner"), ("batch_page", "state"), "why")}),
        (
            _("Where to"),
            {"fields": (("place", "account"), ("when", "file"), "options_in_words")},
        ),
        (_("Work"), {"fields": ("attempt", ("retry_at", "lease_until"))}),
        (_("Dates"), {"fields": ("created_at", ("started_at", "finished_at"))}),
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        """The list that tells."""
        return ToldChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        """With whose they are, and where they go."""
        return super().get_queryset(request).select_related("batch__owner", "connection")

    def of_id(self, queryset: QuerySet, uid: Any) -> QuerySet:
        """A delivery, or all of a batch."""
        if queryset.filter(uid=uid).exists():
            return queryset.filter(uid=uid)
        return queryset.filter(batch__uid=uid)

    @admin.action(description=_("Send again what failed"), permissions=["change"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        """Send what failed again, as its owner could, and say why the others did not move."""
        moved, refusals = 0, []
        for delivery in queryset.order_by("pk"):
            failed = delivery.parcels.filter(state=ParcelState.FAILED).count()
            try:
                after = deliveries.retry(delivery)
            except lifecycle.Refused as refused:
                refusals.append((delivery, refused.detail))
            else:
                moved += 1
                trail.record(
                    request,
                    "delivery.retry",
                    after,
                    before={"state": delivery.state, "failed": failed},
                    after={"state": after.state},
                    rows=failed or 1,
                )
        text = ngettext("%(n)d delivery goes on.", "%(n)d deliveries go on.", moved) % {"n": moved}
        self.tell_moved(request, text, moved=moved, refusals=refusals)

    def told(self, request: HttpRequest, obj: Delivery) -> dict[str, Any]:  # noqa: ARG002
        """How far it is, and its results, those that failed first."""
        (told,) = contents.sent(self.model.objects.filter(pk=obj.pk).select_related("connection"))
        parcels = obj.parcels.select_related("result__item").defer("result__text")
        failed = parcels.filter(state=ParcelState.FAILED).order_by("pk")
        rows = list(failed[:SHOWN_PARCELS])
        rows += parcels.exclude(state=ParcelState.FAILED).order_by("pk")[
            : SHOWN_PARCELS - len(rows)
        ]
        return {
            "told": told,
            "parcels": [(parcel, contents.error_of(parcel)) for parcel in rows],
            "more_parcels": max(0, told.progress.total - len(rows)) if rows else 0,
        }

    def fits(self, action: str, obj: Delivery) -> bool:
        """Only where something failed."""
        if action != "retry":
            return True
        failed = obj.parcels.filter(state=ParcelState.FAILED)
        return obj.state == DeliveryState.FAILED or failed.exists()

    @admin.display(description=_("to"), ordering="to")
    def place(self, delivery: Delivery) -> str:
        """The place, with the account's name."""
        return registry.place_of(delivery)

    @admin.display(description=_("batch"))
    def batch_page(self, delivery: Delivery) -> str:
        """Whose results they are."""
        return link_to(delivery.batch)

    @admin.display(description=_("owner"))
    def owner(self, delivery: Delivery) -> str:
        """The batch's owner, which narrows the list to the owner's deliveries."""
        if hasattr(delivery, "told"):
            return narrowing(delivery.batch.owner)
        return link_to(delivery.batch.owner)

    @admin.display(description=_("account"))
    def account(self, delivery: Delivery) -> str:
        """The connected account that they go to."""
        return link_to(delivery.connection)

    @admin.display(description=_("arrived"))
    def arrived(self, delivery: Any) -> str:
        """How many of how many; a file counts as one."""
        look = _told(delivery).progress
        return f"{look.done:,}/{look.total:,}"

    @admin.display(description=_("tries"))
    def tries(self, delivery: Any) -> int:
        """How often it, or one of its results, was tried at most since it was last set off."""
        return _told(delivery).tries

    @admin.display(description=_("error"))
    def error(self, delivery: Any) -> str:
        """What went wrong with most of what failed, in the words that its owner reads."""
        return _worst(_told(delivery)) or "-"

    @admin.display(description=_("what went wrong"))
    def why(self, delivery: Delivery) -> str:
        """All of it as one piece; its results have their own reasons."""
        return contents.error_of(delivery) or "-"

    @admin.display(description=_("when results go out"))
    def when(self, delivery: Delivery) -> str:
        """Each as its image finishes, or those that were there when it was asked for."""
        if delivery.follows:
            return str(_("As each image finishes"))
        return str(_("Those that were there at the start"))

    @admin.display(description=_("settings"))
    def options_in_words(self, delivery: Delivery) -> str:
        """What the place was told: folder, what to do where a name is taken, and the like."""
        return contents.list_of(contents.options_of(delivery))

    @admin.display(description=_("file"))
    def file(self, delivery: Delivery) -> str:
        """The file that was made, if it is one and is kept still."""
        if not delivery.filename:
            return "-"
        if not delivery.key:
            return _("{name}, kept no longer").format(name=delivery.filename)
        return f"{delivery.filename} ({filesizeformat(delivery.bytes)})"


def _told(delivery: Any) -> Sent:
    told: Sent = delivery.told
    return told


def _worst(told: Sent) -> str:
    if not told.causes:
        return ""
    cause = told.causes[0]
    return format_html(
        '<span class="studio-words">{} <code>{}</code></span>', cause.message, cause.code
    )
