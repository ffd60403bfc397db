"""How the HTTP API cuts lists into pages."""

from rest_framework.pagination import CursorPagination


class NewestFirst(CursorPagination):
    """Pages of ``{"next", "previous", "results"}``, newest first.

    Ordered by the primary key: it is unique, so no two rows share a place and nothing is
    shown twice or left out while new rows come in.
    """

    ordering = "-pk"
    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 500
