"""Accounts, grants, holds and the journal. Written by ``credits.ledger`` and nobody else.

Whole credits everywhere; no decimals, no floats.
"""

import uuid
from typing import Any, NoReturn

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class CreditAccount(models.Model):
    """One user's credits: two cached sums of the journal, and the row that writers lock."""

    owner = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="credit_account"
    )
    available = models.BigIntegerField(_("available"), default=0)
    held = models.BigIntegerField(_("on hold"), default=0)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("credit account")
        verbose_name_plural = _("credit accounts")
        permissions = [("adjust_credits", _("Can add and take credits by hand"))]
        constraints = [
            models.CheckConstraint(condition=Q(available__gte=0), name="available_not_negative"),
            models.CheckConstraint(condition=Q(held__gte=0), name="held_not_negative"),
        ]

    def __str__(self) -> str:
        return f"credit account {self.pk}"


class GrantKind(models.TextChoices):
    """Where credits come from."""

    WELCOME = "welcome", _("Welcome")
    PURCHASE = "purchase", _("Purchase")
    MONTHLY = "monthly", _("Monthly allowance")
    ROLLOVER = "rollover", _("Carried over")
    PROMO = "promo", _("Promotion")
    ADMIN = "admin", _("Given by staff")
    REFUND = "refund", _("Refund")


class Grant(models.Model):
    """Credits that came in together, and how many of them nobody has drawn yet."""

    account = models.ForeignKey(CreditAccount, on_delete=models.PROTECT, related_name="grants")
    kind = models.CharField(_("kind"), max_length=10, choices=GrantKind)
    amount = models.BigIntegerField(_("amount"))
    remaining = models.BigIntegerField(_("remaining"))
    priority = models.SmallIntegerField(_("priority"), help_text=_("Smaller is drawn first."))
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    carry_over = models.BigIntegerField(_("may be carried over"), default=0, db_default=0)
    """Of what is left when it runs out, at most so many credits go on as another grant."""
    carry_until = models.DateTimeField(_("until"), null=True, blank=True)
    key = models.CharField(max_length=200, unique=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("grant")
        verbose_name_plural = _("grants")
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="grant_of_something"),
            models.CheckConstraint(
                condition=Q(remaining__gte=0, remaining__lte=F("amount")),
                name="grant_remaining_in_range",
            ),
            models.CheckConstraint(condition=Q(kind__in=GrantKind.values), name="grant_kind_known"),
        ]
        indexes = [
            # The draw-down's question, and that of expire().
            models.Index(
                fields=["account", "priority", "expires_at", "id"],
                condition=Q(remaining__gt=0),
                name="grant_to_draw",
            ),
            models.Index(
                fields=["expires_at"], condition=Q(remaining__gt=0), name="grant_to_expire"
            ),
        ]

    def __str__(self) -> str:
        return self.key


