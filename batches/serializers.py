"""The shapes of the HTTP API: what a request may hold, and how batches and items read."""

from collections.abc import Container, Iterable, Mapping
from datetime import UTC
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request

from batches import patterns, stalled, webhooks
from batches.exports.registry import PLACES
from batches.models import Batch, Item, Original, Result
from batches.progress import Progress
from batches.sources.base import Row
from batches.states import BatchState, ItemState
from tools import registry

LONGEST_ID = 255
LARGEST_COUNT = 2**31 - 1
LARGEST_CREDITS = 2**63 - 1
WAITS = _("It waits for your other batches: your plan runs only so many at a time.")
MOST_DELIVERIES = 10
"""Places that the results of one new batch go to by themselves."""

ITEM_WORDS: Mapping[str, str] = {
    ItemState.PENDING: "waiting",
    ItemState.QUEUED: "waiting",
    ItemState.FETCHING: "fetching",
    ItemState.FETCHED: "waiting",
    ItemState.RUNNING: "processing",
    ItemState.DONE: "done",
    ItemState.FAILED: "failed",
    ItemState.CANCELLED: "cancelled",
}
"""What clients call the states of an item; those inside are nobody else's business."""


# --- In -------------------------------------------------------------------------------


_KINDS: tuple[tuple[type[serializers.Field], type | tuple[type, ...], Any], ...] = (
    (serializers.BooleanField, bool, _("This has to be true or false.")),
    (serializers.IntegerField, (int, float), _("This has to be a number.")),
    (serializers.CharField, str, _("This has to be a text.")),
    (serializers.UUIDField, str, _("This has to be a text.")),
)
"""What the fields of REST framework take for more than it is, in JSON: `"1"` and `1` for true."""


def _wrong_types(
    fields: Mapping[str, serializers.Field], data: Mapping[str, Any]
) -> dict[str, Any]:
    """Errors by name for values of JSON that have not the type of their field."""
    return {
        name: wrong
        for name, value in data.items()
        if name in fields and (wrong := _mistyped(fields[name], value))
    }


def _mistyped(field: serializers.Field, value: Any) -> Any:
    """What is wrong with the type of a value of JSON: a text, or errors by place; else nothing."""
    if value is None:
        return None
    if isinstance(field, serializers.ListField | serializers.DictField):
        if isinstance(value, list) and isinstance(field, serializers.ListField):
            inner: Iterable[tuple[Any, Any]] = enumerate(value)
        elif isinstance(value, dict) and isinstance(field, serializers.DictField):
            inner = value.items()
        else:
            return None  # the field says so itself
        child: Any = field.child
        return {place: wrong for place, one in inner if (wrong := _mistyped(child, one))} or None
    for kind, types, words in _KINDS:
        if isinstance(field, kind):
            is_one = isinstance(value, types) and (types is bool or not isinstance(value, bool))
            return None if is_one else [serializers.ErrorDetail(str(words), code="invalid")]
    return None


class Strict(serializers.Serializer):
    """A request's body: null means the default, and a field that we don't know is refused.

    To ignore what somebody asked for would be to promise it. Values of JSON have the type that
    the document says; those of a form are texts, and then the context says `is_form`.
    """

    def get_fields(self) -> dict[str, Any]:
        """The fields; the OpenAPI document says which may be null: those that may be left out."""
        fields: dict[str, Any] = super().get_fields()
        for field in fields.values():
            field.allow_null = field.allow_null or not field.required
        return fields

    def to_internal_value(self, data: Any) -> Any:
        """The validated values; raises ``ValidationError`` with all errors at once."""
        if not isinstance(data, Mapping):
            return super().to_internal_value(data)
        errors: dict[str, Any] = {
            name: [serializers.ErrorDetail(str(_("There is no such field.")), code="unknown_field")]
            for name in data
            if name not in self.fields
        }
        if not self.context.get("is_form"):
            errors |= _wrong_types(self.fields, data)
        try:
            values = super().to_internal_value(
                {name: value for name, value in data.items() if value is not None}
            )
        except serializers.ValidationError as invalid:
            details = invalid.detail
            raise serializers.ValidationError(
                details | errors if isinstance(details, dict) else details
            ) from None
        if errors:
            raise serializers.ValidationError(errors)
        return values


