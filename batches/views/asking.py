"""Who asks for a page, and for what: the first lines of every view."""

import json
from collections.abc import Callable
from functools import wraps
from typing import Any, cast
from uuid import UUID

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponseBase, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails

from accounts.models import User
from batches import pricing
from batches.models import Batch
from tools import registry, words
from tools.base import Tool

View = Callable[..., HttpResponseBase]


def signed_in(view: View) -> View:
    """Ask strangers to sign in, and bring them back; also where only a part of a page is asked."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated:
            return view(request, *args, **kwargs)
        if htmx := htmx_of(request):
            back = htmx.current_url_abs_path or reverse("home")
            return HttpResponseClientRedirect(redirect_to_login(back).url)
        return redirect_to_login(request.get_full_path())

    return checked


def signed_in_script(view: View) -> View:
    """Tell scripts of strangers to sign in; a redirect would hand them a page."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated:
            return view(request, *args, **kwargs)
        return refusal(401, "not_authenticated", _("Sign in first."))

    return checked


def by_script(request: HttpRequest) -> bool:
    """Whether a script asks: no form sends this header."""
    return "X-CSRFToken" in request.headers


def refusal(status: int, code: str, message: str, **more: Any) -> JsonResponse:
    """What a script is told when it can't have what it asks for."""
    return JsonResponse({"code": code, "message": message, **more}, status=status)


def json_of(request: HttpRequest) -> dict[str, Any]:
    """The JSON object that a script has sent. Raises `BadRequest` for anything else."""
    try:
        found = json.loads(request.body)
    except ValueError as error:
        raise BadRequest("no JSON") from error
    if not isinstance(found, dict):
        raise BadRequest("no JSON object")
    return found


def htmx_of(request: HttpRequest) -> HtmxDetails:
    """What htmx says about its request; false when it made none."""
    details: HtmxDetails = request.htmx  # type: ignore[attr-defined]
    return details


def user_of(request: HttpRequest) -> User:
    """Whoever is signed in; only for views that strangers can't reach."""
    return cast("User", request.user)


def tool_or_404(request: HttpRequest, slug: str) -> Tool:
    """The tool of this slug, on the terms of whoever asks."""
    try:
        tool = registry.get(slug)
    except registry.UnknownTool:
        raise Http404 from None
    return pricing.offered(tool, whoever(request))


def whoever(request: HttpRequest) -> User | None:
    """Whoever is signed in; nobody for strangers."""
    return request.user if isinstance(request.user, User) else None


def tool_name(batch: Batch) -> str:
    """The name of the batch's tool; its slug when the tool is gone."""
    return words.name_of(batch.tool)


def batch_or_404(request: HttpRequest, uid: UUID) -> Batch:
    """One of the asking person's own batches."""
    return get_object_or_404(Batch.objects.visible_to(user_of(request)), uid=uid)


def whole_number(text: str | None) -> int:
    """The number of a page in an address; 1 for whatever is none."""
    try:
        return int(text or 1)
    except ValueError:
        return 1