class Hold(models.Model):
    """Credits set aside for one piece of work; its parts say from which grants."""

    account = models.ForeignKey(CreditAccount, on_delete=models.PROTECT, related_name="holds")
    key = models.CharField(max_length=200, unique=True)
    reference = models.CharField(_("reference"), max_length=200, blank=True, db_index=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("hold")
        verbose_name_plural = _("holds")

    def __str__(self) -> str:
        return self.key


class HoldPart(models.Model):
    """What a hold took from one grant. Open is what was neither captured nor released."""

    hold = models.ForeignKey(Hold, on_delete=models.PROTECT, related_name="parts")
    grant = models.ForeignKey(Grant, on_delete=models.PROTECT, related_name="parts")
    amount = models.BigIntegerField(_("amount"))
    captured = models.BigIntegerField(_("captured"), default=0)
    released = models.BigIntegerField(_("released"), default=0)

    class Meta:
        verbose_name = _("part of a hold")
        verbose_name_plural = _("parts of a hold")
        constraints = [
            models.UniqueConstraint(fields=["hold", "grant"], name="one_part_per_grant"),
            models.CheckConstraint(
                condition=Q(
                    amount__gt=0,
                    captured__gte=0,
                    released__gte=0,
                    amount__gte=F("captured") + F("released"),
                ),
                name="part_not_overdrawn",
            ),
        ]
        indexes = [
            models.Index(
                fields=["hold"],
                condition=Q(amount__gt=F("captured") + F("released")),
                name="part_open",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount} of grant {self.grant_id}"

    @property
    def open(self) -> int:
        """Credits that are still on hold here."""
        return self.amount - self.captured - self.released


class EntryKind(models.TextChoices):
    """What moved credits."""

    GRANT = "grant", _("Grant")
    HOLD = "hold", _("Hold")
    CAPTURE = "capture", _("Capture")
    RELEASE = "release", _("Release")
    EXPIRE = "expire", _("Expiry")
    ADJUST = "adjust", _("Adjustment")
    REFUND = "refund", _("Refund")


class AppendOnlyQuerySet(models.QuerySet["LedgerEntry"]):
    """Entries can be added and read."""

    def update(self, **_fields: Any) -> NoReturn:
        """Refuse."""
        raise TypeError("Ledger entries are never changed; write a new one.")

    def delete(self) -> NoReturn:
        """Refuse."""
        raise TypeError("Ledger entries are never deleted; write a new one.")


class LedgerEntry(models.Model):
    """One line of the journal. A trigger keeps it as it was written (migration 0002).

    ``available_after`` and ``held_after`` are the account's figures right after this line;
    the lines of one account, by id, form one unbroken chain.
    """

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    account = models.ForeignKey(CreditAccount, on_delete=models.PROTECT, related_name="entries")
    kind = models.CharField(_("kind"), max_length=10, choices=EntryKind)
    available_delta = models.BigIntegerField(_("available ±"))
    held_delta = models.BigIntegerField(_("held ±"))
    available_after = models.BigIntegerField(_("available after"))
    held_after = models.BigIntegerField(_("held after"))
    key = models.CharField(max_length=200)
    item_uid = models.UUIDField(null=True, blank=True)
    hold = models.ForeignKey(
        Hold, on_delete=models.PROTECT, null=True, blank=True, related_name="entries"
    )
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    reference = models.CharField(_("reference"), max_length=200, blank=True)
    note = models.CharField(_("note"), max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        verbose_name = _("ledger entry")
        verbose_name_plural = _("ledger entries")
        constraints = [
            models.UniqueConstraint(fields=["key"], name="one_entry_per_key"),
            models.UniqueConstraint(
                fields=["item_uid"], condition=Q(kind="capture"), name="one_capture_per_item"
            ),
            models.CheckConstraint(
                condition=Q(available_after__gte=0, held_after__gte=0), name="entry_after_in_range"
            ),
            models.CheckConstraint(
                condition=(
                    Q(kind__in=["grant", "refund"], available_delta__gt=0, held_delta=0)
                    | Q(kind="adjust", held_delta=0) & ~Q(available_delta=0)
                    | Q(kind="expire", available_delta__lt=0, held_delta=0)
                    | Q(kind="hold", available_delta__lt=0, held_delta=-F("available_delta"))
                    | Q(kind="release", available_delta__gt=0, held_delta=-F("available_delta"))
                    | Q(kind="capture", available_delta=0, held_delta__lt=0, item_uid__isnull=False)
                ),
                name="entry_deltas_fit_kind",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "id"], name="entry_statement"),
            # The dashboard's questions: what was used on a day, and what was given? There are as
            # many captures as images, so their index holds the answer itself.
            models.Index(
                fields=["created_at", "held_delta"],
                condition=Q(kind="capture"),
                name="entry_captured",
            ),
            models.Index(fields=["created_at"], condition=Q(kind="grant"), name="entry_granted"),
        ]

    def __str__(self) -> str:
        return self.key

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Write a new line; a line that is there stays as it is."""
        if not self._state.adding:
            raise TypeError("Ledger entries are never changed; write a new one.")
        super().save(*args, **kwargs)

    def delete(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Refuse."""
        raise TypeError("Ledger entries are never deleted; write a new one.")


class PromoCode(models.Model):
    """A word that gives credits, once to each person. `credits.promos` redeems it."""

    code = models.CharField(_("code"), max_length=40, unique=True)
    """In capitals: people type it in any case."""
    amount = models.PositiveIntegerField(_("credits"))
    most_uses = models.PositiveIntegerField(
        _("most uses"), null=True, blank=True, help_text=_("By all people. Empty: any number.")
    )
    uses = models.PositiveIntegerField(_("uses"), default=0, editable=False)
    begins_at = models.DateTimeField(_("from"), null=True, blank=True)
    ends_at = models.DateTimeField(_("until"), null=True, blank=True)
    credits_last_days = models.PositiveIntegerField(
        _("days that the credits last"), null=True, blank=True, help_text=_("Empty: for ever.")
    )
    note = models.CharField(_("note"), max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("promo code")
        verbose_name_plural = _("promo codes")
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="promo_of_something"),
            models.CheckConstraint(
                condition=Q(most_uses=None) | Q(uses__lte=F("most_uses")),
                name="promo_used_in_range",
            ),
        ]

    def __str__(self) -> str:
        return self.code
