"""When what is done by the clock was done last."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class ScheduledRun(models.Model):
    """The last run of one chore. Schedulers claim a run here, so that two of them run it once."""

    name = models.CharField(_("name"), max_length=40, unique=True)
    begun_at = models.DateTimeField(_("begun"), null=True)
    """When somebody claimed it; whoever sees another time here was too late."""
    ended_at = models.DateTimeField(_("ended"), null=True)
    """Nothing while it runs, or where whoever ran it was killed."""
    is_well = models.BooleanField(_("well"), null=True)
    line = models.TextField(_("what it said"), blank=True)
    told = models.JSONField(default=list, db_default=[], editable=False)
    """Digests of what it has found broken and the site's operators know: see `studio.findings`."""

    class Meta:
        verbose_name = _("scheduled run")
        verbose_name_plural = _("scheduled runs")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name
