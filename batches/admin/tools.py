"""Tools in the admin: on or off, and at which price, for everybody or for one plan."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminSelectWidget

from accounts.recorded import RecordedAdmin
from batches import pricing
from batches.models import ToolRule
from tools import registry
from tools.words import name_of


class ToolRuleForm(forms.ModelForm):
    """A rule for one of the tools that there are."""

    class Meta:
        """All of it."""

        model = ToolRule
        fields = ("tool", "plan", "is_on", "percent", "note")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(tool.slug, str(tool.name)) for tool in registry.all()]
        self.fields["tool"] = forms.ChoiceField(
            label=_("Tool"), choices=choices, widget=UnfoldAdminSelectWidget
        )

    def clean(self) -> dict[str, Any]:
        """One rule for a tool and a plan: the database says so, too, but not in words."""
        cleaned: dict[str, Any] = super().clean() or {}
        others = ToolRule.objects.filter(tool=cleaned.get("tool"), plan=cleaned.get("plan"))
        if others.exclude(pk=self.instance.pk).exists():
            self.add_error("tool", _("There is a rule for this tool and plan already. Change it."))
        return cleaned


@admin.register(ToolRule)
class ToolRuleAdmin(RecordedAdmin):
    """Rules count within ten seconds. Batches that have been made keep their price."""

    form = ToolRuleForm
    list_display = ("tool_name", "plan", "is_on", "percent", "own_price", "charged", "note")
    list_filter = ("is_on", "plan")
    list_select_related = ("plan",)
    search_fields = ("tool", "note")
    ordering = ("tool", "plan_id")

    @admin.display(description=_("tool"), ordering="tool")
    def tool_name(self, rule: ToolRule) -> str:
        """What people call it."""
        return name_of(rule.tool)

    @admin.display(description=_("own price"))
    def own_price(self, rule: ToolRule) -> str:
        """Credits for an image with the tool's usual settings, without any rule."""
        price = _price(rule)
        return "-" if price is None else str(price)

    @admin.display(description=_("charged"))
    def charged(self, rule: ToolRule) -> str:
        """The same with this rule."""
        price = _price(rule)
        return "-" if price is None else str(pricing.charged(price, rule.percent))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:  # noqa: ARG002
        """The prices, to look at, once there is a rule."""
        return ("own_price", "charged") if obj else ()

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """The form, and what comes of it."""
        return ("tool", "plan", "is_on", "percent", *self.get_readonly_fields(request, obj), "note")


def _price(rule: ToolRule) -> int | None:
    try:
        tool = registry.get(rule.tool)
    except registry.UnknownTool:
        return None
    return tool.max_price(tool.defaults())
