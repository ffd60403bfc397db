"""What all views of the HTTP API share: how bodies are read, and how often one may ask.

REST framework imports this module while it defines its views, so they can't be imported here.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import IO, TYPE_CHECKING, Any, NoReturn

from django.conf import settings
from django.utils.translation import gettext as _
from rest_framework.exceptions import APIException, ParseError, Throttled, ValidationError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.permissions import SAFE_METHODS
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from accounts import limits, plans
from accounts.models import ApiKey
from accounts.seeing import SIGHT
from studio.middleware import RATE_LIMIT

if TYPE_CHECKING:
    from rest_framework.views import APIView

_ESCAPED_NONTEXT = re.compile(r"\\u(?:0000|d[89a-f])", re.IGNORECASE)
"""Escapes that may stand for NUL or for half a character, which no database takes as text."""


class BodyTooLarge(APIException):
    """More JSON than a request may hold."""

    status_code = 413
    default_code = "file_too_large"


class JsonParser(BaseParser):
    """JSON in UTF-8 and nothing else, of a bounded length, without ``NaN`` and its kin."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,  # noqa: ARG002
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """The value in the body.

        Raises `BodyTooLarge` (413), `ParseError` (400) for what is no JSON, and `ValidationError`
        (422) for JSON with a text in it that is none.
        """
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        length = (parser_context or {})["request"].META.get("CONTENT_LENGTH") or 0
        if int(length) > most:
            raise BodyTooLarge(
                _("The request has {size} bytes; the limit is {limit}. Send fewer images.").format(
                    size=length, limit=most
                )
            )
        try:
            text = stream.read().decode()
            value = json.loads(text, parse_constant=_refuse_constant)
            wrong = _nontext(value) if _ESCAPED_NONTEXT.search(text) else None
        except ValueError as error:
            raise ParseError(_("This is not JSON in UTF-8: {error}").format(error=error)) from None
        except RecursionError:
            raise ParseError(_("This JSON is nested too deeply.")) from None
        if wrong:
            raise ValidationError(wrong, code="not_text")
        return value


class JsonAlways(BaseContentNegotiation):
    """Everybody gets what a view has, whatever their ``Accept`` says.

    A browser that asks for ``image/*`` must get its file, and a refusal that can't be
    negotiated would hide the one that matters.
    """

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        """The parser of the body's type; None makes the answer a 415."""
        sent = (request.content_type or "").split(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == sent), None)

    def select_renderer(
        self,
        request: Request,  # noqa: ARG002
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,  # noqa: ARG002
    ) -> tuple[BaseRenderer, str]:
        """The first renderer."""
        renderer = next(iter(renderers))
        return renderer, str(renderer.media_type)


class HourlyLimit(BaseThrottle):
    """So many reads and so many writes in each full hour, as the plan says.

    Counted for each key, for each person who is signed in, and for strangers by network. The
    counts live in Valkey, so that all web processes share them. When Valkey is away nobody is
    counted and everybody is let in.
    """

    def __init__(self) -> None:
        self._reset = 0

    def allow_request(self, request: Request, view: "APIView") -> bool:  # noqa: ARG002
        """Count the request; False when it is one too many (429)."""
        user = request.user
        plan = plans.plan_for(user) if user.is_authenticated else plans.STANDARD
        if request.method in SAFE_METHODS:
            what, limit = "reads", plan.api_reads_per_hour
        else:
            what, limit = "writes", plan.api_writes_per_hour
        counted = limits.count(what, _who(request))
        if counted is None:
            return True
        self._reset = counted.reset
        # On Django's request, where `RateLimitMiddleware` finds it.
        told = {"Limit": limit, "Remaining": max(limit - counted.tries, 0), "Reset": counted.reset}
        setattr(request._request, RATE_LIMIT, told)
        return counted.tries <= limit

    def wait(self) -> float:
        """Seconds until the next hour begins."""
        return float(self._reset)


def count_refused(request: Request, view: "APIView") -> Throttled | None:
    """Count a request that was refused before REST framework would; the 429 of one too many.

    Else strangers could try keys without a limit.
    """
    if hasattr(request._request, RATE_LIMIT):
        return None
    limit = HourlyLimit()
    return None if limit.allow_request(request, view) else Throttled(limit.wait())


def _who(request: Request) -> str:
    """Whose requests are counted together."""
    if isinstance(request.auth, ApiKey):
        return f"key:{request.auth.pk}"
    if sight := getattr(request._request, SIGHT, None):
        return f"user:{sight.actor.pk}"  # a look of staff's is none of the user's
    if request.user.is_authenticated:
        return f"user:{request.user.pk}"
    return f"network:{limits.network_of(request._request)}"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _nontext(value: Any) -> Any:
    """What is wrong with the texts in a value, in the value's own shape; empty when nothing is.

    Of a name that is no text, the whole that it stands in is told.
    """
    if isinstance(value, str):
        # A half of a surrogate pair is no character; with its other half it has become one.
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            return [_("Leave out NUL and halves of characters: no text can hold them.")]
    elif isinstance(value, dict):
        if wrong := next(filter(None, map(_nontext, value)), None):
            return wrong
        return {name: wrong for name, inner in value.items() if (wrong := _nontext(inner))}
    elif isinstance(value, list):
        found = ((number, _nontext(inner)) for number, inner in enumerate(value))
        return {number: wrong for number, wrong in found if wrong}
    return None
