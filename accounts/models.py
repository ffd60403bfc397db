"""Who uses the site, with which keys, and which of their requests have been answered."""

import hashlib
import secrets
import unicodedata
import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar, NoReturn, Self

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import vault

READ = "read"
RUN = "run"
SCOPES = (READ, RUN)

KEY_START = "sk_live_"
SHOWN_CHARACTERS = 8
"""How much of a key's random part stays readable, so that people can tell keys apart."""


def normal_email(email: str) -> str:
    """The one spelling of an address that the database holds: trimmed, lower case."""
    return unicodedata.normalize("NFKC", email).strip().lower()


class Theme(models.TextChoices):
    """Colours of the pages. A person who has never chosen has none of these."""

    SYSTEM = "system", _("Like my device")
    LIGHT = "light", _("Light")
    DARK = "dark", _("Dark")


class OutputFormat(models.TextChoices):
    """File formats that a person may prefer for results; tools call them the same."""

    PNG = "png", "PNG"
    WEBP = "webp", "WebP"
    JPG = "jpg", "JPG"
    AVIF = "avif", "AVIF"


class UserManager(BaseUserManager["User"]):
    """Makes users, and finds them however their address is spelled."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """A new user; without a password only API keys let them in."""
        if not normal_email(email):
            raise ValueError("A user needs an e-mail address.")
        user = self.model(email=email, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """A new user who may do everything in the admin."""
        return self.create_user(
            email, password, **{"is_staff": True, "is_superuser": True} | fields
        )

    def get_by_natural_key(self, username: str | None) -> "User":
        """The user of this address, in whatever case it is typed."""
        return self.get(email=normal_email(username or ""))


class PlanQuerySet(models.QuerySet["Plan"]):
    """Plans, and the one that counts for whoever has none."""

    def default(self) -> "Plan | None":
        """The plan of everybody without one; nothing where staff has named none."""
        return self.filter(is_default=True).first()


class Plan(models.Model):
    """What accounts may do, as staff sets it. `accounts.plans.plan_for` says what counts."""

    slug = models.SlugField(_("short name"), unique=True)
    name = models.CharField(_("name"), max_length=60)
    is_default = models.BooleanField(
        _("default"), default=False, help_text=_("For everybody who has no plan of their own.")
    )
    monthly_credits = models.PositiveIntegerField(_("credits each month"), default=0)
    rollover_credits = models.PositiveIntegerField(
        _("credits carried over"),
        default=0,
        help_text=_("The most of a month's credits that may be used in the next month, too."),
    )
    batch_images = models.PositiveIntegerField(
        _("images per batch"),
        default=500,
        validators=[MinValueValidator(1), MaxValueValidator(100_000)],
    )
    concurrent_batches = models.PositiveIntegerField(
        _("batches at a time"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("How many of one person's batches run at once. Empty: any number."),
    )
    library_bytes = models.PositiveBigIntegerField(_("bytes in the library"), default=10 * 1024**3)
    api = models.BooleanField(_("HTTP API"), default=True)
    api_reads_per_hour = models.PositiveIntegerField(
        _("API reads per hour"),
        null=True,
        blank=True,
        help_text=_("For each API key. Empty: as the site's settings say."),
    )
    api_writes_per_hour = models.PositiveIntegerField(
        _("API writes per hour"),
        null=True,
        blank=True,
        help_text=_("For each API key. Empty: as the site's settings say."),
    )

    objects = PlanQuerySet.as_manager()

    class Meta:
        verbose_name = _("plan")
        verbose_name_plural = _("plans")
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"], condition=models.Q(is_default=True), name="one_default_plan"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class User(AbstractBaseUser, PermissionsMixin):
    """Somebody who signs in by e-mail address; there are no user names."""

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    email = models.EmailField(
        _("e-mail address"),
        unique=True,
        error_messages={"unique": _("There is already an account with this e-mail address.")},
    )
    is_staff = models.BooleanField(_("may enter the admin"), default=False)
    is_active = models.BooleanField(
        _("active"), default=True, help_text=_("Switch this off instead of deleting an account.")
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    email_verified_at = models.DateTimeField(
        _("address confirmed"), null=True, default=timezone.now, editable=False
    )
    """When the address was proved. Whoever staff or a command makes is believed at once; only
    the sign-up page says None."""

    theme = models.CharField(_("colours"), max_length=6, choices=Theme, blank=True)
    """Empty until the person chooses: then what each browser remembers counts."""
    notify_browser = models.BooleanField(
        _("show a notice in the browser when a batch has ended"), default=False
    )
    notify_email = models.BooleanField(_("send an e-mail when a batch has ended"), default=False)
    notify_schedules = models.BooleanField(
        _("send an e-mail when a scheduled run has failed"), default=True, db_default=True
    )
    low_credits = models.PositiveIntegerField(
        _("tell me when fewer credits are left than"),
        default=10,
        db_default=10,
        validators=[MaxValueValidator(1_000_000)],
        help_text=_("By e-mail, once, until there are more again. 0: never."),
    )
    low_told_at = models.DateTimeField(null=True, editable=False)
    """When that was told last; nothing once there are more again."""
    default_format = models.CharField(
        _("format of results"), max_length=4, choices=OutputFormat, default=OutputFormat.PNG
    )

    plan = models.ForeignKey(
        Plan,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="users",
        verbose_name=_("plan"),
        help_text=_("Empty: the default plan."),
    )
    batch_images = models.PositiveIntegerField(
        _("images per batch"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(100_000)],
        help_text=_("Empty: as many as the plan takes."),
    )

    erasing_at = models.DateTimeField(null=True, blank=True, editable=False)
    """When the person asked to be forgotten. The row itself stays, for the ledger's sake."""
    erased_at = models.DateTimeField(null=True, blank=True, editable=False)
    """When nothing personal was left."""

    objects: ClassVar[UserManager] = UserManager()

    EMAIL_FIELD = "email"
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        permissions = [("see_as_user", _("Can see the site as a user does, to read only"))]
        constraints = [
            # The plain unique index sees only what went through save(); this one judges the rest.
            models.UniqueConstraint(Lower("email"), name="one_user_per_email"),
        ]
        indexes = [
            # The scheduler's question: who is still to be forgotten?
            models.Index(
                fields=["erasing_at"],
                condition=models.Q(erasing_at__isnull=False, erased_at=None),
                name="user_to_erase",
            ),
        ]

    def __str__(self) -> str:
        return self.email

    def clean(self) -> None:
        """Normalise the address before forms look for twins."""
        self.email = normal_email(self.email)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store the address in its one spelling."""
        self.email = normal_email(self.email)
        super().save(*args, **kwargs)


def digest_of(secret: str) -> str:
    """What the database keeps of a key: 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    """Keys, and which of them still open something."""

    def usable(self, *, now: datetime) -> Self:
        """Keys that are neither revoked nor run out, of users who are active."""
        return self.filter(
            models.Q(expires_at=None) | models.Q(expires_at__gt=now),
            revoked_at=None,
            user__is_active=True,
        )


