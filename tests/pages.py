"""Every page of the site, in every state: who looks at it, and what must be there first.

Whoever adds a page adds a line to `LOOKS`. From there it is looked at by the browser (in light
and dark, on a desk and on a phone), from right to left, and in a language that shows what was
left untranslated. `tests/studio/test_security_headers.py` fails while a page is missing here.
"""

import io
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.urls import URLPattern, get_resolver, reverse
from django.urls.resolvers import RoutePattern
from django.utils import timezone

from accounts import notices
from accounts.models import Connection, ConnectionKind, User, create_key
from batches import drafts, folders, intake, library, sheets, storage, webhooks
from batches.models import (
    Asset,
    Batch,
    Delivery,
    Item,
    Original,
    Parcel,
    ParcelState,
    Recurring,
    RecurringRun,
    Result,
    RunState,
    SourceKind,
    WebhookEndpoint,
    WebhookMessage,
    WebhookState,
)
from batches.states import BatchState, ItemState
from credits import ledger
from credits.models import Hold
from tests.factories import give, picture
from tools import examples, registry
from tools.catalog import alt_text

TOOL = "remove-background"
STRANGER, NEWCOMER, PERSON, STAFF = "stranger", "newcomer", "person", "staff"


@dataclass
class World:
    """Some people, and batches in every state."""

    person: User
    newcomer: User
    staff: User
    batches: dict[str, Batch] = field(default_factory=dict)
    singles: dict[str, Batch] = field(default_factory=dict)
    uploads: list[Original] = field(default_factory=list)
    webhook: WebhookEndpoint | None = None
    connections: list[Connection] = field(default_factory=list)
    assets: list[Asset] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    schedules: list[Recurring] = field(default_factory=list)

    def item(self, batch: str, state: ItemState) -> Item:
        """The first image of a batch in this state."""
        return self.batches[batch].items.filter(state=state).order_by("position")[0]

    @property
    def items(self) -> list[Item]:
        return list(Item.objects.filter(batch=self.batches["problems"]).order_by("position"))

    def user(self, who: str) -> User | None:
        """The one who looks; nobody when that is a stranger."""
        return None if who == STRANGER else getattr(self, who)

    @property
    def data(self) -> list[str]:
        """Names and values that people wrote or that stand for themselves: not for translation."""
        people = [self.person.email, self.newcomer.email, self.staff.email]
        keys = self.person.api_keys.values_list("name", "prefix")
        batches = [*self.batches.values(), *self.singles.values()]
        return [
            *people,
            *(batch.name for batch in batches),
            *(text for key in keys for text in key),
            *(text for one in self.connections for text in (one.name, *one.config.values())),
            *(one.get_kind_display() for one in self.connections),
            *(one.name for one in self.schedules),
            *(
                source
                for one in self.schedules
                for source in one.source.values()
                if source is not True
            ),
            *(folder.name for folder in self.person.folders.all()),
            *self.person.assets.values_list("alt_text", flat=True),
            *self.person.tags.values_list("name", flat=True),
            *("autumn.csv", "photo", "ftp://x", "14 & 15", *SHEET.replace("\n", ",").split(",")),
            *filter(None, map(examples.said, registry.all())),
            *(language for _code, language in alt_text.LANGUAGES),
        ]


STATES: dict[str, tuple[BatchState, list[ItemState]]] = {
    "ready": (BatchState.READY, [ItemState.PENDING] * 4),
    "running": (
        BatchState.RUNNING,
        [ItemState.DONE] * 3
        + [ItemState.FAILED, ItemState.RUNNING, ItemState.FETCHING, ItemState.QUEUED],
    ),
    "paused": (BatchState.PAUSED, [ItemState.DONE, ItemState.FETCHED, ItemState.QUEUED]),
    "sampled": (BatchState.SAMPLED, [ItemState.DONE] * 3 + [ItemState.PENDING] * 5),
    "finished": (BatchState.FINISHED, [ItemState.DONE] * 6),
    "problems": (BatchState.FINISHED, [ItemState.DONE] * 4 + [ItemState.FAILED] * 3),
    "failed": (BatchState.FINISHED, [ItemState.FAILED] * 2),
    "cancelled": (BatchState.CANCELLED, [ItemState.DONE] * 2 + [ItemState.CANCELLED] * 3),
    "importing": (BatchState.IMPORTING, [ItemState.PENDING] * 3),
    "draft": (BatchState.DRAFT, []),
}

