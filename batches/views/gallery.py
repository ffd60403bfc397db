"""The start page."""

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.http import require_GET

from tools import registry


@require_GET
def home(request: HttpRequest) -> HttpResponseBase:
    """What this is, for strangers; the first tool for everybody else."""
    tools = list(registry.all())
    if request.user.is_authenticated and tools:
        return redirect("batches:new", tools[0].slug)
    return TemplateResponse(request, "studio/home.html", {"tools": tools})
