"""Deleting one's account. It lives here because it takes batches and images along."""

from django.contrib import messages
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from accounts.forms import PasswordAgain
from accounts.models import User
from accounts.views.proving import PASSWORDS_BY_PERSON
from batches import erasure
from batches.views.asking import signed_in, user_of


@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def leave(request: HttpRequest) -> HttpResponseBase:
    """Say what will be lost; with the password, do it."""
    user, now = user_of(request), timezone.now()
    if request.method == "POST":
        PASSWORDS_BY_PERSON.take(str(user.uid))
    form = PasswordAgain(request.POST or None, user=user)
    if request.method == "POST" and form.is_valid():
        PASSWORDS_BY_PERSON.give_back(str(user.uid))
        if not _is_last_superuser(user):
            done = erasure.leave(user, now=now)
            logout(request)
            messages.success(request, _farewell(done))
            return redirect("home")
        form.add_error(
            None,
            _("Nobody else may run this site. Give somebody else the right first, in the admin."),
        )
    context = {
        "section": "account",
        "form": form,
        "losses": erasure.losses(user, now=now),
    }
    status = 422 if form.is_bound else 200
    return TemplateResponse(request, "accounts/leave.html", context, status=status)


def _farewell(done: bool) -> str:
    if done:
        return _("Your account is deleted, with all images and results. Goodbye!")
    return _("Your account is closed. The last of your images go in the next minutes. Goodbye!")


def _is_last_superuser(user: User) -> bool:
    others = User.objects.filter(is_superuser=True, is_active=True).exclude(pk=user.pk)
    return user.is_superuser and not others.exists()