PLANS = {
    "importing": {"rows": 12_000, "errors": []},
    "draft": {
        "rows": 12_000,
        "errors": [
            {"line": 14, "column": "photo", "value": "ftp://x", "code": "x", "detail": "14 & 15"}
        ],
    },
}
"""Of batches that are made of a long sheet."""

UNPAID = {BatchState.READY, BatchState.IMPORTING, BatchState.DRAFT}

SHEET = "photo,strength & more\nhttps://shop.example.com/1.png,3\nmug,4\n"
SHEET_TOOL = "add-shadow"

SINGLES: dict[str, tuple[BatchState, list[ItemState]]] = {
    "done": (BatchState.FINISHED, [ItemState.DONE]),
    "failed": (BatchState.FINISHED, [ItemState.FAILED]),
    "running": (BatchState.RUNNING, [ItemState.RUNNING]),
}

TROUBLES = [
    ("source_not_found", {"status": 404}),
    ("file_damaged", {}),
    ("source_unreachable.seconds", {"seconds": 20}),
]


def build(photos: Sequence[bytes] = (), cutouts: Sequence[bytes] = ()) -> World:
    """Make the world. Rows are written as they are: what leads to them is tested elsewhere.

    The pictures are plain unless some are given: what comes in, and what comes out.
    """
    world = World(
        person=User.objects.create_user(email="ada@example.com", password="ada's password"),
        newcomer=User.objects.create_user(email="new@example.com", password="new's password"),
        staff=User.objects.create_superuser(email="staff@example.com", password="staff's password"),
    )
    give(world.person, 1240)
    world.uploads = [
        intake.receive(world.person, content, name=f"mug-{number}.png")[0]
        for number, content in enumerate(photos or [picture(n) for n in range(3)])
    ]
    results = [(f"{uuid.uuid4()}.png", content) for content in cutouts or [picture()]]
    for key, content in results:
        storage.save(storage.RESULTS, key, content)
    for number, (name, (state, items)) in enumerate(STATES.items()):
        called = f"{number} {name} & <mugs> with-a-name-that-does-not-want-to-end"
        world.batches[name] = _batch_of(world, called, state, items, results)
    for name, plan in PLANS.items():
        Batch.objects.filter(pk=world.batches[name].pk).update(plan=plan)
    for name, (state, items) in SINGLES.items():
        world.singles[name] = _batch_of(world, f"one {name}", state, items, results, single=True)
    fill_library(world)
    _connect(world)
    world.deliveries = _deliveries_of(world, world.batches["finished"])
    world.schedules = _schedules_of(world)
    keep_draft(world)
    sheet = sheets.keep(world.person, io.BytesIO(SHEET.encode()), "autumn.csv")
    drafts.place(world.person, SHEET_TOOL, {"sheet": [str(sheet.uid)]})
    create_key(world.person, name="The shop's own system")
    world.webhook = _webhook(world.person)
    return world


def _webhook(owner: User) -> WebhookEndpoint:
    """One that was given up, with a message in each state."""
    endpoint = webhooks.register(
        owner, url="https://hooks.example.com/studio", events=["batch.finished"]
    )
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(disabled_at=timezone.now())
    tried = {"at": "2026-11-27T08:00:00+00:00", "seconds": 0.2, "status": 503, "code": ""}
    lost = {"at": "2026-11-27T08:00:05+00:00", "seconds": 15.0, "status": None, "code": "dns"}
    for state in WebhookState.values:
        WebhookMessage.objects.create(
            owner=owner,
            endpoint=endpoint,
            url=endpoint.url,
            event="batch.finished",
            payload={"total": 40},
            state=state,
            attempts=[tried, lost],
        )
    return endpoint


def _connect(world: World) -> None:
    """An account that works, and one that no longer does."""
    sirv = Connection(
        owner=world.person,
        kind=ConnectionKind.SIRV,
        name="Mug shop",
        config={"client_id": "a1b2c3", "account": "mugshop", "cdn": "mugshop.sirv.com"},
        folders={TOOL: "products/cutouts"},
        checked_at=timezone.now(),
    )
    bucket = Connection(
        owner=world.person,
        kind=ConnectionKind.S3,
        name="Archive with-a-name-that-does-not-want-to-end",
        config={"bucket": "mugs", "region": "eu-central-1", "key_id": "AKIA1", "prefix": "2026"},
        error_code="store_credentials",
    )
    for connection in (sirv, bucket):
        connection.secret = "not a real one"
        connection.save()
        world.connections.append(connection)


