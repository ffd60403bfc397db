"""What can be done with a batch as a whole, wherever it is listed: rename it, delete it."""

from contextlib import suppress
from urllib.parse import urlsplit
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods

from batches import lifecycle, progress
from batches.models import Batch, Result
from batches.states import DELETABLE
from batches.views.asking import batch_or_404, htmx_of, signed_in


class NameForm(forms.Form):
    """What a batch is called."""

    name = forms.CharField(
        max_length=200, error_messages={"required": gettext_lazy("Give it a name.")}
    )


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def rename(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """The form in place of the name, and the new name in place of the form.

    Without htmx the form is a page of its own.
    """
    batch = batch_or_404(request, uid)
    place = "list" if request.GET.get("place") == "list" else "page"
    htmx = htmx_of(request)
    shown = {"batch": batch, "place": place}
    if htmx and request.GET.get("keep"):
        return TemplateResponse(request, "batches/_rename.html", shown | {"back": True})
    form = NameForm(request.POST if request.method == "POST" else {"name": str(batch)})
    if request.method != "POST" or not form.is_valid():
        template = "batches/_rename.html" if htmx else "batches/rename.html"
        status = 422 if request.method == "POST" and not htmx else 200  # htmx swaps no 422
        return TemplateResponse(request, template, shown | {"naming": form}, status=status)
    try:
        batch = lifecycle.rename(batch, form.cleaned_data["name"])
    except lifecycle.StateConflict:
        raise Http404 from None
    if not htmx:
        return redirect("batches:index" if place == "list" else batch)
    shown |= {"batch": batch, "back": True}
    if place == "page":
        shown["progress"] = progress.of(batch, now=None)  # for the page's title
    return TemplateResponse(request, "batches/_renamed.html", shown)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def delete(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Say what would be lost; then delete it, and show the list where it was."""
    batch = batch_or_404(request, uid)
    if request.method != "POST":
        return _ask(request, batch)
    if request.POST.get("cancel"):
        with suppress(lifecycle.StateConflict):  # it has ended while the question was open
            lifecycle.cancel(batch)
    try:
        lifecycle.delete(batch)
    except lifecycle.StateConflict as conflict:
        messages.error(request, f"{batch}: {conflict.detail}")
    else:
        messages.success(request, _("“{batch}” was deleted.").format(batch=batch))
    place = request.POST.get("place", "")
    return redirect(reverse("batches:index") + (f"?{place}" if place else ""))


def _ask(request: HttpRequest, batch: Batch) -> TemplateResponse:
    htmx = htmx_of(request)
    counts = progress.of(batch, now=None)
    context = {
        "here": "batches",
        "batch": batch,
        "progress": counts,
        "open": batch.state not in DELETABLE,
        "losses": _losses(counts.total, Result.objects.filter(item__batch=batch).count()),
        "place": urlsplit(htmx.current_url or "").query if htmx else "",
    }
    template = "batches/_delete.html" if htmx else "batches/delete.html"
    return TemplateResponse(request, template, context)


def _losses(images: int, results: int) -> str:
    """What is gone afterwards, as a sentence."""
    if not results:
        text = ngettext("{n} image will be deleted.", "{n} images will be deleted.", images)
        return text.format(n=images)
    return _("{images} and {results} will be deleted.").format(
        images=ngettext("{n} image", "{n} images", images).format(n=images),
        results=ngettext("{n} result", "{n} results", results).format(n=results),
    )
