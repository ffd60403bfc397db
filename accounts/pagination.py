"""How the HTTP API cuts lists into pages."""

import re
from typing import Any

from django.utils.translation import gettext as _
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request


class NewestFirst(CursorPagination):
    """Pages of ``{"next", "previous", "results"}``, newest first.

    Ordered by the primary key: it is unique, so no two rows share a place and nothing is
    shown twice or left out while new rows come in.
    """

    ordering = "-pk"
    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 500

    def decode_cursor(self, request: Request) -> Cursor | None:
        """Where to go on; raises ``NotFound`` for a place that can't be one of ours."""
        cursor = super().decode_cursor(request)
        place = cursor.position if cursor else None
        if place is not None and not re.fullmatch("[0-9]{1,18}", str(place)):
            raise NotFound(self.invalid_cursor_message)
        return cursor

    def get_page_size(self, request: Request) -> int:
        """How many are asked for, 500 at most; raises ``ValidationError`` for what is no number."""
        asked = request.query_params.get(self.page_size_query_param)
        if asked is None:
            return self.page_size
        if not re.fullmatch("0*[1-9][0-9]{0,8}", asked):
            raise ValidationError(
                {self.page_size_query_param: [_("Ask for a whole number of 1 to 500.")]}
            )
        return min(int(asked), self.max_page_size)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """The parameters, for the OpenAPI document."""
        parameters: list[dict[str, Any]] = super().get_schema_operation_parameters(view)
        for parameter in parameters:
            if parameter["name"] == self.page_size_query_param:
                parameter["schema"] |= {"minimum": 1, "default": self.page_size}
                parameter["description"] = _("Results per page. More than 500 means 500.")
        return parameters

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """A page in the words of OpenAPI; its members are always there."""
        page: dict[str, Any] = super().get_paginated_response_schema(schema)
        for name in ("next", "previous"):
            page["properties"][name] = {"type": ["string", "null"], "format": "uri"}
        return {**page, "required": list(page["properties"])}