def fill_library(world: World) -> None:
    """Some pictures in folders, one of them with its result, and one in the trash."""
    folder = folders.ensure(world.person, ["Shop & <mugs>", "from-the-side-of-the-handle"])
    assert folder
    assert folder.parent
    world.assets = [
        library.add(world.person, upload, folder=to, tags=["sale"])
        for upload, to in zip(world.uploads, [folder.parent, folder, None], strict=False)
    ]
    first = world.batches["finished"].items.order_by("position")[0]
    world.assets.append(library.add(world.person, first.results.get(), folder=folder.parent))
    library.edit(world.assets[0], alt_text="A mug, seen from the side of its handle")
    library.favourite(world.person, [world.assets[0].uid], on=True)
    library.trash(world.person, [world.assets[2].uid])


def _deliveries_of(world: World, batch: Batch) -> list[Delivery]:
    """One to an account, with a result in every state, and a file."""
    sent = Delivery.objects.create(
        batch=batch,
        to="sirv",
        connection=world.connections[0],
        state="finished",
        options={"folder": "mugs/handles-seen-from-the-side", "conflict": "rename"},
    )
    results = Result.objects.filter(item__batch=batch).order_by("item__position")
    for result, state in zip(results, ParcelState.values, strict=False):
        place = f"mugs/{result.item.name}"
        Parcel.objects.create(
            delivery=sent,
            result=result,
            name=result.item.name,
            state=state,
            place=place,
            url=f"https://mugs.sirv.example/{place}",
            error_code="store_damaged" if state == ParcelState.FAILED else "",
        )
    made = Delivery.objects.create(
        batch=batch, to="csv", state="failed", error_code="disk_full", follows=True
    )
    return [sent, made]


def _schedules_of(world: World) -> list[Recurring]:
    """One that works, with a run in every state, and one that was given up."""
    now = timezone.now()
    works = Recurring.objects.create(
        owner=world.person,
        name="New mugs & <cups> of each-day-that-does-not-want-to-end",
        tool=TOOL,
        settings=registry.get(TOOL).defaults(),
        kind=SourceKind.ACCOUNT,
        source={"path": "products/new", "deep": True},
        connection=world.connections[0],
        delivery={"to": "library", "connection": "", "options": {"folder": "Cutouts"}},
        cap=200,
        cron="0 6 * * 1-5",
        zone="Europe/Berlin",
        next_at=now + timedelta(hours=9),
    )
    given_up = Recurring.objects.create(
        owner=world.person,
        name="Price list",
        tool=TOOL,
        settings=registry.get(TOOL).defaults(),
        kind=SourceKind.SHEET,
        source={"address": "https://docs.google.com/spreadsheets/d/1aBcD/edit#gid=0"},
        cron="*/20 9-17 * * *",
        zone="UTC",
        is_on=False,
        failures=5,
    )
    counted = {"found": 43, "new": 6, "changed": 1, "unchanged": 35, "given_up": 1, "taken": 6}
    ended = {"finished": {**counted, "done": 5, "failed": 1, "credits": 5}}
    ended["running"] = counted
    ended["nothing_new"] = {"found": 43, "unchanged": 43}
    for number, state in enumerate(RunState.values):
        RecurringRun.objects.create(
            recurring=works,
            due_at=now - timedelta(days=number),
            state=state,
            batch=world.batches.get(state),
            error_code={"failed": "store_credentials", "skipped": "recurring_still_running"}.get(
                state, ""
            ),
            **ended.get(state, {}),
        )
    RecurringRun.objects.create(
        recurring=given_up,
        due_at=now,
        state=RunState.FAILED,
        error_code="recurring_column_lost",
        error_params={"column": "photo"},
        has_paused=True,
    )
    return [works, given_up]


def keep_draft(world: World) -> None:
    """Leave pictures on the newcomer's page, as somebody would who is called away."""
    cups = [
        intake.receive(world.newcomer, picture(number), name=f"cup-{number}.png")[0]
        for number in range(3)
    ]
    drafts.add(world.newcomer, TOOL, cups)


def _batch_of(
    world: World,
    name: str,
    state: BatchState,
    items: Sequence[ItemState],
    results: Sequence[tuple[str, bytes]],
    *,
    single: bool = False,
) -> Batch:
    """A batch with items in these states, and the credits that they would have cost."""
    batch = Batch.objects.create(
        owner=world.person,
        tool=TOOL,
        state=state,
        name=name,
        single=single,
        settings=registry.get(TOOL).defaults(),
    )
    hold = None
    if state not in UNPAID:
        hold = ledger.hold(world.person, len(items), key=name, reference=batch.reference)
    for position, item_state in enumerate(items):
        item = _item(world, batch, position, item_state, hold=hold)
        if item_state == ItemState.DONE:
            key, content = results[position % len(results)]
            Result.objects.create(
                item=item,
                key=key,
                thumbnail_key=key,
                format="png",
                width=64,
                height=48,
                bytes=len(content),
                sha256="0" * 64,
            )
    return batch


