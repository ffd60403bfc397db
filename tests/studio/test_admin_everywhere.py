"""What holds for every page of the admin, whichever model it is of."""

import contextlib
import uuid
from collections.abc import Callable, Iterable
from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.auth.models import Group
from django.db import connection
from django.db.models import Model
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts import trail
from accounts.models import ApiKey, Connection, Plan, StaffAction, User
from batches.models import (
    Asset,
    Batch,
    Delivery,
    Item,
    Original,
    Parcel,
    Recurring,
    RecurringRun,
    Result,
    ToolRule,
    WebhookEndpoint,
    WebhookMessage,
)
from credits.models import CreditAccount, Grant, Hold, HoldPart, LedgerEntry, PromoCode
from studio.models import ScheduledRun

pytestmark = pytest.mark.usefixtures("valkey")

FEW, SOME, MANY = 5, 60, 5_000
PAGE = 15
"""Rows of a list: less than a page, some pages, and many pages; and how long a page is here."""


class Rows:
    """Rows of every kind, made at once and without the verbs: lists only have to show them."""

    def __init__(self, owner: User) -> None:
        self.owner = owner
        self.account = CreditAccount.objects.get_or_create(owner=owner)[0]
        self.batch = Batch.objects.create(owner=owner, tool="fake", name="Mugs")
        self.grant = self._grant("first")
        self.grant.save()
        self.endpoint = self._endpoint()
        self.endpoint.save()
        self.original = Original.objects.create(
            owner=owner, name="a.png", sha256="0", bytes=1, format="png", width=1, height=1,
            key="a", content_type="image/png", thumbnail_key="b",
        )  # fmt: skip
        self.schedule = Recurring.objects.create(
            owner=owner, name="Mugs", tool="fake", kind="library", cron="0 6 * * *", zone="UTC"
        )
        self.made = 0

    def add(self, model: type[Model], count: int) -> None:
        """So many more rows of a model, with what their list shows beside them."""
        numbers = range(self.made, self.made + count)
        self.made += count
        rows = model._default_manager.bulk_create(self.of(model, numbers), batch_size=1000)
        if model is Item:
            Result.objects.bulk_create(
                Result(item=row, key="k", thumbnail_key="t", format="png", bytes=1, sha256="0")
                for row in rows
            )
        if model is Hold:
            HoldPart.objects.bulk_create(
                HoldPart(hold=row, grant=self.grant, amount=1) for row in rows
            )
        if model is Batch:
            Item.objects.bulk_create(
                Item(batch=row, position=0, name="a.png", state="failed") for row in rows[-SOME:]
            )
        if model is Delivery:
            item = Item.objects.create(batch=self.batch, position=10**6 + self.made, name="a.png")
            result = Result.objects.create(item=item, format="png", bytes=1, sha256="0")
            Parcel.objects.bulk_create(
                Parcel(delivery=row, result=result, state="failed", error_code="library_full")
                for row in rows
            )

    def of(self, model: type[Model], numbers: Iterable[int]) -> list[Model]:
        """Rows that are not stored yet."""
        make = self.makers()[model]
        return [make(number) for number in numbers]

    def makers(self) -> dict[type[Model], Callable[[int], Model]]:
        """How a row of each model is made; whoever registers a model adds a line."""
        now, owner = timezone.now(), self.owner
        return {
            User: lambda n: User(email=f"{n}@many.example", password="!"),
            Group: lambda n: Group(name=f"group {n}"),
            Plan: lambda n: Plan(
                slug=f"plan-{n}", name=f"Plan {n}", batch_images=1, library_bytes=1
            ),
            ApiKey: lambda n: ApiKey(
                user=owner, name="k", prefix=f"sk_{n}", digest=f"{n}", scopes=["read"]
            ),
            Connection: lambda n: Connection(
                owner=owner, kind="s3", name=f"shop {n}", sealed_secret="sealed"
            ),
            StaffAction: lambda n: StaffAction(
                actor=owner, actor_email=owner.email, action="batch.pause", reason=f"{n}"
            ),
            Batch: lambda n: Batch(owner=owner, tool="fake", name=f"batch {n}"),
            Item: lambda n: Item(
                batch=self.batch, position=n, name=f"{n}.png", state="failed",
                error_code="no_subject", original=self.original,
            ),
            Asset: lambda n: Asset(
                owner=owner, name=f"{n}.png", key="k", format="png", bytes=1, sha256="0",
                tool="fake", trashed_at=now,
            ),
            Recurring: lambda n: Recurring(
                owner=owner, name=f"mugs {n}", tool="fake", kind="library", cron="0 6 * * *",
                zone="UTC", next_at=now,
            ),
            RecurringRun: lambda n: RecurringRun(
                recurring=self.schedule, batch=self.batch, state="failed",
                due_at=now - timedelta(days=n), error_code="recurring_no_addresses",
            ),
            Delivery: lambda n: Delivery(
                batch=self.batch, to="library", state="failed", error_code="library_full",
                filename=f"{n}",
            ),
            WebhookEndpoint: lambda _n: self._endpoint(),
            WebhookMessage: lambda n: WebhookMessage(
                owner=owner, endpoint=self.endpoint, url=self.endpoint.url, event="ping",
                payload={"n": n},
            ),
            ToolRule: lambda n: ToolRule(tool=f"tool-{n}"),
            CreditAccount: lambda n: CreditAccount(
                owner=User.objects.create(email=f"{n}@rich.example", password="!")
            ),
            Grant: lambda n: self._grant(f"grant:{n}"),
            Hold: lambda n: Hold(account=self.account, key=f"hold:{n}", reference=f"batch:{n}"),
            LedgerEntry: lambda n: LedgerEntry(
                account=self.account, kind="grant", available_delta=1, held_delta=0,
                available_after=1, held_after=0, key=f"entry:{n}", actor=owner,
            ),
            PromoCode: lambda n: PromoCode(code=f"CODE-{n}", amount=1),
            ScheduledRun: lambda n: ScheduledRun(name=f"chore-{n}", begun_at=now),
        }  # fmt: skip

    def _grant(self, key: str) -> Grant:
        return Grant(
            account=self.account, kind="purchase", amount=9, remaining=9, priority=1, key=key
        )

    def _endpoint(self) -> WebhookEndpoint:
        return WebhookEndpoint(
            owner=self.owner, url="https://a.io/hook", events=["ping"], sealed_secret="sealed"
        )


