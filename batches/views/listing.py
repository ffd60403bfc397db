"""The list of batches."""

from django.core.paginator import Paginator
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from batches import progress
from batches.models import Batch
from batches.views import wording
from batches.views.asking import signed_in, tool_name, user_of

BATCHES_PER_PAGE = 25


@require_GET
@signed_in
def index(request: HttpRequest) -> TemplateResponse:
    """One's own batches, newest first."""
    own = Batch.objects.visible_to(user_of(request)).many().order_by("-created_at", "-pk")
    page = Paginator(own, BATCHES_PER_PAGE).get_page(request.GET.get("page"))
    now = timezone.now()
    looks = progress.of_many(list(page.object_list), now=None)
    rows = []
    for batch in page.object_list:
        look = looks[batch.pk]
        rows.append(
            {
                "batch": batch,
                "age": wording.age(batch, now=now),
                "tool": tool_name(batch),
                "headline": wording.headline(batch, look),
                "progress": look,
            }
        )
    return TemplateResponse(
        request, "batches/index.html", {"here": "batches", "page": page, "rows": rows}
    )