def _item(
    world: World, batch: Batch, position: int, state: ItemState, *, hold: Hold | None
) -> Item:
    code, params = TROUBLES[position % len(TROUBLES)]
    failed = state == ItemState.FAILED
    return Item.objects.create(
        batch=batch,
        position=position,
        name=f"mug-{position}-seen-from-the-side-of-the-handle.png",
        original=None if failed else world.uploads[position % len(world.uploads)],
        source_url=f"https://shop.example/pictures/mug-{position}.png" if failed else "",
        state=state,
        error_code=code if failed else "",
        error_params=params if failed else {},
        hold=hold,
        settings=batch.settings,
        held_price=1,
        price=1 if state == ItemState.DONE else None,
        attempt=0 if state == ItemState.PENDING else 1,
    )


@dataclass(frozen=True)
class Look:
    """One page in one state."""

    label: str
    name: str
    """Of its address."""
    who: str = PERSON
    args: Callable[[World], list[object]] = lambda _world: []
    query: str = ""
    status: int = 200

    def path(self, world: World) -> str:
        return reverse(self.name, args=self.args(world)) + self.query


def _tool(_world: World) -> list[object]:
    return [TOOL]


def _other(slug: str) -> Callable[[World], list[object]]:
    return lambda _world: [slug]


def _single(state: str) -> Callable[[World], list[object]]:
    return lambda world: [TOOL, world.singles[state].items.get().uid]


def _image(batch: str, state: ItemState) -> Callable[[World], list[object]]:
    return lambda world: [world.item(batch, state).uid]


def _batch(state: str) -> Callable[[World], list[object]]:
    return lambda world: [world.batches[state].uid]


def _connection(number: int) -> Callable[[World], list[object]]:
    return lambda world: [world.connections[number].uid]


def _schedule(number: int) -> Callable[[World], list[object]]:
    return lambda world: [world.schedules[number].uid]


def _asset(number: int) -> Callable[[World], list[object]]:
    return lambda world: [world.assets[number].uid]


def _folder(world: World) -> list[object]:
    folder = world.assets[0].folder
    assert folder
    return [folder.uid]


