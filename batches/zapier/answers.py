"""How these doors refuse: `{"error": words, "code": CODE}`, by the site's own rules."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.plans import plan_for
from batches import messages
from batches.api import ChargingView, user_of
from batches.models import Item
from batches.states import ItemState

TRY_AGAIN_AFTER = 30
"""Seconds, where somebody else's service or a worker was what failed."""

_STATUS = {"insufficient_credits": 402, "file_too_large": 413, "format_unsupported": 415}
_OURS = {
    *("model_unavailable", "engine_unreachable", "engine_busy", "engine_uncertain"),
    *("engine_answer", "engine_budget", "worker_lost", "processing_failed"),
}
"""Why an image fails that is no fault of the image's or of the request's: 503."""

_GENERAL = {"row_invalid", "settings_invalid"}
"""Codes of rows that say no more than that something in them is wrong."""


class ApiNotEnabled(exceptions.PermissionDenied):
    """The account's plan has no API."""

    default_code = "api_not_enabled"
    default_detail = gettext_lazy("The API is not part of this account's plan. Change the plan.")


class ItemFailed(exceptions.APIException):
    """The image came to nothing, and nothing was charged."""

    def __init__(self, item: Item) -> None:
        if item.state == ItemState.CANCELLED:
            super().__init__(_("Somebody cancelled this image. Nothing was charged."), "cancelled")
            self.status_code = HTTPStatus.CONFLICT
            return
        super().__init__(item.error, item.error_code)
        self.status_code = refusal_status(item.error_code)
        if self.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            self.wait = TRY_AGAIN_AFTER


class SourceRefused(exceptions.APIException):
    """An address of ours that can't be worked on."""

    def __init__(self, code: str, params: Mapping[str, Any]) -> None:
        super().__init__(messages.text(code, params), code)
        self.status_code = refusal_status(code)


class TimedOut(exceptions.APIException):
    """The image was not done in the time that a client waits, and was cancelled."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    default_code = "timed_out"
    default_detail = gettext_lazy(
        "The image was not done in time and was cancelled. Nothing was charged. Try again later."
    )
    wait = TRY_AGAIN_AFTER


class NoPlaceToWait(exceptions.APIException):
    """As many calls wait as may."""

    status_code = HTTPStatus.TOO_MANY_REQUESTS
    default_code = "rate_limited"
    default_detail = gettext_lazy("Too many images are waited for just now. Try again in a moment.")
    wait = 5


def refusal_status(code: str) -> int:
    """The HTTP status for the code of an image that failed."""
    if code == "source_missing":
        return HTTPStatus.NOT_FOUND
    if code in _OURS:
        return HTTPStatus.SERVICE_UNAVAILABLE
    return _STATUS.get(code, HTTPStatus.UNPROCESSABLE_ENTITY)


class DoorView(ChargingView):
    """A view whose refusals have the other service's shape."""

    schema = None
    """Not in the OpenAPI document: docs/zapier.md tells what there is."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Let nobody in whose plan has no API."""
        super().initial(request, *args, **kwargs)
        if not plan_for(user_of(request)).api:
            raise ApiNotEnabled

    def get_exception_handler(self) -> Callable[..., Response]:
        """The site's own, with its answers in the other shape."""
        handle = super().get_exception_handler()

        def handle_here(error: Exception, context: dict[str, Any]) -> Response:
            response: Response = handle(error, context)
            response.data = self.refusal(response.data)
            response.content_type = None
            return response

        return handle_here

    def refusal(self, problem: Mapping[str, Any]) -> dict[str, str]:
        """A problem of the API's as a refusal of these doors.

        Of several things that are wrong the first is told, with the caller's name for its field.
        """
        told, code = problem["detail"], problem["code"]
        if wrong := problem.get("errors"):
            first = wrong[0]
            where = self.field_at(first["pointer"].split("/")[1:])
            told = f"{where}: {first['detail']}" if where else first["detail"]
            if first["code"] in messages.TEXTS and first["code"] not in _GENERAL:
                code = first["code"]
        return {"error": told, "code": code.upper()}

    def field_at(self, pointer: list[str]) -> str:
        """What callers call a place in their request."""
        return ".".join(pointer)
