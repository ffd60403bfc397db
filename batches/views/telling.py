"""Webhooks: see them, add one, look at what was sent, send it again."""

from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import seeing
from batches import outbox, webhooks
from batches.forms import WebhookForm
from batches.models import WebhookEndpoint, WebhookMessage
from batches.views.asking import signed_in, user_of

MESSAGES_PER_PAGE = 50


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def index(request: HttpRequest) -> HttpResponseBase:
    """The list and the form. The answer to the form shows the secret, this once."""
    user = user_of(request)
    form = WebhookForm(request.POST or None)
    made, status = None, 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                made = webhooks.register(user, **form.cleaned_data)
            except webhooks.Refused as refused:
                form.add_error(refused.field, refused.detail)
            else:
                form, status = WebhookForm(), 201
    context = {
        "section": "webhooks",
        "form": form,
        "made": made,
        "secret": made.secret if made else "",
        "endpoints": WebhookEndpoint.objects.visible_to(user).order_by("-pk"),
    }
    return TemplateResponse(request, "accounts/webhooks.html", context, status=status)


@require_GET
@signed_in
def detail(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """One webhook and what was sent to it, newest first."""
    endpoint = _endpoint(request, uid)
    sent = endpoint.messages.order_by("-created_at", "-pk")
    context = {
        "section": "webhooks",
        "endpoint": endpoint,
        "page": Paginator(sent, MESSAGES_PER_PAGE).get_page(request.GET.get("page")),
        "all_events": outbox.EVENTS,
    }
    return TemplateResponse(request, "accounts/webhook.html", context)


@require_POST
@signed_in
def ping(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Send it a message that means nothing."""
    endpoint = _endpoint(request, uid)
    webhooks.ping(endpoint)
    messages.info(request, _("A test is on its way. Its line below says whether it arrived."))
    return redirect("batches:webhook", endpoint.uid)


@require_POST
@signed_in
def switch_on(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Go on with one that was given up."""
    endpoint = _endpoint(request, uid)
    if webhooks.switch_on(endpoint):
        messages.success(request, _("It is told again from now on."))
    return redirect("batches:webhook", endpoint.uid)


@require_POST
@signed_in
def remove(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Tell it nothing more; twice is no mistake."""
    if endpoint := WebhookEndpoint.objects.visible_to(user_of(request)).filter(uid=uid).first():
        webhooks.remove(endpoint)
        messages.success(request, _("The webhook is removed. Nothing more is sent to it."))
    return redirect("batches:webhooks")


@require_POST
@signed_in
def resend(request: HttpRequest, uid: UUID) -> HttpResponseBase:
    """Send a message once more."""
    own = WebhookMessage.objects.filter(endpoint__owner=user_of(request))
    message = get_object_or_404(own.select_related("endpoint"), uid=uid)
    if webhooks.resend(message):
        messages.info(request, _("It is on its way once more, under its own id."))
    else:
        messages.info(request, _("It is on its way already."))
    return redirect("batches:webhook", message.endpoint.uid if message.endpoint else uid)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
@seeing.hidden
def renew_secret(request: HttpRequest) -> HttpResponseBase:
    """The secret of addresses that single batches name: shown when asked for, or made anew."""
    user = user_of(request)
    if request.method == "POST":
        secret = webhooks.renew_default_secret(user)
        messages.success(request, _("There is a new secret. What is sent from now on carries it."))
    else:
        secret = webhooks.default_secret(user)
    context = {"section": "webhooks", "secret": secret}
    return TemplateResponse(request, "accounts/webhook_secret.html", context)


def _endpoint(request: HttpRequest, uid: UUID) -> WebhookEndpoint:
    return get_object_or_404(WebhookEndpoint.objects.visible_to(user_of(request)), uid=uid)
