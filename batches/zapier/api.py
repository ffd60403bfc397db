"""The doors themselves: test a key, send a picture, call a tool, run many, ask how far they are."""

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any
from uuid import UUID

from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.db.models import Prefetch
from django.urls import reverse
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import idempotency
from accounts.idempotency import idempotent
from accounts.plans import plan_for
from batches import lifecycle, links, one_image, own_addresses, progress, waiting
from batches.api import UploadsView, batch_of, file_in, once, received, user_of
from batches.models import Batch, Item, Original, Result
from batches.names import split_name
from batches.serializers import LONGEST_ID
from batches.sources.base import Row
from batches.states import ENDED, BatchState, ItemState
from batches.zapier import table
from batches.zapier.answers import DoorView, ItemFailed, NoPlaceToWait, SourceRefused, TimedOut
from batches.zapier.table import IMAGE, IMAGES, MODEL, SCALE, Call, Door
from credits import ledger

PATIENCE = 350.0
"""Seconds that one image is waited for: clients give up after 360."""

SENT_AS = "upload"
"""What such clients call every file that they send."""


class MeView(DoorView):
    """``GET me``: the call that tests a key."""

    def get(self, request: Request) -> Response:
        """Who it is, what they have, and on which plan."""
        user = user_of(request)
        me = {
            "id": str(user.uid),
            "email": user.email,
            "credits": ledger.balance(user).available,
            "tier": plan_for(user).name,
        }
        return Response(me)


class UploadView(DoorView, UploadsView):
    """``POST upload``: a picture comes in, and gets an address that a tool call may name."""

    @idempotent
    def post(self, request: Request) -> Response:
        """Keep the picture; the address opens it for whoever has it."""
        file = file_in(request)
        original, _new = received(request, file, name=_name(file))
        answer = {
            "url": links.upload_link(original),
            "id": str(original.uid),
            "width": original.width,
            "height": original.height,
        }
        return Response(answer)


class CallView(DoorView):
    """What calls of tools have in common."""

    door: Door = None  # type: ignore[assignment]  # `as_view` gives it

    def field_at(self, pointer: list[str]) -> str:
        """The caller's name for a place in what our verbs were given."""
        row = []
        if pointer[:1] == [IMAGES] and len(pointer) > 1:
            row, pointer = pointer[:2], pointer[2:]
        name = pointer[-1] if pointer else ""
        if row and name in ("", "url", "upload"):
            name = IMAGE
        return ".".join([*self.place_of(row), table.field_of(self.door, name)]).strip(".")

    def place_of(self, row: list[str]) -> list[str]:
        """What stands before the name of a field, for a row of ours."""
        return row

    def read(self, request: Request) -> Call:
        """What is asked, with pictures of our own in the settings by their ids."""
        call = table.read(self.door, request.data)
        words = {name: text for name, text in call.settings.items() if isinstance(text, str)}
        named = call.tool.image_settings(words)
        ours = own_addresses.pictures(user_of(request), named.values(), host=request.get_host())
        for name, address in named.items():
            if address in ours:
                call.settings[name] = str(_usable(ours[address]).uid)
        return call


class ToolView(CallView):
    """``POST remove-bg`` and its like: one picture, and the answer when it is done."""

    def place_of(self, row: list[str]) -> list[str]:  # noqa: ARG002
        """There is one picture: nothing stands before its fields."""
        return []

    @idempotent
    def post(self, request: Request) -> Response:
        """Run the tool and wait. What isn't done in time is cancelled and costs nothing."""
        try:
            with waiting.place():
                call = self.read(request)
                batch = once(request, partial(self._start, request, call))
                item = _ended(batch.items.select_related("batch").get(), request)
        except waiting.NoPlace:
            raise NoPlaceToWait from None
        if item.state != ItemState.DONE:
            raise ItemFailed(item)
        return self._answer(call, item)

    def _start(self, request: Request, call: Call, uid: UUID) -> Batch:
        """Start what is asked for, as the batch of this id."""
        asked = _ImageSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        row = _rows(request, [asked.validated_data])[0]
        if row.refusal:
            raise SourceRefused(*row.refusal)
        owner = user_of(request)
        return one_image.start(owner, call.tool, row, settings=call.settings, uid=uid).batch

    def _answer(self, call: Call, item: Item) -> Response:
        made = list(item.results.order_by("position"))
        answer = {"id": str(item.uid), **_made(item, made), "credits_used": item.price or 0}
        if len(made) > 1:
            answer["image_urls"] = [links.result_link(one, item=item) for one in made]
        answer |= _ran(item.settings, call)
        self.charged = answer["credits_used"]
        return Response(answer)


class BatchView(CallView):
    """``POST batch/remove-bg`` and its like: many pictures, and a job to ask about."""

    @idempotent
    def post(self, request: Request) -> Response:
        """Make the batch and start it. Images that can't be used fail by themselves, at no cost."""
        call = self.read(request)
        batch = once(request, partial(self._start, request, call))
        look = progress.of(batch, now=None)
        answer = {
            "id": str(batch.uid),
            "job_id": str(batch.uid),
            "status": "queued",
            "total": look.total,
            "estimated_credits": look.quoted,
            "poll_url": request.build_absolute_uri(reverse("zapier:status", args=[batch.uid])),
            **_ran(batch.settings, call),
        }
        return Response(answer)

    def _start(self, request: Request, call: Call, uid: UUID) -> Batch:
        """Make and start what is asked for, as the batch of this id."""
        owner = user_of(request)
        given = request.data.get(IMAGES) if isinstance(request.data, dict) else None
        if isinstance(given, list):  # before each of too many is looked at
            lifecycle.refuse_too_many(owner, len(given))
        asked = _ImagesSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        rows = _rows(request, asked.validated_data[IMAGES])
        with transaction.atomic():
            batch = lifecycle.create(
                owner, call.tool, rows, settings=call.settings, skip_invalid=True, uid=uid
            )
            return lifecycle.start(batch)


