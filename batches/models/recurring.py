"""Batches that are made again and again: the set-up, its runs, and what has been seen."""

import uuid
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import Connection, User
from batches import messages
from batches.models.work import Batch, Item


class SourceKind(models.TextChoices):
    """Where the images of a schedule come from."""

    SHEET = "sheet", _("Spreadsheet")
    ACCOUNT = "account", _("Connected account")
    LIBRARY = "library", _("Library")


class RecurringQuerySet(models.QuerySet["Recurring"]):
    """Questions about schedules."""

    def visible_to(self, user: User) -> Self:
        """Those that belong to the user."""
        return self.filter(owner=user)


class Recurring(models.Model):
    """A set-up that makes a batch of what is new, by the clock."""

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="recurring")
    name = models.CharField(_("name"), max_length=200)
    tool = models.SlugField(_("tool"))
    """Checked against the registry on the way in, as with batches."""
    settings = models.JSONField(default=dict)
    kind = models.CharField(_("source"), max_length=8, choices=SourceKind.choices)
    source = models.JSONField(default=dict)
    """A sheet's `address`, `tab` and `mapping`; an account's `path` and whether what is below
    counts (`deep`); the uid of a library's `folder`, empty for all of it, and `deep`."""
    connection = models.ForeignKey(
        Connection, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    """Of an account; nothing once it was disconnected."""
    delivery = models.JSONField(default=dict, blank=True)
    """`to`, `connection` and `options` as `deliveries.judged` takes them; empty: nowhere."""
    pattern = models.CharField(max_length=255, blank=True)
    reuse = models.BooleanField(default=True)
    cap = models.PositiveBigIntegerField(_("cap for each run"), null=True, blank=True)
    """The most credits of one run; nothing for no cap."""
    month_cap = models.PositiveBigIntegerField(_("cap for each month"), null=True, blank=True)
    """The most credits of a calendar month in its zone."""
    cron = models.CharField(_("when"), max_length=100)
    zone = models.CharField(_("time zone"), max_length=64)
    is_on = models.BooleanField(_("on"), default=True)
    next_at = models.DateTimeField(_("next run"), null=True, blank=True)
    """Nothing while it is off."""
    failures = models.PositiveSmallIntegerField(_("failed runs in a row"), default=0)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = RecurringQuerySet.as_manager()

    class Meta:
        """The scheduler asks what is due, a page what is somebody's."""

        verbose_name = _("schedule")
        verbose_name_plural = _("schedules")
        indexes = [
            models.Index(fields=["next_at"], condition=Q(is_on=True), name="recurring_due"),
            models.Index(fields=["owner", "name"], name="recurring_by_owner"),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        """Its page, with what has become of its runs."""
        return reverse("batches:schedule", args=[self.uid])


class RunState(models.TextChoices):
    """What has become of a run."""

    RUNNING = "running", _("Running")
    FINISHED = "finished", _("Finished")
    NOTHING_NEW = "nothing_new", _("Nothing new")
    FAILED = "failed", _("Failed")
    SKIPPED = "skipped", _("Skipped")


class RecurringRun(models.Model):
    """One look at the source, and the batch of what was new there.

    `token` and `lease_until` are the claim of the worker that looks; with no token, `lease_until`
    is when its ring is taken for lost. Once there is a batch, the run ends with it.
    """

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    recurring = models.ForeignKey(Recurring, models.CASCADE, related_name="runs")
    due_at = models.DateTimeField(_("due"))
    state = models.CharField(
        _("state"), max_length=12, choices=RunState.choices, default=RunState.RUNNING
    )
    batch = models.ForeignKey(Batch, models.SET_NULL, null=True, blank=True, related_name="+")
    found = models.PositiveIntegerField(_("found"), default=0)
    new = models.PositiveIntegerField(_("new"), default=0)
    changed = models.PositiveIntegerField(_("changed"), default=0)
    unchanged = models.PositiveIntegerField(_("unchanged"), default=0)
    given_up = models.PositiveIntegerField(_("left out"), default=0)
    """Images that have failed so often that they are left alone until they change."""
    taken = models.PositiveIntegerField(_("taken"), default=0)
    """Of those that are new or changed: the others wait for the next run."""
    done = models.PositiveIntegerField(_("done"), default=0)
    failed = models.PositiveIntegerField(_("failed"), default=0)
    credits = models.PositiveBigIntegerField(_("credits"), default=0)
    error_code = models.CharField(max_length=40, blank=True)
    error_params = models.JSONField(default=dict, blank=True)
    has_paused = models.BooleanField(default=False)
    """Whether it was one failure too many, and its schedule was switched off."""
    tries = models.PositiveSmallIntegerField(default=0, editable=False)
    token = models.UUIDField(null=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    started_at = models.DateTimeField(null=True, editable=False)
    ended_at = models.DateTimeField(null=True, editable=False)
    told_at = models.DateTimeField(null=True, editable=False)
    """When its owner was told by e-mail that it failed."""

    class Meta:
        """Each time once, and one at a time."""

        verbose_name = _("run of a schedule")
        verbose_name_plural = _("runs of schedules")
        constraints = [
            models.UniqueConstraint(fields=["recurring", "due_at"], name="one_run_per_time"),
            models.UniqueConstraint(
                fields=["recurring"], condition=Q(state="running"), name="one_run_at_a_time"
            ),
        ]
        indexes = [
            models.Index(fields=["state"], condition=Q(state="running"), name="run_in_hand"),
            models.Index(
                fields=["ended_at"], condition=Q(state="failed", told_at=None), name="run_untold"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.recurring} {self.due_at:%Y-%m-%d %H:%M}"

    @property
    def waiting(self) -> int:
        """Images that are new or changed and wait for the next run."""
        return self.new + self.changed - self.taken

    @property
    def error(self) -> str:
        """What went wrong, for people; empty where nothing did."""
        return messages.text(self.error_code, self.error_params) if self.error_code else ""


class RecurringSeen(models.Model):
    """One thing of a source: what it was like when it was done last, and when it was tried last."""

    recurring = models.ForeignKey(Recurring, models.CASCADE, related_name="seen")
    key = models.CharField(max_length=64)
    """A digest of what it is known by: its path, its uid, its row's id or address."""
    mark = models.CharField(max_length=64, blank=True)
    """A digest of what it was like when it was done; empty while it never was."""
    tried = models.CharField(max_length=64)
    """The same when it was taken last."""
    tries = models.PositiveSmallIntegerField(default=0)
    """How often it failed as it was then."""
    item = models.ForeignKey(Item, models.SET_NULL, null=True, related_name="+")
    """What it was taken as last."""

    class Meta:
        """Each thing once."""

        constraints = [
            models.UniqueConstraint(fields=["recurring", "key"], name="seen_once"),
        ]

    def __str__(self) -> str:
        return self.key
