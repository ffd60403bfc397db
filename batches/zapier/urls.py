"""Addresses below ``/api/`` that clients of Sirv AI Studio know."""

from django.urls import path

from batches.zapier import api, hooks
from batches.zapier.table import BATCH_DOORS, DOORS

app_name = "zapier"
urlpatterns = [
    path("zapier/me", api.MeView.as_view(), name="me"),
    path("zapier/upload", api.UploadView.as_view(), name="upload"),
    *(
        path(f"zapier/{name}", api.ToolView.as_view(door=door), name=name)
        for name, door in DOORS.items()
    ),
    *(
        path(f"zapier/batch/{name}", api.BatchView.as_view(door=DOORS[name]), name=f"batch-{name}")
        for name in BATCH_DOORS
    ),
    path("zapier/batch/status/<uuid:uid>", api.StatusView.as_view(), name="status"),
    path("webhooks", hooks.HooksView.as_view(), name="webhooks"),
    path("webhooks/<uuid:uid>", hooks.HookView.as_view(), name="webhook"),
    path("zapier/<path:path>", api.NoDoorView.as_view(), name="no-door"),
]
