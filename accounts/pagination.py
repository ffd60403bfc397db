"""How the HTTP API cuts lists into pages."""

import re

from rest_framework.exceptions import NotFound
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
