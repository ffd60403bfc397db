"""What a request may be refused with, in words."""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A code that a problem may carry, or an image that failed."""

    status: int
    code: str
    text: str | Promise


REFUSALS = [
    Refusal(status=status, code=code, text=text)
    for status, code, text in (
        (400, "parse_error", _("The body is no JSON in UTF-8.")),
        (400, "bad_request", _("The request can't be read at all.")),
        (401, "not_authenticated", _("No key was sent, or it is of no use any more.")),
        (
            402,
            "insufficient_credits",
            _("Too few credits: “required” and “available” say how many."),
        ),
        (403, "api_not_enabled", _("The account's plan does not include the API.")),
        (403, "scope_missing", _("The key lacks the scope that “scope” names.")),
        (
            403,
            "batch_limit_exceeded",
            _("More images than the account may run at once."),
        ),
        (403, "permission_denied", _("You may not do this.")),
        (404, "not_found", _("There is no such thing, or it is somebody else's.")),
        (405, "method_not_allowed", _("The address exists, but not for this method.")),
        (409, "state_conflict", _("The batch is in a state that doesn't allow this.")),
        (
            409,
            "idempotency_in_flight",
            _("The first request with this Idempotency-Key is still running."),
        ),
        (413, "file_too_large", _("A file above 20 MiB, or a body that is too long.")),
        (415, "format_unsupported", _("No picture that we read, or no such body.")),
        (422, "validation_failed", _("“errors” says what is wrong, and where.")),
        (422, "tool_unavailable", _("The tool can't run on this site.")),
        (
            422,
            "idempotency_mismatch",
            _("The Idempotency-Key was sent before with another request."),
        ),
        (429, "rate_limited", _("Too many requests. “Retry-After” says how long.")),
        (500, "internal_error", _("Our fault; “request_id” helps us to find it.")),
        (503, "unavailable", _("Something is away. “Retry-After” says how long.")),
    )
]
"""What a request may be refused with. None of them costs credits."""
