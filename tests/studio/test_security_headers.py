"""What every answer of the site tells the browser it may do."""

import pytest
from django.contrib import admin
from django.db import transaction
from django.test import Client
from django.urls import reverse

from tests import pages
from tests.pages import PERSON, STAFF, STRANGER

pytestmark = pytest.mark.usefixtures("valkey")


def client_of(world, who: str) -> Client:
    client = Client(raise_request_exception=False)
    if user := world.user(who):
        client.force_login(user)
    return client


def end(response) -> None:
    """Read a file to its end: the test client then closes it and leaves the connection alone."""
    if response.streaming:
        response.getvalue()


def check_headers(response, path: str) -> None:
    policy = response.headers.get("Content-Security-Policy", "")
    assert "default-src 'none'" in policy, path
    if path.removeprefix("get ").removeprefix("post ").startswith("/admin/"):
        # Alpine evaluates attributes, and colours stand in the page; scripts come from us alone.
        assert "script-src 'self' 'unsafe-eval';" in policy, path
        assert "style-src 'self' 'unsafe-inline';" in policy, path
    else:
        assert "unsafe" not in policy, path
    assert response["X-Content-Type-Options"] == "nosniff", path
    assert response["X-Frame-Options"] == "DENY", path
    assert response["Referrer-Policy"] == "same-origin", path
    assert response["Cross-Origin-Opener-Policy"] == "same-origin", path
    assert "camera=()" in response["Permissions-Policy"], path


@pytest.mark.parametrize("who", [STRANGER, PERSON, STAFF])
def test_every_address_answers_with_the_policies_and_is_in_the_table_of_pages(world, who):
    known = {look.name for look in pages.LOOKS}
    asked, missing = {}, set()
    client = client_of(world, who)
    cookies = client.cookies.copy()

    for name, route, _pattern in pages.addresses():
        if who == STAFF and not name.startswith("admin:"):
            continue  # there they are people like others
        for method in ("get", "post"):
            path = pages.filled(route, world)
            client.cookies = cookies.copy()  # signing out is one of the addresses
            with transaction.atomic():  # what one step does, the next must not meet
                response = getattr(client, method)(path)
                end(response)
                transaction.set_rollback(True)
            check_headers(response, f"{method} {path}")
            asked[name, method] = response.status_code
            if method == "get" and who != STAFF and name not in known and is_page(response):
                missing.add(name)

    assert len(asked) > (50 if who == STAFF else 100)
    failed = {name for (name, _method), status in asked.items() if status == 500}
    assert {name for name in failed if not name.startswith("admin:")} == set()
    beside = {name for name in missing if name.split(":")[0] in pages.BESIDE_PAGES}
    assert missing == beside, "add these pages to LOOKS in tests/pages.py"


def is_page(response) -> bool:
    html = response.status_code == 200 and "text/html" in response["Content-Type"]
    return html and b"<html" in response.content


def test_pages_of_the_admin_for_each_kind_of_row_answer_with_the_policies(world):
    client = client_of(world, STAFF)

    for model, options in admin.site._registry.items():
        if not model._meta.managed:  # a page of figures that only looks like rows
            continue
        names = ["changelist"] + ["add"] * options.has_add_permission(_request_of(world.staff))
        prefix = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        for path in [reverse(f"{prefix}_{name}") for name in names] + [
            reverse(f"{prefix}_change", args=[row.pk]) for row in model._default_manager.all()[:1]
        ]:
            response = client.get(path)
            check_headers(response, path)
            assert response.status_code == 200, path


def _request_of(user):
    from django.test import RequestFactory

    request = RequestFactory().get("/")
    request.user = user
    return request


def test_addresses_that_lead_nowhere_and_files_of_the_site_have_the_policies_too(world):
    for path in ("/nothing", "/api/v1/nothing", "/static/img/mark.svg", "/static/nothing"):
        response = client_of(world, STRANGER).get(path)
        check_headers(response, path)
        end(response)


def test_pictures_may_do_nothing_at_all(world):
    item = world.items[0]

    response = client_of(world, PERSON).get(reverse("batches:result", args=[item.uid]))

    assert response["Content-Security-Policy"] == "default-src 'none'; sandbox"
    end(response)


def test_browsers_keep_no_page_of_somebody_who_is_signed_in(world):
    for look in pages.LOOKS:
        response = client_of(world, look.who).get(look.path(world))
        assert response.status_code == look.status, look
        if look.who != STRANGER:
            kept = set(response["Cache-Control"].split(", "))
            assert {"private", "no-store"} <= kept, look


def test_what_strangers_see_comes_back_at_once(world):
    assert "no-store" not in client_of(world, STRANGER).get("/").headers.get("Cache-Control", "")


def test_pictures_may_be_kept_by_their_owners_browser(world):
    response = client_of(world, PERSON).get(reverse("batches:thumbnail", args=[world.items[0].uid]))

    assert response["Cache-Control"] == "private, max-age=3600"
    end(response)
