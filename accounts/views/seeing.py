"""The way back from seeing the site as a user."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounts import seeing


@login_required
@require_POST
def stop(request: HttpRequest) -> HttpResponseBase:
    """See the site as oneself again; twice is no mistake."""
    target = seeing.end(request, why=_("stopped"))
    if target is None:
        return redirect("home")
    messages.success(request, _("You see the site as yourself again."))
    if request.user.has_perm("accounts.view_user"):
        return redirect("admin:accounts_user_change", target.pk)
    return redirect("admin:index")
