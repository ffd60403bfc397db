"""One batch's page, its polls and its verbs."""

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpRequest, HttpResponseBase, QueryDict
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST, require_safe
from django_htmx.http import trigger_client_event

from batches import imports, lifecycle, triage
from batches import messages as wording
from batches.exports import archive
from batches.forms import Refusal, receive
from batches.models import Batch
from batches.names import clean_name
from batches.views import delivering
from batches.views.asking import batch_or_404, htmx_of, signed_in, user_of
from batches.views.looks import Seen, look, more
from credits import ledger
from tools import registry
from tools.base import SettingsInvalid


@require_GET
@signed_in
def detail(request: HttpRequest, uid: UUID) -> TemplateResponse:
    """One batch: how far it is, what it costs, and a card for each image."""
    batch = batch_or_404(request, uid)
    context = look(request, batch, request.GET, Seen()) | {"here": "tools", "tab": "batch"}
    context |= delivering.section(batch) | delivering.places(user_of(request), batch)
    if tool := context["tool"]:
        price = tool.max_price(tool.defaults())
        rules = [rule["credits"] for rule in tool.price_rules()]
        context |= {"price": price, "price_from": min([price, *rules])}
    if wanted := request.GET.get("item"):
        context["open_item"] = _uuid(wanted)
    return TemplateResponse(request, "batches/detail.html", context)


@require_GET
@signed_in
def poll(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """What has changed since the page looked last. Without htmx: the page itself."""
    batch = batch_or_404(request, uid)
    if not htmx_of(request):
        return redirect(batch)
    seen = look(request, batch, request.GET, Seen.by(request.GET))
    return TemplateResponse(request, "batches/_poll.html", seen)


@require_GET
@signed_in
def cards(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """The next hundred cards of an open page. Without htmx: the page that has them."""
    batch = batch_or_404(request, uid)
    if not htmx_of(request):
        return redirect(f"{batch.get_absolute_url()}?{request.GET.urlencode()}")
    context = more(batch, request.GET, Seen.by(request.GET))
    return TemplateResponse(request, "batches/_more.html", context)


@require_POST
@signed_in
def start(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Start a batch that was made but not started."""
    return _act(request, uid, lifecycle.start)


@require_POST
@signed_in
def import_rest(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Import a sheet again whose rows were refused, without those that can't be used."""
    return _act(request, uid, imports.again)


@require_POST
@signed_in
def approve(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Run the rest after a sample, with other settings if the form brings some."""

    def run(batch: Batch) -> Batch:
        return lifecycle.approve(batch, settings=_settings(request, batch))

    return _act(request, uid, run)


@require_POST
@signed_in
def pause(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Begin nothing more for now."""
    return _act(request, uid, lifecycle.pause)


@require_POST
@signed_in
def resume(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Go on."""
    return _act(request, uid, lifecycle.resume)


@require_POST
@signed_in
def cancel(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Stop; what is finished is kept."""
    return _act(request, uid, lifecycle.cancel)


@require_POST
@signed_in
def retry(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Run failed images again: those that are named, those of one cause, or all.

    The form may bring what is to be different: `url` for one image, `old` and `new` beginning of
    the addresses, `files` to take the images' place, `shrink`, or the tool's settings.
    """

    def run(batch: Batch) -> Batch:
        chosen = _chosen(request, batch)
        repairs = _repairs(request, chosen)
        changed = "files" in request.FILES or "url" in request.POST or "old" in request.POST
        only = list(repairs) if changed else [failure.uid for failure in chosen]
        return lifecycle.retry(
            batch,
            items=only,
            settings=_settings(request, batch),
            repairs=repairs,
            shrink=bool(request.POST.get("shrink")),
        )

    return _act(request, uid, run)


def _chosen(request: HttpRequest, batch: Batch) -> list[triage.Failure]:
    """The failures that the form means: named ones, those of a cause, or all."""
    failed = triage.failures(batch)
    if named := request.POST.getlist("item"):
        wanted = {_uuid(text) for text in named}
        return [failure for failure in failed if failure.uid in wanted]
    if cause := request.POST.get("cause"):
        return [failure for failure in failed if failure.key == cause]
    return failed


def _repairs(
    request: HttpRequest, chosen: Sequence[triage.Failure]
) -> dict[UUID, lifecycle.Repair]:
    """What the form puts in place of addresses and files. Says what it can't use."""
    if files := request.FILES.getlist("files"):
        return _replaced(request, chosen, files)
    if "url" in request.POST:
        url = request.POST["url"].strip()
        return {failure.uid: lifecycle.Repair(url=url) for failure in chosen[:1]}
    if "old" in request.POST:
        old, new = request.POST["old"].strip(), request.POST.get("new", "").strip()
        found = triage.with_prefix(chosen, old=old, new=new)
        if not found:
            raise lifecycle.Refused(_("None of these addresses begins like that."))
        return {uid: lifecycle.Repair(url=url) for uid, url in found.items()}
    return {}


def _replaced(
    request: HttpRequest, chosen: Sequence[triage.Failure], files: Sequence[UploadedFile]
) -> dict[UUID, lifecycle.Repair]:
    """Files that came in, each for the failure of its name; only those that are meant are kept."""
    pairs = triage.matched(chosen, [clean_name(file.name or "") for file in files])
    repairs = {}
    for uid, n in pairs.items():
        taken = receive(user_of(request), files[n])
        if isinstance(taken, Refusal):
            messages.error(request, f"{taken.name}: {taken.message}")
        else:
            repairs[uid] = lifecycle.Repair(original=taken)
    strangers = [file.name or "" for n, file in enumerate(files) if n not in pairs.values()]
    if strangers:
        text = _("No failed image has this name: {names}.")
        messages.warning(request, text.format(names=", ".join(strangers[:5])))
    if not repairs:
        raise lifecycle.Refused(_("No image was replaced. Name the files like the failed images."))
    return repairs


def _settings(request: HttpRequest, batch: Batch) -> dict[str, Any] | None:
    """The settings that the form brings, if it brings any. Raises `SettingsInvalid`."""
    if "with_settings" not in request.POST:
        return None
    return registry.get(batch.tool).clean(request.POST)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Http404 from None


@require_safe
@signed_in
def results_zip(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """All results so far, streamed; or a part of them, for a download that goes on."""
    return archive.response(batch_or_404(request, uid), request)


def _act(request: HttpRequest, uid: UUID, verb: Callable[[Batch], Batch]) -> HttpResponseBase:
    """Carry out one verb on one's own batch, and show what came of it."""
    batch = batch_or_404(request, uid)
    carried_out = False
    try:
        batch = verb(batch)
        carried_out = True
    except lifecycle.Refused as refused:
        messages.error(request, refused.detail)
    except SettingsInvalid as invalid:
        for error in invalid.errors:
            label = invalid.bound.fields[error.field].label if error.field else ""
            messages.error(request, f"{label}: {error.detail}" if label else error.detail)
    except ledger.InsufficientCredits as short:
        messages.error(request, wording.text(short.code, short.params))
    htmx = htmx_of(request)
    if not htmx:
        return redirect(batch)
    place = QueryDict(urlsplit(htmx.current_url or "").query)
    batch = batch_or_404(request, uid)
    context = look(request, batch, place, Seen(marks=Seen.by(request.POST).marks))
    answer = TemplateResponse(request, "batches/_poll.html", context)
    return trigger_client_event(answer, "carried-out") if carried_out else answer
