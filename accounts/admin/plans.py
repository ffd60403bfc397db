"""Plans in the admin."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts.models import Plan
from accounts.recorded import RecordedAdmin
from accounts.sizes import SizeField


class PlanForm(forms.ModelForm):
    """A plan's fields; its library in units for people."""

    library_bytes = SizeField(label=_("Library"), widget=UnfoldAdminTextInputWidget)

    class Meta:
        """All of them."""

        model = Plan
        fields = (
            "name", "slug", "is_default", "monthly_credits", "rollover_credits", "batch_images",
            "concurrent_batches", "library_bytes", "api", "api_reads_per_hour",
            "api_writes_per_hour",
        )  # fmt: skip

    def _get_validation_exclusions(self) -> set[str]:
        """Two defaults are no mistake here: saving takes the other one back."""
        return {*super()._get_validation_exclusions(), "is_default"}  # type: ignore[misc]

    def clean_is_default(self) -> bool:
        """The default is handed on, never dropped: everybody without a plan is on it."""
        is_default: bool = self.cleaned_data["is_default"]
        if self.initial.get("is_default") and not is_default:
            raise forms.ValidationError(
                _("Everybody without a plan is on this one. Make another plan the default instead.")
            )
        return is_default


@admin.register(Plan)
class PlanAdmin(RecordedAdmin):
    """Plans. What is changed counts for everybody within ten seconds."""

    form = PlanForm
    list_display = (
        "name", "is_default", "people", "monthly_credits", "rollover_credits", "batch_images",
        "concurrent_batches", "library", "api",
    )  # fmt: skip
    ordering = ("pk",)
    search_fields = ("name", "slug")
    fieldsets = (
        (None, {"fields": ("name", "slug", "is_default")}),
        (_("Credits"), {"fields": ("monthly_credits", "rollover_credits")}),
        (_("Batches"), {"fields": ("batch_images", "concurrent_batches", "library_bytes")}),
        (_("HTTP API"), {"fields": ("api", "api_reads_per_hour", "api_writes_per_hour")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        """Plans, with how many people are on each."""
        return super().get_queryset(request).annotate(_people=Count("users"))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only those that nobody is on, and never the default."""
        allowed = super().has_delete_permission(request, obj)
        return allowed and (obj is None or not (obj.is_default or obj.users.exists()))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """No deleting from the list: the page of a plan knows whether it may go."""
        actions: dict[str, Any] = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Store it; the new default takes the place of the old one in the same transaction."""
        with transaction.atomic():
            if obj.is_default:
                # In one order, all of them: two who hand the default on at once take turns.
                list(Plan.objects.order_by("pk").select_for_update().values_list("pk"))
                Plan.objects.filter(is_default=True).exclude(pk=obj.pk).update(is_default=False)
            super().save_model(request, obj, form, change)

    @admin.display(description=_("people"), ordering="_people")
    def people(self, plan: Any) -> str:
        """How many have it as their own; the default is also everybody's without one."""
        address = "../user/?plan__id__exact="
        return format_html('<a href="{}{}">{}</a>', address, plan.pk, plan._people)

    @admin.display(description=_("library"), ordering="library_bytes")
    def library(self, plan: Plan) -> str:
        """Its quota, in units for people."""
        return filesizeformat(plan.library_bytes)
