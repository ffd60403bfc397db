"""The HTTP API of tools: what there is, what it costs whoever asks, which settings it takes.

Open to everybody: a client can learn the settings before it has a key.
"""

from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import api_view, permission_classes
from rest_framework.exceptions import NotFound
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import User
from batches import pricing
from tools import registry
from tools.serializers import ToolListSerializer, ToolSerializer


@extend_schema(operation_id="tools_list", responses=ToolListSerializer)
@api_view(["GET"])
@permission_classes([AllowAny])
def tools(request: Request) -> Response:
    """Every tool, in the shape that all lists have."""
    found = [ToolSerializer(pricing.offered(tool, _owner(request))).data for tool in registry.all()]
    return Response({"next": None, "previous": None, "results": found})


@extend_schema(operation_id="tools_read", responses=ToolSerializer)
@api_view(["GET"])
@permission_classes([AllowAny])
def tool(request: Request, slug: str) -> Response:
    """One tool."""
    try:
        found = registry.get(slug)
    except registry.UnknownTool:
        raise NotFound(_("There is no tool called {slug}.").format(slug=slug)) from None
    return Response(ToolSerializer(pricing.offered(found, _owner(request))).data)


def _owner(request: Request) -> User | None:
    return request.user if isinstance(request.user, User) else None
