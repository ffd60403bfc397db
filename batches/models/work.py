"""What work is made of: originals, batches, items, results. Verbs live in `batches.lifecycle`."""

import json
import sys
import uuid
from typing import Any, Self

from django.conf import settings
from django.db import connection, models
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from batches import messages
from batches.states import (
    BATCH_MOVES,
    IN_HAND,
    ITEM_MOVES,
    LIVE,
    BatchState,
    ItemState,
    leading_to,
)
from tools.base import Note


class OriginalQuerySet(models.QuerySet["Original"]):
    """Questions about originals."""

    def visible_to(self, user: User) -> Self:
        """Those that belong to the user."""
        return self.filter(owner=user)


class Original(models.Model):
    """A picture as it came in, validated and upright, stored once per owner."""

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="originals")
    name = models.CharField(max_length=255)
    sha256 = models.CharField(max_length=64)
    """Of the bytes that were received, which may have been normalised since."""
    bytes = models.PositiveBigIntegerField()
    format = models.CharField(max_length=8)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    key = models.CharField(max_length=255)
    content_type = models.CharField(max_length=64)
    thumbnail_key = models.CharField(max_length=255)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    received_at = models.DateTimeField(
        default=timezone.now, db_default=Now(), editable=False, db_index=True
    )
    """When the same bytes came last."""

    objects = OriginalQuerySet.as_manager()

    class Meta:
        """An identical file of one owner is stored once."""

        constraints = [
            models.UniqueConstraint(fields=["owner", "sha256"], name="one_original_per_content")
        ]

    def __str__(self) -> str:
        return self.name


class BatchQuerySet(models.QuerySet["Batch"]):
    """Questions about batches, and the one way to move them."""

    def visible_to(self, user: User) -> Self:
        """Those that belong to the user."""
        return self.filter(owner=user)

    def many(self) -> Self:
        """Those that were made as batches: without the single images of the *Single* tab."""
        return self.filter(single=False)

    def live(self) -> Self:
        """Those that may change without anybody asking."""
        return self.filter(state__in=LIVE)

    def ahead_of(self, batch: "Batch") -> Self:
        """Those that run and began before it, whoever they belong to."""
        return self.filter(state=BatchState.RUNNING, started_at__lt=batch.started_at)

    def advance(self, to: BatchState, **fields: Any) -> int:
        """Move the rows that may go there and say how many did; 0 means somebody was faster."""
        return self.filter(state__in=leading_to(to, BATCH_MOVES)).update(state=to, **fields)


class Batch(models.Model):
    """Many images, one tool, one owner who pays."""

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="batches")
    name = models.CharField(max_length=200, blank=True)
    tool = models.SlugField()
    """Checked against the registry on the way in: a new tool needs no migration."""
    settings = models.JSONField(default=dict)
    state = models.CharField(max_length=12, choices=BatchState.choices, default=BatchState.READY)
    sample = models.PositiveIntegerField(default=0)
    """How many items run before somebody approves the rest; 0 means all at once."""
    single = models.BooleanField(default=False)
    """Whether it was one image on a tool's *Single* tab; the list of batches leaves those out."""
    cap = models.PositiveBigIntegerField(null=True, blank=True)
    """The most credits that the batch may spend, or nothing for no cap."""
    price_percent = models.PositiveSmallIntegerField(default=100, db_default=100, editable=False)
    """Of the tool's price, as it was for its owner when the batch was made."""
    priority = models.PositiveSmallIntegerField(default=0, db_default=0, editable=False)
    """Staff's, as `lifecycle.prioritise` says: 0 is normal, 1 is raised."""
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)
    told_at = models.DateTimeField(null=True, editable=False)
    """When its owner was told by e-mail that it has ended."""
    reuse = models.BooleanField(default=True)
    """Whether an earlier result of the same work serves again instead of a second run."""
    pattern = models.CharField(max_length=255, blank=True)
    """How results are named (`{name}-{n}.{ext}`); empty: as their images."""
    sheet = models.ForeignKey(
        "batches.Sheet", models.SET_NULL, null=True, blank=True, related_name="batches"
    )
    """Whose rows it was made of."""
    plan = models.JSONField(default=dict, editable=False)
    """While it is being imported: what is to be done once all rows are in."""
    token = models.UUIDField(null=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    """The claim of whoever imports it, as with items."""
    link_version = models.PositiveIntegerField(default=1, editable=False)
    """Part of each signed link to a result: one more, and no earlier link opens anything."""
    webhook_url = models.TextField(blank=True)
    """Who is told of this batch alone, beside the owner's webhooks."""

    objects = BatchQuerySet.as_manager()

    class Meta:
        """The list page asks by owner, newest first; the scheduler asks for what lives."""

        verbose_name_plural = "batches"
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=BatchState.values), name="batch_state_is_known"
            )
        ]
        indexes = [
            models.Index(fields=["owner", "-created_at"], name="batch_by_owner"),
            models.Index(
                fields=["state"],
                condition=Q(state__in=sorted(LIVE)),
                name="batch_live",
            ),
            # The scheduler's question: whose end has nobody been told of?
            models.Index(
                fields=["finished_at"],
                condition=Q(state=BatchState.FINISHED, single=False, told_at=None),
                name="batch_untold",
            ),
        ]

    def __str__(self) -> str:
        return self.name or str(self.uid)

    def get_absolute_url(self) -> str:
        """The batch's page."""
        return reverse("batches:detail", args=[self.uid])

    @property
    def reference(self) -> str:
        """How the ledger names the batch: text, because credits know no batches."""
        return f"batch:{self.uid}"


