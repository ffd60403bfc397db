"""The account itself, and preferences."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import mail
from accounts.context_processors import THEMES
from accounts.forms import PreferencesForm
from accounts.models import Theme, User
from accounts.views.asking import user_of

YEAR = 365 * 24 * 3600


@login_required
@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """Address, password, and the way out."""
    context = {"section": "account", "filed": mail.is_filed()}
    return TemplateResponse(request, "accounts/home.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def preferences(request: HttpRequest) -> HttpResponse:
    """How the site looks, what it tells, and what results are by default."""
    user = user_of(request)
    # A copy: a form that is refused must not change what the rest of the page shows.
    form = PreferencesForm(
        request.POST or None,
        instance=User.objects.get(pk=user.pk),
        initial={"theme": user.theme or request.COOKIES.get("theme", Theme.SYSTEM)},
    )
    if request.method == "POST" and form.is_valid():
        chosen = form.save(commit=False)
        chosen.save(update_fields=list(form.fields))
        messages.success(request, _("Saved."))
        response = redirect("accounts:preferences")
        _remember(response, chosen.theme)
        return response
    context = {"form": form, "section": "preferences"}
    status = 422 if form.is_bound else 200
    return TemplateResponse(request, "accounts/preferences.html", context, status=status)


@login_required
@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Keep what the switch in the header chose; its script has changed the page already."""
    chosen = request.POST.get("theme", "")
    if chosen not in Theme.values:
        return HttpResponse(status=422)
    User.objects.filter(pk=user_of(request).pk).update(theme=chosen)
    response = HttpResponse(status=204)
    _remember(response, chosen)
    return response


def _remember(response: HttpResponse, theme: str) -> None:
    """Let this browser show the same colours after signing out."""
    if theme in THEMES:
        response.set_cookie("theme", theme, max_age=YEAR, samesite="Lax")
    else:
        response.delete_cookie("theme", samesite="Lax")
