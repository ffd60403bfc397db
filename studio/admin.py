"""What the clock did last, for staff to read."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from accounts.lists import DiscreetAdmin
from studio.models import ScheduledRun


@admin.register(ScheduledRun)
class ScheduledRunAdmin(DiscreetAdmin):
    """Each chore's last run. The schedule writes here, and nobody else."""

    list_display = ("name", "is_well", "begun_at", "ended_at", "line")
    list_filter = ("is_well",)

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """No."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """No."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """No."""
        return False