class NothingSerializer(Strict):
    """A request that needs no body; an empty object is fine."""


class ImageSerializer(Strict):
    """One image of a new batch: an address or an upload."""

    id = serializers.CharField(
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        max_length=LONGEST_ID,
        help_text="Your own id; it comes back as external_id.",
    )
    url = serializers.CharField(required=False, help_text="Where the image is, over http(s).")
    upload = serializers.CharField(required=False, help_text="The id of an upload of yours.")
    name = serializers.CharField(required=False, allow_blank=True, max_length=1000)
    settings = serializers.DictField(
        required=False, help_text="Settings that differ from the batch's."
    )


@extend_schema_field(ImageSerializer(many=True))
class ImagesField(serializers.ListField):
    """The images of a new batch as rows.

    A row that makes no sense says so itself instead of failing the field: the batch decides
    whether bad rows are fatal or skipped.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_empty=False, **kwargs)
        self._image = ImageSerializer()

    def run_child_validation(self, data: list[Any]) -> list[Row]:
        """One row for each image."""
        return [self._row(image) for image in data]

    def _row(self, image: Any) -> Row:
        try:
            values = self._image.run_validation(image)
        except serializers.ValidationError as invalid:
            own_id = image.get("id") if isinstance(image, Mapping) else None
            return Row(
                external_id=str(own_id)[:LONGEST_ID] if isinstance(own_id, str | int) else "",
                problems=tuple(_problems(invalid.detail)),
            )
        return Row(
            url=values.get("url", ""),
            upload=values.get("upload", ""),
            name=values.get("name", ""),
            external_id=values.get("id", ""),
            settings=values.get("settings", {}),
        )


class NewDeliverySerializer(serializers.Serializer):
    """Where results are to go. What else a place takes is said by the place: see `deliveries`."""

    to = serializers.ChoiceField(choices=list(PLACES))
    connection = serializers.UUIDField(
        required=False,
        allow_null=True,
        help_text="The id of a connected account, where you have several of its kind.",
    )
    folder = serializers.CharField(
        required=False, allow_null=True, help_text="`library`, `sirv` and `s3`."
    )
    conflict = serializers.ChoiceField(
        required=False,
        allow_null=True,
        choices=["skip", "rename", "overwrite"],
        help_text="`sirv` and `s3`: what happens where a name is taken.",
    )
    tags = serializers.ListField(
        child=serializers.CharField(), required=False, allow_null=True, help_text="`library`."
    )

    def to_internal_value(self, data: Any) -> Any:
        """The place and its options apart; `deliveries.judged` validates both."""
        if not isinstance(data, Mapping):
            return super().to_internal_value(data)
        given = {str(name): value for name, value in data.items() if value is not None}
        if "to" not in given:
            return super().to_internal_value({})
        if given.get("connection") == "":
            raise serializers.ValidationError(
                {"connection": [_("Name an account by its id, or leave this out.")]}, code="invalid"
            )
        if wrong := _wrong_types(self.fields, given):
            raise serializers.ValidationError(wrong)
        return {
            "to": str(given.pop("to")),
            "connection": str(given.pop("connection", "")),
            "options": given,
        }


class NewBatchSerializer(Strict):
    """A batch to be made."""

    tool = serializers.CharField(help_text="The slug of a tool.")
    settings = serializers.DictField(required=False, help_text="See the tool's settings_schema.")
    images = ImagesField()
    name = serializers.CharField(required=False, allow_blank=True, max_length=200)
    sample = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=LARGEST_COUNT,
        help_text="Run so many images, then wait for approval. 0: run all.",
    )
    max_credits = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=LARGEST_CREDITS,
        help_text="The most that the batch may spend.",
    )
    start = serializers.BooleanField(
        required=False, default=True, help_text="False leaves a quoted batch that is ready."
    )
    on_invalid = serializers.ChoiceField(
        required=False,
        default="fail",
        choices=["fail", "skip"],
        help_text="What a bad row does: fail the request, or become a failed item at no cost.",
    )
    reuse = serializers.BooleanField(
        required=False,
        default=True,
        help_text="False runs even what an earlier result could serve.",
    )
    deliver = serializers.ListField(
        child=NewDeliverySerializer(),
        required=False,
        max_length=MOST_DELIVERIES,
        help_text="Where each result goes as its image finishes.",
    )
    webhook_url = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=2000,
        help_text="Who is told of this batch, beside your webhooks.",
    )

    def validate_webhook_url(self, url: str) -> str:
        """An address that we may call."""
        if not url:
            return url
        try:
            return webhooks.checked_url(url)
        except webhooks.Refused as refused:
            raise serializers.ValidationError(refused.detail, code=refused.code) from None

    name_pattern = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=patterns.LONGEST,
        help_text="How results are named: {name} {id} {n} {n:03} {tool} {date}, and / for folders.",
    )

    def validate_tool(self, slug: str) -> str:
        """The slug of a tool that there is."""
        try:
            registry.get(slug)
        except registry.UnknownTool:
            known = ", ".join(tool.slug for tool in registry.all())
            raise serializers.ValidationError(
                _("There is no tool of this name. Use one of: {known}.").format(known=known),
                code="unknown_tool",
            ) from None
        return slug


class StartSerializer(Strict):
    """How to start a batch."""

    sample = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=LARGEST_COUNT,
        help_text="Run so many images, then wait for approval. 0: run all.",
    )


class RetrySerializer(Strict):
    """What to retry, and how."""

    items = serializers.ListField(
        child=serializers.UUIDField(), required=False, help_text="Without it: all that failed."
    )
    settings = serializers.DictField(
        required=False, help_text="Settings on top of each image's own."
    )


class BatchFilterSerializer(serializers.Serializer):
    """Which batches to list."""

    status = serializers.CharField(
        required=False, help_text="One or more of the batch's states, separated by commas."
    )
    tool = serializers.CharField(required=False)
    created_after = serializers.DateTimeField(required=False, default_timezone=UTC)

    def validate_status(self, words: str) -> list[str]:
        """The states that the words name."""
        return _chosen(words, BatchState.values)


class ItemFilterSerializer(serializers.Serializer):
    """Which items to list."""

    state = serializers.CharField(
        required=False,
        help_text="One or more item states, or needs_review, separated by commas.",
    )

    def validate_state(self, words: str) -> list[str]:
        """The words, each of them known."""
        return _chosen(words, [*dict.fromkeys(ITEM_WORDS.values()), "needs_review"])


class DownloadSerializer(serializers.Serializer):
    """Whether a file is to be saved or to be shown."""

    download = serializers.BooleanField(required=False, default=False)


class PositionSerializer(serializers.Serializer):
    """Which of an item's results."""

    position = serializers.IntegerField(required=False, default=0, min_value=0, max_value=32767)