LOOKS = [
    Look("home", "home", STRANGER),
    Look("sign-in", "accounts:login", STRANGER),
    Look("tool-signed-out", "batches:new", STRANGER, _tool),
    Look("sign-up", "accounts:sign_up", STRANGER),
    Look("confirm-old-link", "accounts:confirm", PERSON, lambda _world: ["old"], status=410),
    Look(
        "unsubscribe",
        "accounts:unsubscribe",
        STRANGER,
        lambda world: [notices.token(world.person, "low")],
    ),
    Look("password-reset", "accounts:password_reset", STRANGER),
    Look("password-reset-sent", "accounts:password_reset_sent", STRANGER),
    Look("password-old-link", "accounts:password_choose", STRANGER, lambda _world: ["x", "old"]),
    Look("gallery-signed-out", "batches:gallery", STRANGER),
    Look("gallery", "batches:gallery"),
    Look("tool", "batches:new", PERSON, _tool),
    Look("tool-sheet", "batches:new", PERSON, _other(SHEET_TOOL)),
    Look("tool-draft", "batches:new", NEWCOMER, _tool),
    *(
        Look(f"tool-{slug}", "batches:single", PERSON, _other(slug))
        for slug in ("product-lifestyle", "object-removal", "smart-crop")
    ),
    Look("tool-alt-text", "batches:new", PERSON, _other("alt-text")),
    Look("single-signed-out", "batches:single", STRANGER, _tool),
    Look("single", "batches:single", PERSON, _tool),
    Look("single-empty", "batches:single", NEWCOMER, _tool),
    *(Look(f"single-{state}", "batches:single_image", PERSON, _single(state)) for state in SINGLES),
    Look("batches", "batches:index"),
    Look("batches-empty", "batches:index", NEWCOMER),
    *(Look(f"batch-{state}", "batches:detail", PERSON, _batch(state)) for state in STATES),
    Look("batch-failed-only", "batches:detail", PERSON, _batch("problems"), "?show=failed"),
    Look("delivery", "batches:delivery", PERSON, lambda world: [world.deliveries[0].uid]),
    Look("delivery-file", "batches:delivery", PERSON, lambda world: [world.deliveries[1].uid]),
    Look("rename", "batches:rename", PERSON, _batch("finished")),
    Look("delete", "batches:delete", PERSON, _batch("finished")),
    Look("delete-live", "batches:delete", PERSON, _batch("running")),
    Look("item-done", "batches:item", PERSON, _image("problems", ItemState.DONE)),
    Look("item-failed", "batches:item", PERSON, _image("problems", ItemState.FAILED)),
    Look("schedules", "batches:schedules"),
    Look("schedules-empty", "batches:schedules", NEWCOMER),
    Look("schedule-choose", "batches:schedule_choose"),
    Look("schedule-new", "batches:schedule_new", PERSON, _tool),
    Look("schedule", "batches:schedule", PERSON, _schedule(0)),
    Look("schedule-given-up", "batches:schedule", PERSON, _schedule(1)),
    Look("schedule-edit", "batches:schedule_edit", PERSON, _schedule(0)),
    Look("library", "batches:library"),
    Look("library-empty", "batches:library", NEWCOMER),
    Look("library-trash", "batches:library", query="?trash=1"),
    Look("library-nothing", "batches:library", query="?q=teapot"),
    Look("folder", "batches:folder", PERSON, _folder),
    Look("asset", "batches:asset", PERSON, _asset(3)),
    Look("asset-in-trash", "batches:asset", PERSON, _asset(2)),
    Look("picker", "batches:pick", PERSON, _tool),
    Look("account", "accounts:home"),
    Look("email", "accounts:email"),
    Look("password", "accounts:password"),
    Look("keys", "accounts:keys"),
    Look("keys-empty", "accounts:keys", NEWCOMER),
    Look("webhooks", "batches:webhooks"),
    Look("webhooks-empty", "batches:webhooks", NEWCOMER),
    Look("webhook", "batches:webhook", PERSON, lambda world: [world.webhook.uid]),
    Look("webhook-secret", "batches:webhook_secret"),
    Look("connections", "batches:connections"),
    Look("connections-empty", "batches:connections", NEWCOMER),
    *(
        Look(f"connect-{kind}", "batches:connection_new", PERSON, _other(kind))
        for kind in ("sirv", "s3")
    ),
    Look("connection", "batches:connection", PERSON, _connection(0)),
    Look("connection-refused", "batches:connection", PERSON, _connection(1)),
    Look("preferences", "accounts:preferences"),
    Look("credits", "credits:statement"),
    Look("credits-empty", "credits:statement", NEWCOMER),
    Look("leave", "batches:leave"),
    Look("api", "reference", STRANGER),
    Look("offline", "offline", STRANGER),
    Look("not-found", "batches:detail", PERSON, lambda _world: [uuid.UUID(int=0)], status=404),
    Look("no-page", "batches:pause", PERSON, _batch("running"), status=405),
]

BESIDE_PAGES = {"admin", "api", "zapier"}
"""Name spaces with tables of their own."""


def session_cookie(user: User) -> dict[str, str]:
    """A cookie that lets a browser be this person, without the sign-in form."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return {"name": settings.SESSION_COOKIE_NAME, "value": str(session.session_key)}


def addresses() -> Iterator[tuple[str, str, URLPattern]]:
    """Every named address of the site: its name, its route, and Django's pattern for it."""

    def walk(patterns, prefix: str, space: str) -> Iterator[tuple[str, str, URLPattern]]:
        for pattern in patterns:
            route = prefix + str(pattern.pattern)
            if hasattr(pattern, "url_patterns"):
                inner = getattr(pattern, "namespace", None)
                yield from walk(pattern.url_patterns, route, f"{space}{inner}:" if inner else space)
            elif pattern.name and isinstance(pattern.pattern, RoutePattern):
                yield space + pattern.name, route, pattern

    yield from walk(get_resolver().url_patterns, "", "")


def filled(route: str, world: World) -> str:
    """An address for a route, with things of the world in it wherever there are some."""
    things = {
        "uploads": world.uploads[0].uid,
        "items": world.items[0].uid,
        "library": world.assets[0].uid,
        "deliveries": world.deliveries[0].uid,
        "schedules": world.schedules[0].uid,
    }
    uid = things.get(route.split("/", maxsplit=1)[0], world.batches["problems"].uid)
    values = {"uuid": uid, "slug": TOOL, "int": 1, "str": "x", "path": "1"}

    def value(match: re.Match[str]) -> str:
        kind, _colon, _name = match[1].rpartition(":")
        return str(values[kind or "str"])

    return "/" + re.sub(r"<([^>]+)>", value, route)
