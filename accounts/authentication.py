"""How the HTTP API knows who is asking: an API key, or else the browser's session."""

import hmac
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts.models import KEY_START, READ, RUN, SHOWN_CHARACTERS, ApiKey, User, digest_of
from accounts.plans import plan_for

if TYPE_CHECKING:
    from rest_framework.views import APIView  # which itself imports what the settings name here

USE_NOTED_EVERY = timedelta(minutes=1)
"""How exact ``last_used_at`` is; a write for every request would be a waste."""


class ScopeMissing(exceptions.PermissionDenied):
    """The key is good, but not for this."""

    default_code = "scope_missing"
    default_detail = _("This API key may not do that. Use a key that has the scope “{scope}”.")

    def __init__(self, scope: str) -> None:
        super().__init__(str(self.default_detail).format(scope=scope))
        self.extra = {"scope": scope}


class ApiNotEnabled(exceptions.PermissionDenied):
    """The key is good, but the plan of its account has no API."""

    default_code = "api_not_enabled"
    default_detail = _(
        "The plan of this account does not include the API, so its keys open nothing. "
        "Change the plan, or use the pages of this site."
    )


class ApiKeyAuthentication(BaseAuthentication):
    """``Authorization: Bearer sk_live_…``; whatever else is sent is left to the session.

    Unknown, revoked and expired keys, and keys of users who were switched off, get one and
    the same 401: who guesses keys learns nothing.
    """

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        """The key's user and the key, or None when no key was sent."""
        kind, _space, sent = get_authorization_header(request).partition(b" ")
        if kind.lower() != b"bearer":
            return None
        now = timezone.now()
        key = _find(sent.strip().decode("latin-1"), now=now)
        if key is None:
            raise exceptions.NotAuthenticated(
                _("This API key is unknown, revoked or expired. Use another key.")
            )
        _note_use(key, now=now)
        return key.user, key

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002
        """Named in ``WWW-Authenticate``; with it REST framework answers 401, not 403."""
        return 'Bearer realm="api"'


class HasScope(BasePermission):
    """Signed-in people may do what pages let them; keys need ``read``, or ``run`` to change."""

    def has_permission(self, request: Request, view: "APIView") -> bool:  # noqa: ARG002
        """False for strangers (401); raises a 403 for keys that fall short, and says why."""
        if not request.user.is_authenticated:
            return False
        if isinstance(request.auth, ApiKey):
            if not plan_for(request.user).api:
                raise ApiNotEnabled
            scope = READ if request.method in SAFE_METHODS else RUN
            if not request.auth.allows(scope):
                raise ScopeMissing(scope)
        return True


class ApiKeyScheme(OpenApiAuthenticationExtension):
    """Tells the OpenAPI document about the key."""

    target_class = ApiKeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ARG002
        """A bearer token in the words of OpenAPI."""
        return {"type": "http", "scheme": "bearer"}


def _find(secret: str, *, now: datetime) -> ApiKey | None:
    """The usable key with this secret; digests are compared in constant time."""
    digest = digest_of(secret)
    shown = secret[: len(KEY_START) + SHOWN_CHARACTERS]
    if "\0" in shown:  # PostgreSQL would refuse to look for it
        return None
    found = None
    for key in ApiKey.objects.usable(now=now).filter(prefix=shown).select_related("user"):
        if hmac.compare_digest(key.digest, digest):
            found = key
    return found


def _note_use(key: ApiKey, *, now: datetime) -> None:
    stale = now - USE_NOTED_EVERY
    if key.last_used_at is None or key.last_used_at <= stale:
        long_ago = Q(last_used_at=None) | Q(last_used_at__lte=stale)
        ApiKey.objects.filter(long_ago, pk=key.pk).update(last_used_at=now)
