"""Coming in and going out: sign up, sign in, sign out."""

from typing import Any

from django.contrib.auth.views import LoginView, LogoutView
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods

from accounts import addresses, mail
from accounts.forms import EmailAuthenticationForm, SignUpForm
from accounts.limits import Limit, network_of
from accounts.models import normal_email

QUARTER = 15 * 60
WRONG_BY_ADDRESS = Limit(what="sign-in-address", most=10, period=QUARTER)
WRONG_BY_NETWORK = Limit(what="sign-in-network", most=60, period=QUARTER)
SIGN_UPS_BY_ADDRESS = Limit(what="sign-up-address", most=5)
SIGN_UPS_BY_NETWORK = Limit(what="sign-up-network", most=30)

SIGNED_UP = "signed_up_as"
"""In the session: to which address the page after signing up says that a mail went."""


class SignInView(LoginView):
    """Sign in; so many wrong passwords for one address or from one network, then a pause."""

    template_name = "accounts/login.html"
    authentication_form = EmailAuthenticationForm
    redirect_authenticated_user = True

    @method_decorator(sensitive_post_parameters())
    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Count first, then look: guesses that arrive together are counted as well."""
        self._tries = [
            (WRONG_BY_NETWORK, network_of(request)),
            (WRONG_BY_ADDRESS, normal_email(request.POST.get("username", ""))),
        ]
        for limit, who in self._tries:
            limit.take(who)
        return super().post(request, *args, **kwargs)

    def form_valid(self, form: Any) -> HttpResponse:
        """The right person: the tries were none."""
        for limit, who in self._tries:
            limit.give_back(who)
        return super().form_valid(form)


sign_in = SignInView.as_view()
sign_out = LogoutView.as_view()


@sensitive_post_parameters("password")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_up(request: HttpRequest) -> HttpResponse:
    """An address and a password; whatever the address, the answer is to look into its mail."""
    if request.user.is_authenticated:
        return redirect("home")
    form = SignUpForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return _signed_up(request, form)
    back = request.POST.get("next") or request.GET.get("next", "")
    context = {"form": form, "next": back}
    status = 422 if form.is_bound else 200
    return TemplateResponse(request, "accounts/sign_up.html", context, status=status)


def _signed_up(request: HttpRequest, form: Form) -> HttpResponseRedirect:
    email = form.cleaned_data["email"]
    SIGN_UPS_BY_NETWORK.take(network_of(request))
    SIGN_UPS_BY_ADDRESS.take(email)
    addresses.sign_up(email, form.cleaned_data["password"])
    request.session[SIGNED_UP] = email
    target = reverse("accounts:signed_up")
    if back := request.POST.get("next"):
        target += f"?{urlencode({'next': back})}"
    return redirect(target)


@never_cache
@require_GET
def signed_up(request: HttpRequest) -> HttpResponse:
    """Where to look for the mail."""
    email = request.session.get(SIGNED_UP)
    if not email:
        return redirect("accounts:sign_up")
    # The sign-in page judges `next` before it sends anybody there.
    context = {"email": email, "filed": mail.is_filed(), "next": request.GET.get("next", "")}
    return TemplateResponse(request, "accounts/signed_up.html", context)
