"""Where a batch's results go: what is on its way, what arrived, and sending them somewhere else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST
from rest_framework.serializers import ValidationError

from accounts.models import Connection, User
from batches import deliveries, lifecycle, storage
from batches import messages as wording
from batches.exports import archive, registry, remote
from batches.models import Batch, Delivery, DeliveryState, Parcel, ParcelState, SheetKind
from batches.models.deliveries import OPEN
from batches.views.asking import batch_or_404, htmx_of, signed_in, tool_name, user_of, whole_number

PER_PAGE = 50
MOST_SHOWN = 20
"""Deliveries that a batch's page lists."""

ACCOUNT = "account:"
"""Begins the choice of a connected account in a form; its uid follows."""


@dataclass(frozen=True)
class Shown:
    """A delivery as pages show it."""

    delivery: Delivery
    progress: deliveries.Progress
    causes: Sequence[deliveries.Cause]

    @property
    def name(self) -> str:
        """Where it goes, as people know the place."""
        return registry.place_of(self.delivery)

    @property
    def folder(self) -> str:
        """The folder there, if one was chosen."""
        return str(self.delivery.options.get("folder", ""))

    @property
    def is_open(self) -> bool:
        """Whether something is still to come."""
        return self.delivery.state in OPEN

    @property
    def waits_until(self) -> Any:
        """The moment before which the place takes nothing more, where it has said so."""
        at = self.delivery.retry_at
        return at if self.is_open and self.delivery.attempt and at and at > timezone.now() else None

    @property
    def may_retry(self) -> bool:
        """Whether something failed that can be sent again."""
        return self.delivery.state == DeliveryState.FAILED or self.progress.failed > 0

    @property
    def may_undo(self) -> bool:
        """Whether something lies there that can be taken back."""
        one_by_one = deliveries.goes_one_by_one(self.delivery.to)
        there = self.progress.done > self.progress.skipped
        return one_by_one and not self.is_undoing and (there or self.is_open)

    @property
    def is_undoing(self) -> bool:
        """Whether it is being taken back just now."""
        return self.is_open and bool(self.delivery.cursor.get(deliveries.UNDOING))

    @property
    def is_taken_back(self) -> bool:
        """Whether nothing of what was delivered is left there."""
        there = self.progress.done > self.progress.skipped
        return bool(self.progress.undone) and not there and not self.is_open

    @property
    def is_forgotten(self) -> bool:
        """Whether it was a file, which is kept no longer."""
        return bool(self.delivery.filename) and not self.delivery.key and not self.is_open

    @property
    def file_url(self) -> str:
        """Where its file is, if it is one and is ready."""
        if self.delivery.to == registry.ARCHIVE:
            return reverse("batches:zip", args=[self.delivery.batch.uid])
        if not self.delivery.key:
            return ""
        return reverse("batches:delivery_file", args=[self.delivery.uid])