class ItemQuerySet(models.QuerySet["Item"]):
    """Questions about items, and the one way to move them."""

    def visible_to(self, user: User) -> Self:
        """Those in the user's batches."""
        return self.filter(batch__owner=user)

    def advance(self, to: ItemState, **fields: Any) -> int:
        """Move the rows that may go there and say how many did; 0 means somebody was faster.

        Only filters on the items' own columns compare with what is there: conditions on other
        tables go into a subquery. Raises `TypeError` for a query with joins.
        """
        if self.query.count_active_tables() > 1:
            # Django would look the rows up in a subquery, and an update that has waited for
            # another transaction's lock would not look again: two workers would win one claim.
            raise TypeError("A move through a join does not compare with what is there.")
        return self.filter(state__in=leading_to(to, ITEM_MOVES)).update(
            state=to, changed_at=Now(), **fields
        )


class Item(models.Model):
    """One image in a batch.

    A worker that has it in hand holds `token` until `lease_until`; every settlement compares
    the token, so that a worker presumed dead can neither settle nor overwrite anything.
    """

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    batch = models.ForeignKey(Batch, models.CASCADE, related_name="items")
    position = models.PositiveIntegerField()
    """0-based place in the batch."""
    external_id = models.CharField(max_length=255, blank=True)
    """The caller's own id; it comes back untouched."""
    name = models.CharField(max_length=255)
    """Unique within the batch."""
    line = models.PositiveIntegerField(null=True, blank=True)
    """1-based row of its batch's sheet."""
    stem = models.TextField(blank=True)
    """Where its result is saved to, without the ending: `front/sku-1`. Empty: as `name`."""
    source_url = models.TextField(blank=True)
    connection = models.ForeignKey(
        "accounts.Connection", models.SET_NULL, null=True, blank=True, related_name="+"
    )
    """Whose storage `source_url` is a path in; nothing for an address of the web."""
    original = models.ForeignKey(
        Original, models.PROTECT, null=True, blank=True, related_name="items"
    )
    settings = models.JSONField(default=dict)
    """Complete and validated: the batch's settings with this image's own on top."""
    state = models.CharField(max_length=10, choices=ItemState.choices, default=ItemState.PENDING)
    changed_at = models.DateTimeField(default=timezone.now, editable=False)
    """Whatever moves a batch's counts and credits moves this too, by the database's own clock."""

    attempt = models.PositiveIntegerField(default=0)
    """How often it was begun or begun again; people see it."""
    history = models.JSONField(default=list, editable=False)
    """Tries that came to nothing, oldest first: attempt, code, params, started_at, ended_at."""
    shrink = models.BooleanField(default=False)
    """Whether a picture beyond the limits is made smaller instead of being refused."""
    generation = models.PositiveIntegerField(default=1)
    """Which hold it is on: 1 at first, one more with each retry. Part of settlement keys."""
    tries = models.PositiveIntegerField(default=0)
    """Passing errors since the last retry."""
    losses = models.PositiveIntegerField(default=0)
    """Workers lost on it since the last retry."""

    token = models.UUIDField(null=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    worker = models.CharField(max_length=120, blank=True, editable=False)
    rung_at = models.DateTimeField(null=True, editable=False)
    """When its place in the queue was asked for; nothing while it is outside the window."""
    retry_at = models.DateTimeField(null=True, editable=False)
    """Not before this time, after a passing error."""

    hold = models.ForeignKey(
        "credits.Hold", models.PROTECT, null=True, blank=True, related_name="+", editable=False
    )
    held_price = models.PositiveIntegerField(default=0)
    """What it may cost at most; held from start to end."""
    price = models.PositiveIntegerField(null=True, editable=False)
    """What was captured."""

    error_code = models.CharField(max_length=40, blank=True)
    error_params = models.JSONField(default=dict, blank=True)
    review = models.JSONField(default=list, blank=True)
    model_version = models.CharField(max_length=255, blank=True)
    work_key = models.CharField(max_length=64, blank=True, editable=False)
    """Digest of picture, tool, settings and model: the same work has the same. Set when done."""
    reused_from = models.UUIDField(null=True, editable=False)
    """The item whose result serves here again, at no cost."""
    twin_of = models.ForeignKey(
        "self", models.SET_NULL, null=True, editable=False, related_name="twins"
    )
    """The item of this batch that does the same work; this one waits and takes its result."""

    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)

    objects = ItemQuerySet.as_manager()

    class Meta:
        """The indexes answer questions of workers, scheduler and staff, and only those."""

        constraints = [
            models.UniqueConstraint(fields=["batch", "position"], name="one_item_per_position"),
            models.CheckConstraint(
                condition=Q(state__in=ItemState.values), name="item_state_is_known"
            ),
        ]
        indexes = [
            models.Index(fields=["batch", "state", "position"], name="item_by_state"),
            models.Index(fields=["batch", "changed_at"], name="item_by_change"),
            models.Index(
                fields=["lease_until"], condition=Q(state__in=sorted(IN_HAND)), name="item_in_hand"
            ),
            models.Index(fields=["work_key"], condition=~Q(work_key=""), name="item_by_work"),
            # The dashboard's question, and that of usage: what has ended of late?
            models.Index(
                fields=["finished_at", "state"],
                condition=Q(finished_at__isnull=False),
                name="item_by_end",
            ),
            # That of failures by their reason: answered without a look into the table.
            models.Index(
                fields=["finished_at", "error_code", "batch", "id"],
                condition=Q(state="failed"),
                name="item_by_failure",
            ),
            # Staff's: whose name begins like this? PostgreSQL needs to be told; SQLite does not.
            models.Index(fields=["name"], opclasses=["varchar_pattern_ops"], name="item_by_name"),
        ]

    def __str__(self) -> str:
        return self.name

    @staticmethod
    def named_like(beginning: str) -> Q:
        """Items whose names begin so, case and all, as the index of names can be asked.

        SQLite's LIKE knows no case and so uses no index: there it is asked for all names between
        the beginning itself and the last that begins so.
        """
        if connection.vendor == "sqlite":
            return Q(name__gte=beginning, name__lt=beginning + chr(sys.maxunicode))
        return Q(name__startswith=beginning)

    @property
    def is_stored(self) -> bool:
        """Whether `source_url` is a path in somebody's storage, connected still or not."""
        return bool(self.source_url) and not self.source_url.startswith(("http://", "https://"))

    @property
    def source(self) -> str:
        """Where it comes from, for people: an address, or `sirv:/folder/a.jpg`."""
        if not self.is_stored:
            return self.source_url
        return f"{self.connection.kind if self.connection else ''}:/{self.source_url}".lstrip(":")

    @property
    def error(self) -> str:
        """Why it failed, for people; empty when it did not."""
        return messages.text(self.error_code, self.error_params) if self.error_code else ""


