"""API keys: see them, make one, end one."""

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from accounts.forms import KeyForm
from accounts.models import ApiKey, create_key
from accounts.views.asking import user_of

MOST_KEYS = 50
"""That work at the same time; nobody can look after more."""
ENDED_SHOWN = 20


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def index(request: HttpRequest) -> HttpResponse:
    """The list and the form. The answer to the form shows the secret, this once.

    The browser keeps no page of somebody who is signed in, and so not the secret either.
    """
    user, now = user_of(request), timezone.now()
    form = KeyForm(request.POST or None)
    made, secret, status = None, "", 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            if ApiKey.objects.usable(now=now).filter(user=user).count() >= MOST_KEYS:
                text = _("You have {most} keys. Revoke one that you no longer need.")
                form.add_error(None, text.format(most=MOST_KEYS))
            else:
                made, secret = create_key(
                    user,
                    name=form.cleaned_data["name"],
                    scopes=form.cleaned_data["scopes"],
                    expires_at=form.expires_at(now=now),
                )
                form, status = KeyForm(), 201
    usable = list(ApiKey.objects.usable(now=now).filter(user=user).order_by("-pk"))
    ended = ApiKey.objects.filter(user=user).exclude(pk__in=[key.pk for key in usable])
    context = {
        "section": "keys",
        "form": form,
        "made": made,
        "secret": secret,
        "usable": usable,
        "ended": ended.order_by("-pk")[:ENDED_SHOWN],
        "api_url": f"{settings.SITE_URL.rstrip('/')}/api/v1",
    }
    return TemplateResponse(request, "accounts/keys.html", context, status=status)


@login_required
@require_POST
def revoke(request: HttpRequest, uid: UUID) -> HttpResponse:
    """End one of one's own keys, at once and for good; twice is no mistake."""
    own = ApiKey.objects.filter(user=user_of(request), uid=uid, revoked_at=None)
    if own.update(revoked_at=timezone.now()):
        messages.success(request, _("The key is revoked. Whoever uses it is refused from now on."))
    return redirect("accounts:keys")
