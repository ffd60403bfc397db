"""Links from mails, and the pages that send them."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from accounts import addresses, links, mail
from accounts.forms import MoveForm
from accounts.limits import Limit, network_of
from accounts.views.asking import user_of

MAILS_BY_PERSON = Limit(what="confirm-mails", most=5)
PASSWORDS_BY_PERSON = Limit(what="passwords", most=10)
LINKS_BY_NETWORK = Limit(what="mail-links", most=100)


@login_required
@require_POST
def send_again(request: HttpRequest) -> HttpResponse:
    """Send the link once more, to whoever has not used it."""
    user = user_of(request)
    if user.email_verified_at is None:
        MAILS_BY_PERSON.take(str(user.uid))
        if addresses.send_confirmation(user):
            messages.success(request, _("We sent the link again. Look into your mail."))
        else:
            messages.error(request, _("The mail could not be sent. Try again in some minutes."))
    return redirect("accounts:home")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def confirm(request: HttpRequest, token: str) -> HttpResponse:
    """Prove the address. Opening the link changes nothing: mail scanners open links too."""
    LINKS_BY_NETWORK.take(network_of(request))
    proof = links.read(token, purpose=links.CONFIRM)
    if proof is None:
        return _spent(request)
    if request.method == "POST":
        if not addresses.confirm(proof.user):
            return _spent(request)
        messages.success(request, _("Thank you, your address is confirmed."))
        return redirect("home" if request.user.is_authenticated else "accounts:login")
    return TemplateResponse(request, "accounts/confirm.html", {"proof": proof})


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def move(request: HttpRequest, token: str) -> HttpResponse:
    """Take the new address, which the link has proved."""
    LINKS_BY_NETWORK.take(network_of(request))
    proof = links.read(token, purpose=links.MOVE)
    if proof is None:
        return _spent(request)
    if request.method == "POST":
        try:
            if not addresses.move(proof.user, proof.address):
                return _spent(request)
        except addresses.AddressTaken:
            messages.error(
                request,
                _("There is another account with this address by now. Yours keeps its old one."),
            )
        else:
            messages.success(request, _("Your address is changed."))
        return redirect("accounts:home" if request.user.is_authenticated else "accounts:login")
    return TemplateResponse(request, "accounts/move.html", {"proof": proof})


@sensitive_post_parameters("password")
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def email(request: HttpRequest) -> HttpResponse:
    """Ask for another address; a link to it makes the change."""
    user = user_of(request)
    if request.method == "POST":
        PASSWORDS_BY_PERSON.take(str(user.uid))
    form = MoveForm(request.POST or None, user=user)
    if request.method == "POST" and form.is_valid():
        PASSWORDS_BY_PERSON.give_back(str(user.uid))
        MAILS_BY_PERSON.take(str(user.uid))
        addresses.ask_to_move(user, form.cleaned_data["email"])
        text = _("We sent a link to {address}. Your address changes when you open it.")
        messages.success(request, text.format(address=form.cleaned_data["email"]))
        return redirect("accounts:home")
    context = {"form": form, "section": "account", "filed": mail.is_filed()}
    status = 422 if form.is_bound else 200
    return TemplateResponse(request, "accounts/email.html", context, status=status)


def _spent(request: HttpRequest) -> HttpResponse:
    """One answer for links that are forged, old or used: it helps in all three cases."""
    return TemplateResponse(request, "accounts/spent.html", status=410)