@require_GET
@signed_in
def index(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """The deliveries of a batch, for a page that shows them. Without htmx: the page itself."""
    batch = batch_or_404(request, uid)
    if not htmx_of(request):
        return redirect(batch)
    return TemplateResponse(request, "batches/_deliveries.html", section(batch))


@require_POST
@signed_in
def send(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Send a batch's results where the form says."""
    batch = batch_or_404(request, uid)
    try:
        wanted = asked(batch.owner, request.POST, prefix="")
        delivery = deliveries.ask(batch, **wanted, follows=_follows(batch))
    except ValidationError as invalid:
        for text in problems(invalid):
            messages.error(request, text)
    else:
        shown = _shown([delivery])[0]
        messages.success(request, _("The results go to {place}.").format(place=shown.name))
    return redirect(f"{batch.get_absolute_url()}#deliveries")


@require_GET
@signed_in
def detail(request: HttpRequest, uid: UUID) -> TemplateResponse:
    """One delivery: how far it is, what went wrong, and where each result lies."""
    delivery = _delivery_or_404(request, uid)
    parcels = delivery.parcels.select_related("result__item")
    ordered = parcels.order_by("result__item__position", "result__position")
    page = Paginator(ordered, PER_PAGE).get_page(whole_number(request.GET.get("page")))
    context = {
        "here": "batches",
        "shown": _shown([delivery])[0],
        "batch": delivery.batch,
        "tool_name": tool_name(delivery.batch),
        "page": page,
        "parcels": [(parcel, _trouble(parcel)) for parcel in page],
    }
    return TemplateResponse(request, "batches/delivery.html", context)


@require_POST
@signed_in
def retry(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Send again what failed."""
    delivery = _delivery_or_404(request, uid)
    try:
        deliveries.retry(delivery)
    except lifecycle.StateConflict as conflict:
        messages.error(request, conflict.detail)
    return redirect("batches:delivery", delivery.uid)


@require_POST
@signed_in
def undo(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Put the place back as it was."""
    delivery = _delivery_or_404(request, uid)
    try:
        deliveries.undo(delivery)
    except lifecycle.StateConflict as conflict:
        messages.error(request, conflict.detail)
    return redirect("batches:delivery", delivery.uid)


@require_GET
@signed_in
def file(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """The file that a delivery made."""
    delivery = _delivery_or_404(request, uid)
    if not delivery.key:
        raise Http404
    return archive.picture_response(
        storage.RESULTS,
        delivery.key,
        content_type=delivery.content_type,
        name=delivery.filename,
        download=True,
    )


def section(batch: Batch) -> dict[str, Any]:
    """What the part of a batch's page shows that says where results go."""
    found = Delivery.objects.filter(batch=batch).select_related("batch", "connection")
    shown = _shown(list(found.order_by("-created_at", "-pk")[:MOST_SHOWN]))
    return {
        "batch": batch,
        "deliveries": shown,
        "deliveries_open": any(one.is_open for one in shown),
    }


def places(owner: User, batch: Batch | None = None) -> dict[str, Any]:
    """What a form offers: the library, accounts, and for a batch's own page files and sheets."""
    files = []
    if batch is not None:
        files = ["xlsx", "csv"]
        if batch.sheet and batch.sheet.kind == SheetKind.GOOGLE:
            files.insert(0, "google_sheet")
    accounts = Connection.objects.visible_to(owner).order_by("kind", "name")
    return {
        "accounts": [(f"{ACCOUNT}{account.uid}", account) for account in accounts],
        "file_places": [(slug, registry.NAMES[slug]) for slug in files],
        "conflicts": remote.CONFLICTS,
    }


def asked(owner: User, form: Any, *, prefix: str) -> dict[str, Any]:
    """What a form wants, in the words of `deliveries.ask`. Raises `ValidationError`."""
    to, connection = form.get(f"{prefix}to", ""), ""
    options = {}
    if to.startswith(ACCOUNT):
        connection = to.removeprefix(ACCOUNT)
        uid = _uuid(connection)
        account = Connection.objects.visible_to(owner).filter(uid=uid).first() if uid else None
        to = account.kind if account else ""
    if connection or to == "library":
        options["folder"] = form.get(f"{prefix}folder", "").strip()
    if connection:
        options["conflict"] = form.get(f"{prefix}conflict", "")
    kept = {name: value for name, value in options.items() if value}
    return {"to": to, "connection": connection, "options": kept}


def problems(invalid: ValidationError) -> list[str]:
    """What is wrong with a delivery, as sentences."""
    found: Any = invalid.detail
    return [str(text) for texts in found.values() for text in texts]


def _follows(batch: Batch) -> bool:
    """What is sent from the page of a batch that still runs gets what is still to come, too."""
    return batch.state not in deliveries.OVER


def _shown(found: Sequence[Delivery]) -> list[Shown]:
    looks = deliveries.progress_of(found)
    causes = deliveries.causes_of(
        [delivery for delivery in found if looks[delivery.pk].failed or _undone(delivery)]
    )
    return [Shown(delivery, looks[delivery.pk], causes.get(delivery.pk, [])) for delivery in found]


def _undone(delivery: Delivery) -> bool:
    """Whether somebody has asked to take it back, in which some may have failed."""
    return bool(delivery.cursor.get(deliveries.UNDOING))


def _trouble(parcel: Parcel) -> str:
    """Why a result is not where it should be, for people; empty where nothing is wrong."""
    if not parcel.error_code or parcel.state == ParcelState.WAITING:
        return ""
    return wording.text(parcel.error_code, parcel.error_params)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _delivery_or_404(request: HttpRequest, uid: UUID) -> Delivery:
    own = Delivery.objects.visible_to(user_of(request)).select_related("batch__owner", "connection")
    return get_object_or_404(own, uid=uid)
