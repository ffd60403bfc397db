"""What staff says about tools: on or off, and at which price. `batches.pricing` reads it."""

from django.core.validators import MaxValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Plan


class ToolRule(models.Model):
    """One tool on one plan, or on all plans that have no rule of their own."""

    tool = models.SlugField(_("tool"))
    """Checked against the registry on the way in, as with batches."""
    plan = models.ForeignKey(
        Plan,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="tool_rules",
        verbose_name=_("plan"),
        help_text=_("Empty: all plans that have no rule of their own for this tool."),
    )
    is_on = models.BooleanField(_("on"), default=True)
    percent = models.PositiveSmallIntegerField(
        _("price, in per cent"),
        default=100,
        validators=[MaxValueValidator(1000)],
        help_text=_("Of the tool's own price; whole credits, rounded up. 0 is free."),
    )
    note = models.CharField(
        _("note"), max_length=200, blank=True, help_text=_("Why it is off, for people to read.")
    )

    class Meta:
        verbose_name = _("tool rule")
        verbose_name_plural = _("tool rules")
        constraints = [
            models.UniqueConstraint(fields=["tool", "plan"], name="one_rule_per_tool_and_plan"),
            models.UniqueConstraint(
                fields=["tool"], condition=models.Q(plan=None), name="one_rule_per_tool"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tool} ({self.plan or '*'})"