GROWING = {Item, LedgerEntry}
"""Tables that get a row for each image."""


@pytest.fixture
def rows(alice):
    return Rows(alice)


def models():
    return [model for model in admin.site._registry if model._meta.managed]


def address(model, page, *args):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def request_of(user, path="/"):
    request = RequestFactory().get(path)
    request.user = user
    return request


def pages_of(model, staff):
    """Every page of a model that a superuser may open, with a row that is there."""
    options, request = admin.site._registry[model], request_of(staff)
    row = model._default_manager.order_by("-pk")[0]
    found = [address(model, "changelist"), address(model, "change", row.pk)]
    if options.has_add_permission(request):
        found.append(address(model, "add"))
    if options.has_delete_permission(request, row):
        found.append(address(model, "delete", row.pk))
    return found


def test_each_model_of_the_admin_is_in_the_tables_of_these_tests(rows):
    assert set(models()) == set(rows.makers())


def test_every_list_asks_as_little_for_many_rows_as_for_few(client, staff, rows, monkeypatch):
    client.force_login(staff)
    grown = []

    for model in models():
        monkeypatch.setattr(admin.site._registry[model], "list_per_page", PAGE)
        rows.add(model, FEW)
        client.get(address(model, "changelist"))  # what a process asks for once
        with CaptureQueriesContext(connection) as few:
            assert client.get(address(model, "changelist")).status_code == 200
        rows.add(model, MANY if model in GROWING else SOME)
        with CaptureQueriesContext(connection) as many:
            page = client.get(address(model, "changelist"))
        assert len(page.context["cl"].result_list) == PAGE
        if len(many) > len(few) or len(many) > 12:
            more = [query["sql"][:200] for query in many.captured_queries]
            grown.append((model.__name__, len(few), len(many), more))

    assert grown == []


def test_every_page_opens_for_superusers_and_for_nobody_without_the_right(
    client, staff, alice, bob, rows
):
    bob.is_staff = True
    bob.save()
    for model in models():
        rows.add(model, 1)
    found = {path for model in models() for path in pages_of(model, staff)}
    assert len(found) > 2 * len(models())

    for user, status in ((staff, 200), (alice, 302), (bob, 403), (None, 302)):
        client.logout()
        if user:
            client.force_login(user)
        statuses = {path: client.get(path).status_code for path in found}
        wrong = {path: got for path, got in statuses.items() if got != status}
        assert wrong == {}, user


def test_every_list_opens_with_nothing_in_it_and_with_an_odd_search(client, staff):
    client.force_login(staff)
    for model in models():
        answer = client.get(address(model, "changelist"), {"q": "%_'\""})
        assert answer.status_code == 200, model
    assert client.get(address(Item, "changelist"), {"q": str(uuid.uuid4())}).status_code == 200
    assert client.get(address(Item, "changelist"), {"q": "\0"}).status_code == 400


def test_every_filter_takes_what_it_offers_and_what_it_does_not(staff):
    for model, options in admin.site._registry.items():
        if not model._meta.managed:
            continue
        shown = options.get_changelist_instance(request_of(staff))
        offered, names = "", []
        for one in shown.filter_specs:
            links = [
                found["query_string"] for found in one.choices(shown) if "query_string" in found
            ]
            offered += "&" + links[1][1:] if len(links) > 1 else ""
            names += filter(None, one.expected_parameters())
        odd = "&".join(f"{name}=x'" for name in names)

        list(options.get_changelist_instance(request_of(staff, f"/?{offered[1:]}")).result_list)
        with contextlib.suppress(IncorrectLookupParameters):  # the view then shows all rows
            list(options.get_changelist_instance(request_of(staff, f"/?{odd}")).result_list)


def test_no_list_can_be_asked_about_a_column_of_a_secret(staff):
    request, open_ = request_of(staff), []
    for model, options in admin.site._registry.items():
        for field in model._meta.get_fields():
            related = field.related_model if field.is_relation else None
            inner = related._meta.get_fields() if related else ()
            names = [field.name, *(f"{field.name}__{one.name}" for one in inner)]
            secrets = [name for name in names if any(word in name for word in trail.SECRETS)]
            open_ += [
                (model.__name__, name)
                for name in secrets
                if options.lookup_allowed(f"{name}__startswith", "x", request)
            ]
    assert open_ == []


def test_no_form_and_no_page_has_a_field_of_a_secret(staff):
    request = request_of(staff)
    for model, options in admin.site._registry.items():
        for obj in (None, model()):
            shown = options.get_fieldsets(request, obj)
            names = [name for _title, part in shown for name in _flat(part["fields"])]
            names += list(options.get_list_display(request))
            wrong = [name for name in names if any(word in str(name) for word in trail.SECRETS)]
            allowed = {"password1", "password2", "usable_password"} if model is User else set()
            assert set(wrong) <= allowed, model


def _flat(fields):
    for field in fields:
        if isinstance(field, list | tuple):
            yield from field
        else:
            yield field