class ResultChoiceSerializer(PositionSerializer, DownloadSerializer):
    """Which of an item's results, and whether it is to be saved."""


class UploadFormSerializer(serializers.Serializer):
    """The form that an upload comes in."""

    file = serializers.FileField()


# --- Out ------------------------------------------------------------------------------


class UploadSerializer(serializers.ModelSerializer[Original]):
    """A picture that came in. ``bytes`` and ``sha256`` are those of the file as it was sent."""

    id = serializers.UUIDField(source="uid")
    url = serializers.SerializerMethodField()

    class Meta:
        """The columns that clients may rely on."""

        model = Original
        fields = ("id", "name", "bytes", "width", "height", "format", "sha256", "url")

    @extend_schema_field(serializers.URLField)
    def get_url(self, original: Original) -> str:
        """Where its owner finds the file."""
        return address(self.context["request"], "upload-file", original.uid)


class CountsSerializer(serializers.Serializer):
    """Items by state. ``needs_review`` is part of ``done``; the others add up to the total."""

    waiting = serializers.IntegerField()
    processing = serializers.IntegerField()
    done = serializers.IntegerField()
    needs_review = serializers.IntegerField()
    failed = serializers.IntegerField()
    cancelled = serializers.IntegerField()


class SpendingSerializer(serializers.Serializer):
    """Credits of one batch."""

    quoted = serializers.IntegerField()
    held = serializers.IntegerField()
    used = serializers.IntegerField()
    released = serializers.IntegerField()
    cap = serializers.IntegerField(allow_null=True)