class SettingImage(models.Model):
    """A picture that settings of a batch's items name: a mask, a backdrop.

    One for each upload and address, however many items share it. `original` is nothing until an
    address has been fetched. What is wrong with it for good is kept, so that it is asked once.
    """

    batch = models.ForeignKey(Batch, models.CASCADE, related_name="setting_images")
    value = models.CharField(max_length=2048)
    """As the settings have it: the upload's id or the address."""
    original = models.ForeignKey(
        Original, models.PROTECT, null=True, blank=True, related_name="setting_images"
    )
    error_code = models.CharField(max_length=40, blank=True)
    error_params = models.JSONField(default=dict, blank=True)

    class Meta:
        """Each is fetched once for a batch."""

        constraints = [
            models.UniqueConstraint(fields=["batch", "value"], name="one_setting_image_per_value"),
        ]

    def __str__(self) -> str:
        return self.value


class Result(models.Model):
    """What a tool made of an item: a picture, a text, or a report (JSON, in `text`)."""

    item = models.ForeignKey(Item, models.CASCADE, related_name="results")
    position = models.PositiveSmallIntegerField(default=0)
    key = models.CharField(max_length=255, blank=True)
    thumbnail_key = models.CharField(max_length=255, blank=True)
    format = models.CharField(max_length=8)
    width = models.PositiveIntegerField(null=True)
    height = models.PositiveIntegerField(null=True)
    bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    crc32 = models.PositiveBigIntegerField(null=True, editable=False)
    """The checksum that a ZIP holds; nothing where nobody has needed it yet."""
    text = models.TextField(blank=True)
    notes = models.JSONField(default=list, blank=True)
    """What the tool told about it: pairs of a text, translated when shown, and its figures."""
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        """A tool may make several pictures of one image."""

        verbose_name = _("result")
        constraints = [
            models.UniqueConstraint(fields=["item", "position"], name="one_result_per_position")
        ]

    def __str__(self) -> str:
        return self.key or self.text[:40]

    @cached_property
    def data(self) -> Any:
        """The report, where it is one; else None."""
        return json.loads(self.text) if self.format == "json" else None

    @property
    def told(self) -> list[str]:
        """What the tool told about it, in the reader's language."""
        return [str(Note(text, **params)) for text, params in self.notes]