class ApiKey(models.Model):
    """A key to the HTTP API. The secret itself is shown once and never stored."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_keys")
    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=100)
    prefix = models.CharField(max_length=len(KEY_START) + SHOWN_CHARACTERS, db_index=True)
    digest = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField(_("scopes"))
    created_at = models.DateTimeField(default=timezone.now)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def allows(self, scope: str) -> bool:
        """Whether the key was given this scope."""
        return scope in self.scopes


def create_key(
    user: User, *, name: str, scopes: Iterable[str] = SCOPES, expires_at: datetime | None = None
) -> tuple[ApiKey, str]:
    """A new key and its secret; nobody can read the secret again afterwards."""
    granted = sorted(set(scopes))
    if not granted or not set(granted) <= set(SCOPES):
        raise ValueError(f"A key's scopes are one or more of {', '.join(SCOPES)}.")
    secret = KEY_START + secrets.token_urlsafe(32)
    key = ApiKey.objects.create(
        user=user,
        name=name,
        prefix=secret[: len(KEY_START) + SHOWN_CHARACTERS],
        digest=digest_of(secret),
        scopes=granted,
        expires_at=expires_at,
    )
    return key, secret


class ConnectionQuerySet(models.QuerySet["Connection"]):
    """Questions about connections."""

    def visible_to(self, user: User) -> Self:
        """Those that belong to the user."""
        return self.filter(owner=user)


class ConnectionKind(models.TextChoices):
    """Where people keep pictures."""

    SIRV = "sirv", "Sirv"
    S3 = "s3", "S3"


class Connection(models.Model):
    """Somebody's account elsewhere, that we may read from and write to in their name."""

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    owner = models.ForeignKey(User, models.CASCADE, related_name="connections")
    kind = models.CharField(max_length=8, choices=ConnectionKind)
    name = models.CharField(_("name"), max_length=100)
    config = models.JSONField(default=dict)
    """What is no secret: client id, bucket, endpoint, region, prefix, address of the CDN."""
    sealed_secret = models.TextField(editable=False)
    folders = models.JSONField(default=dict)
    """Tool to the folder that its results go to."""
    conflict = models.CharField(max_length=9, default="rename")
    """What happens where a name is taken: `skip`, `rename` or `overwrite`."""
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    checked_at = models.DateTimeField(null=True, blank=True)
    """When it last answered."""
    error_code = models.CharField(max_length=40, blank=True)
    error_params = models.JSONField(default=dict, blank=True)
    """What it said last, where that was no answer."""

    objects = ConnectionQuerySet.as_manager()

    class Meta:
        verbose_name = _("connection")
        verbose_name_plural = _("connections")
        constraints = [
            models.UniqueConstraint(fields=["owner", "name"], name="one_connection_per_name"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def secret(self) -> str:
        """Never shown again, to nobody. Raises `vault.Unreadable`."""
        return vault.unseal(self.sealed_secret)

    @secret.setter
    def secret(self, secret: str) -> None:
        self.sealed_secret = vault.seal(secret)


class IdempotencyKey(models.Model):
    """One answered (or running) request that its sender may send again.

    ``status`` is None while the request runs. ``created_at`` tells one claim of the row
    from a later one: whoever takes over an abandoned row sets it anew.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    request_hash = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(null=True)
    headers = models.JSONField(default=dict)
    body = models.BinaryField(default=b"")
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "key"], name="one_request_per_key"),
        ]

    def __str__(self) -> str:
        return self.key


class AppendOnlyQuerySet(models.QuerySet["StaffAction"]):
    """What staff did can be added and read."""

    def update(self, **_fields: Any) -> NoReturn:
        """Refuse."""
        raise TypeError("What staff did is never changed.")

    def delete(self) -> NoReturn:
        """Refuse."""
        raise TypeError("What staff did is never deleted.")


class StaffAction(models.Model):
    """One thing that staff did, with before and after. Written by `accounts.trail` alone.

    A trigger keeps it as it was written (migration 0005).
    """

    at = models.DateTimeField(_("when"), default=timezone.now, editable=False, db_index=True)
    actor = models.ForeignKey(
        User, models.DO_NOTHING, db_constraint=False, null=True, related_name="+"
    )
    actor_email = models.CharField(_("who"), max_length=254)
    ip = models.GenericIPAddressField(_("from"), null=True)
    request_id = models.CharField(_("trace id"), max_length=64, blank=True)
    action = models.CharField(_("what"), max_length=60)
    """`batch.pause`, `credits.adjust`: kind of the target and verb."""
    target_kind = models.CharField(_("of what"), max_length=60, blank=True)
    target_id = models.CharField(max_length=64, blank=True)
    target_label = models.CharField(_("which"), max_length=255, blank=True)
    before = models.JSONField(_("before"), default=dict)
    after = models.JSONField(_("after"), default=dict)
    reason = models.CharField(_("reason"), max_length=500, blank=True)
    rows = models.PositiveIntegerField(_("rows moved"), default=1)

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        verbose_name = _("staff action")
        verbose_name_plural = _("staff actions")
        indexes = [
            models.Index(fields=["target_kind", "target_id", "-at"], name="action_by_target"),
            models.Index(fields=["actor", "-at"], name="action_by_actor"),
            # What the search of the list asks for.
            models.Index(fields=["target_id"], name="action_by_target_id"),
            models.Index(fields=["request_id"], name="action_by_request"),
            models.Index(fields=["actor_email"], name="action_by_address"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target_label}".strip()

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Write a new line; a line that is there stays as it is."""
        if not self._state.adding:
            raise TypeError("What staff did is never changed.")
        super().save(*args, **kwargs)

    def delete(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Refuse."""
        raise TypeError("What staff did is never deleted.")