class LinksSerializer(serializers.Serializer):
    """Where to go on from a batch."""

    self = serializers.URLField()
    items = serializers.URLField()
    results = serializers.URLField()
    page = serializers.URLField()


class BatchSerializer(serializers.Serializer):
    """A batch and how far it is."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    tool = serializers.CharField()
    settings = serializers.DictField()
    notice = serializers.CharField(
        allow_null=True,
        help_text="What the tool says of these settings, or why nothing of it begins.",
    )
    status = serializers.ChoiceField(choices=BatchState.values)
    total = serializers.IntegerField()
    counts = CountsSerializer()
    progress = serializers.IntegerField(min_value=0, max_value=100)
    eta_seconds = serializers.ListField(
        child=serializers.IntegerField(), min_length=2, max_length=2, allow_null=True
    )
    credits = SpendingSerializer()
    created_at = serializers.DateTimeField(default_timezone=UTC)
    started_at = serializers.DateTimeField(default_timezone=UTC, allow_null=True)
    finished_at = serializers.DateTimeField(default_timezone=UTC, allow_null=True)
    links = LinksSerializer()


def batch_as_read(
    batch: Batch, progress: Progress, request: Request, *, waiting: Container[int] = ()
) -> dict[str, Any]:
    """The batch as clients read it, from one look at its progress.

    `waiting` are the ids of batches that wait for others: see `dispatch.waiting`.
    """
    read: dict[str, Any] = BatchSerializer(
        {
            "id": batch.uid,
            "name": batch.name,
            "tool": batch.tool,
            "settings": batch.settings,
            "notice": _notice(batch, waiting, stalled=stalled.reason(batch, progress)),
            "status": progress.state,
            "total": progress.total,
            "counts": progress,
            "progress": progress.percent,
            "eta_seconds": progress.eta_seconds,
            "credits": {
                "quoted": progress.quoted,
                "held": progress.held,
                "used": progress.used,
                "released": progress.released,
                "cap": batch.cap,
            },
            "created_at": batch.created_at,
            "started_at": batch.started_at,
            "finished_at": batch.finished_at,
            "links": {
                "self": address(request, "batch", batch.uid),
                "items": address(request, "batch-items", batch.uid),
                "results": address(request, "batch-results", batch.uid),
                "page": request.build_absolute_uri(batch.get_absolute_url()),
            },
        }
    ).data
    return read


def beside_of(batch: Batch, request: Request, *, waiting: Container[int]) -> tuple[str, ...]:
    """What `batch_as_read` depends on beside the batch and its items."""
    lacking = stalled.nowhere(batch.tool)
    return request.build_absolute_uri("/"), _notice(batch, waiting) or "", *lacking


def _notice(batch: Batch, waiting: Container[int], *, stalled: str = "") -> str | None:
    """Why nothing of it begins, or what the tool says of these settings, if anything."""
    if batch.pk in waiting:
        return str(WAITS)
    if stalled:
        return stalled
    try:
        return registry.get(batch.tool).notice(batch.settings)
    except registry.UnknownTool:
        return None


class ErrorSerializer(serializers.Serializer):
    """Why an item failed."""

    code = serializers.CharField()
    message = serializers.CharField()


class ResultSerializer(serializers.ModelSerializer[Result]):
    """What came out of an item: a picture, or a text."""

    url = serializers.SerializerMethodField()
    thumbnail_url = serializers.SerializerMethodField()
    text = serializers.SerializerMethodField()
    report = serializers.SerializerMethodField()
    notes = serializers.ListField(source="told", child=serializers.CharField())

    class Meta:
        """The columns that clients may rely on."""

        model = Result
        fields = (
            "url",
            "thumbnail_url",
            "width",
            "height",
            "bytes",
            "format",
            "sha256",
            "text",
            "report",
            "notes",
        )

    @extend_schema_field(serializers.URLField)
    def get_url(self, result: Result) -> str:
        """Where its owner finds the file."""
        return self._address("item-result", result)

    @extend_schema_field(serializers.URLField(allow_null=True))
    def get_thumbnail_url(self, result: Result) -> str | None:
        """Where the small picture is, if there is one."""
        return self._address("item-thumbnail", result) if result.thumbnail_key else None

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_text(self, result: Result) -> str | None:
        """The text itself; null for pictures."""
        return None if result.key else result.text

    @extend_schema_field({"description": "A report, as JSON; null for pictures and texts."})
    def get_report(self, result: Result) -> Any:
        """A report, ready to read; null for pictures and texts."""
        return result.data

    def _address(self, name: str, result: Result) -> str:
        query = f"?position={result.position}" if result.position else ""
        return address(self.context["request"], name, self.context["item"].uid) + query


class ItemSerializer(serializers.ModelSerializer[Item]):
    """One image of a batch. Wants the results prefetched, in order of position."""

    id = serializers.UUIDField(source="uid")
    source_url = serializers.SerializerMethodField()
    state = serializers.SerializerMethodField()
    settings = serializers.DictField()
    error = serializers.SerializerMethodField()
    review = serializers.ListField(child=serializers.CharField())
    credits = serializers.SerializerMethodField()
    reused_from = serializers.SerializerMethodField()
    result = serializers.SerializerMethodField()
    results = serializers.SerializerMethodField()
    started_at = serializers.DateTimeField(default_timezone=UTC, allow_null=True)
    finished_at = serializers.DateTimeField(default_timezone=UTC, allow_null=True)

    class Meta:
        """The columns that clients may rely on."""

        model = Item
        fields = (
            "id",
            "external_id",
            "position",
            "name",
            "source_url",
            "state",
            "attempt",
            "settings",
            "error",
            "review",
            "credits",
            "reused_from",
            "result",
            "results",
            "started_at",
            "finished_at",
        )

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_source_url(self, item: Item) -> str | None:
        """The address that the caller gave, `sirv:/a.jpg` in an account; null for uploads."""
        return item.source or None

    @extend_schema_field(serializers.ChoiceField(choices=list(dict.fromkeys(ITEM_WORDS.values()))))
    def get_state(self, item: Item) -> str:
        """The state in the words of the API."""
        return ITEM_WORDS[item.state]

    @extend_schema_field(ErrorSerializer(allow_null=True))
    def get_error(self, item: Item) -> dict[str, str] | None:
        """Why it failed; null when it did not."""
        return {"code": item.error_code, "message": item.error} if item.error_code else None

    @extend_schema_field(serializers.IntegerField())
    def get_credits(self, item: Item) -> int:
        """What was charged for it."""
        return item.price or 0

    @extend_schema_field(serializers.UUIDField(allow_null=True))
    def get_reused_from(self, item: Item) -> str | None:
        """The item whose result this is, at no cost; null for what has run itself."""
        is_served = item.state == ItemState.DONE and item.reused_from
        return str(item.reused_from) if is_served else None

    @extend_schema_field(ResultSerializer(allow_null=True))
    def get_result(self, item: Item) -> Any:
        """The first result."""
        return next(iter(self.get_results(item)), None)

    @extend_schema_field(ResultSerializer(many=True))
    def get_results(self, item: Item) -> list[Any]:
        """All results, of which there may be several."""
        context = {**self.context, "item": item}
        return [ResultSerializer(result, context=context).data for result in item.results.all()]


def address(request: Request, name: str, uid: object) -> str:
    """The full address of one thing of the API."""
    return request.build_absolute_uri(reverse(f"api:{name}", args=[uid]))


def _chosen(words: str, known: Iterable[str]) -> list[str]:
    """Comma-separated words, all of which must be known."""
    chosen = [word.strip() for word in words.split(",")]
    known = list(known)
    for word in chosen:
        if word not in known:
            raise serializers.ValidationError(
                _("There is no “{word}”. Use one or more of: {known}.").format(
                    word=word, known=", ".join(known)
                ),
                code="invalid_choice",
            )
    return chosen


def _problems(detail: Any) -> Iterable[tuple[str, str]]:
    """The errors of one row as (field, words); the field is empty for the row as a whole."""
    if isinstance(detail, list):  # null in place of a row
        detail = {"non_field_errors": detail}
    for name, errors in detail.items():
        for error in errors if isinstance(errors, list) else [errors]:
            yield ("" if name == "non_field_errors" else str(name)), str(error)
