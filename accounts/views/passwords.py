"""A forgotten password, and a new one."""

from typing import Any

from django.contrib import messages
from django.contrib.auth import views as django_views
from django.contrib.auth.tokens import default_token_generator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse_lazy
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from accounts import addresses, mail
from accounts.forms import PasswordChangeForm, PasswordResetForm, SetPasswordForm
from accounts.limits import Limit, network_of
from accounts.models import User
from accounts.views.asking import user_of
from accounts.views.proving import PASSWORDS_BY_PERSON

RESETS_BY_ADDRESS = Limit(what="reset-address", most=5)
RESETS_BY_NETWORK = Limit(what="reset-network", most=30)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def reset(request: HttpRequest) -> HttpResponse:
    """Send a link to whoever has an account; the answer is the same for all."""
    form = PasswordResetForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        address = form.cleaned_data["email"]
        RESETS_BY_NETWORK.take(network_of(request))
        RESETS_BY_ADDRESS.take(address)
        # Also without a password: whoever has the mailbox may set the first one.
        if user := User.objects.filter(email=address, is_active=True).first():
            mail.send(
                "reset",
                user.email,
                uid=urlsafe_base64_encode(force_bytes(user.pk)),
                token=default_token_generator.make_token(user),
            )
        return redirect("accounts:password_reset_sent")
    status = 422 if form.is_bound else 200
    return TemplateResponse(request, "accounts/password_reset.html", {"form": form}, status=status)


@require_GET
def reset_sent(request: HttpRequest) -> HttpResponse:
    """Where to look."""
    return TemplateResponse(
        request, "accounts/password_reset_sent.html", {"filed": mail.is_filed()}
    )


class ChooseView(django_views.PasswordResetConfirmView):
    """Choose a new password by the link of a mail: once, and only for some days."""

    template_name = "accounts/password_choose.html"
    form_class = SetPasswordForm
    success_url = reverse_lazy("accounts:login")

    def form_valid(self, form: Any) -> HttpResponse:
        """Every session of the account ends with its old password."""
        answer = super().form_valid(form)
        addresses.confirm_by_reset(form.user)
        messages.success(self.request, _("Your password is changed. Sign in with the new one."))
        return answer


class ChangeView(django_views.PasswordChangeView):
    """Choose a new password, knowing the old one. Other browsers are signed out by it."""

    template_name = "accounts/password_change.html"
    form_class = PasswordChangeForm
    success_url = reverse_lazy("accounts:home")
    extra_context = {"section": "account"}

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """A borrowed browser does not get to guess for long."""
        PASSWORDS_BY_PERSON.take(str(user_of(request).uid))
        return super().post(request, *args, **kwargs)

    def form_valid(self, form: Any) -> HttpResponse:
        """Say what happened."""
        PASSWORDS_BY_PERSON.give_back(str(form.user.uid))
        answer = super().form_valid(form)
        messages.success(
            self.request, _("Your password is changed. Other browsers were signed out.")
        )
        return answer


choose = ChooseView.as_view()
change = ChangeView.as_view()
