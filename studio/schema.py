"""The OpenAPI document of the HTTP API."""

from functools import cache
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class SchemaView(APIView):
    """``GET schema``: the OpenAPI document, open to everybody."""

    permission_classes = [AllowAny]

    @extend_schema(exclude=True)
    def get(self, _request: Request) -> Response:
        """The document as JSON."""
        return Response(openapi_document())


@cache
def openapi_document() -> dict[str, Any]:
    """The OpenAPI description of this version of the API; it changes only with the code."""
    from drf_spectacular.generators import SchemaGenerator  # it brings a test client along

    document: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return document