class StatusView(DoorView):
    """``GET batch/status/{jobId}``."""

    def get(self, request: Request, uid: UUID) -> Response:
        """How far a job is, and what has come of each image that has ended."""
        batch = batch_of(request, uid)
        look = progress.of(batch, now=None)
        failed = look.failed + look.cancelled
        answer = {
            "id": str(batch.uid),
            "job_id": str(batch.uid),
            "status": _status(look),
            "total": look.total,
            "completed": look.done,
            "failed": failed,
            "pending": look.total - look.done - failed,
            "progress": look.percent,
            "credits_used": look.used,
            "credits_remaining": ledger.balance(batch.owner).available,
            "results": [_result(item) for item in _ended_items(batch)],
        }
        return Response(answer)


class NoDoorView(DoorView):
    """Whatever else is asked for here: the answer says which doors there are."""

    def get(self, _request: Request, path: str) -> Response:
        """Nothing to read."""
        return self.post(_request, path)

    def post(self, _request: Request, path: str) -> Response:
        """Nothing to call."""
        raise NotFound(
            _("This studio does not have “{path}”. It has: {doors}.").format(
                path=path[:100], doors=", ".join(["me", "upload", *table.DOORS])
            )
        )


# --- What comes in --------------------------------------------------------------------


class _ImageSerializer(serializers.Serializer):
    """One picture by its address, with the caller's own id. Other fields are settings."""

    id = serializers.CharField(
        required=False, allow_null=True, allow_blank=True, max_length=LONGEST_ID
    )
    image_url = serializers.CharField(trim_whitespace=True)


class _ImagesSerializer(serializers.Serializer):
    """Many of them."""

    images = _ImageSerializer(many=True, allow_empty=False)


def _rows(request: Request, images: list[Mapping[str, Any]]) -> list[Row]:
    """The pictures as rows: an address of ours is an upload, or says itself why it can't be one."""
    addresses = [image[IMAGE] for image in images]
    ours = own_addresses.pictures(user_of(request), addresses, host=request.get_host())
    rows = []
    for image in images:
        own_id = image.get("id") or ""
        match ours.get(image[IMAGE]):
            case None:
                rows.append(Row(url=image[IMAGE], external_id=own_id))
            case Original() as original:
                rows.append(Row(upload=str(original.uid), name=original.name, external_id=own_id))
            case refusal:
                rows.append(Row(refusal=refusal, external_id=own_id))
    return rows


def _usable(found: Original | own_addresses.Refusal) -> Original:
    """The original; raises `SourceRefused` where there is none."""
    if isinstance(found, Original):
        return found
    raise SourceRefused(*found)


def _name(file: UploadedFile) -> str:
    """What to call a file that was sent: one that every file is called tells nothing apart."""
    stem, ending = split_name(file.name or "")
    if stem.lower() != SENT_AS:
        return file.name or ""
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    file.seek(0)
    return f"{stem}-{digest.hexdigest()[:8]}{ending}"


# --- What goes out --------------------------------------------------------------------


def _ended(item: Item, request: Request) -> Item:
    """The item once it has ended.

    Raises `TimedOut` after cancelling what takes too long, or what nobody waits for any more.
    """
    gone = partial(waiting.has_gone, request.META)
    try:
        item = waiting.until_ended(item, seconds=PATIENCE, unless=gone)
        if item.state in ENDED:
            return item
        try:
            lifecycle.cancel(item.batch)
        except lifecycle.StateConflict:  # it ended just now
            return Item.objects.select_related("batch").get(pk=item.pk)
    except Item.DoesNotExist:
        raise NotFound(_("Somebody deleted this image. Nothing was charged.")) from None
    if Item.objects.filter(pk=item.pk, state=ItemState.DONE).exists():
        return Item.objects.select_related("batch").get(pk=item.pk)
    idempotency.forget(request)
    raise TimedOut


def _made(item: Item, results: list[Result]) -> dict[str, Any]:
    """What came out of an item: the address of a picture, or a text and whose it is."""
    first = results[0]
    if first.key:
        return {"image_url": links.result_link(first, item=item)}
    shown = links.upload_link(item.original) if item.original else item.source_url
    return {"image_url": shown, "alt_text": first.text}


def _ran(settings: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """What was made of the request: the model and scale that ran, and what meant nothing here."""
    told = {name: settings[name] for name in (MODEL, SCALE) if name in call.settings}
    told.setdefault(MODEL, settings[MODEL])
    return {**told, "ignored": call.ignored} if call.ignored else told


def _status(look: progress.Progress) -> str:
    """A job's state in the four words that such clients know."""
    if look.state in (BatchState.FINISHED, BatchState.CANCELLED):
        return "completed" if look.done else "failed"
    begun = look.finished or look.processing
    return "processing" if begun else "queued"


def _ended_items(batch: Batch) -> list[Item]:
    """The images that have ended, in their order, with all that `_result` asks of them."""
    results = Prefetch("results", queryset=Result.objects.order_by("position"))
    ended = batch.items.filter(state__in=ENDED).order_by("position")
    items = list(ended.select_related("original").prefetch_related(results))
    for item in items:
        item.batch = batch
    return items


def _result(item: Item) -> dict[str, Any]:
    """What came of an image, under the caller's id for it."""
    about = {"id": item.external_id or str(item.position + 1)}
    if item.state == ItemState.DONE:
        return {**about, "status": "completed", **_made(item, list(item.results.all()))}
    failed = ItemFailed(item)
    code = str(failed.get_codes()).upper()
    return {**about, "status": "failed", "error": str(failed.detail), "code": code}
