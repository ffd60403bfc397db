"""The balance that every page may show."""

import pytest
from django.contrib.auth.models import AnonymousUser
from django.template import Context, Template
from django.test import RequestFactory

from credits.context_processors import balance

pytestmark = pytest.mark.django_db

SHOWN = Template("{% if credits %}{{ credits.available }}/{{ credits.held }}{% else %}-{% endif %}")


def request(user):
    request = RequestFactory().get("/")
    request.user = user
    return request


def show(context):
    return SHOWN.render(Context(context))


def test_a_signed_in_user_sees_the_balance(alice, fund):
    fund(alice, 12)

    assert show(balance(request(alice))) == "12/0"


def test_an_empty_account_is_shown_as_well(alice):
    assert show(balance(request(alice))) == "0/0"


def test_strangers_see_none():
    assert show(balance(request(AnonymousUser()))) == "-"


def test_a_page_from_before_anybody_knew_the_user_shows_none():
    assert show(balance(RequestFactory().get("/"))) == "-"


def test_nothing_is_asked_until_a_template_looks(alice, django_assert_num_queries):
    class Unasked:
        @property
        def is_authenticated(self):
            raise AssertionError

    with django_assert_num_queries(0):
        balance(request(alice))
        balance(request(Unasked()))


def test_a_page_that_looks_twice_asks_once(alice, fund, django_assert_num_queries):
    fund(alice, 12)
    context = balance(request(alice))

    with django_assert_num_queries(1):
        show(context)
        show(context)
