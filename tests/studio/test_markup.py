"""What must hold for the markup of every page."""

from collections import Counter
from html.parser import HTMLParser

from django.test import Client

from tests import pages


class Ids(HTMLParser):
    """All ids of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name == "id" and value]


def test_an_id_is_given_once_on_a_page(world):
    twice = {}

    for look in pages.LOOKS:
        browser = Client()
        if user := world.user(look.who):
            browser.force_login(user)
        ids = Ids(browser.get(look.path(world)).content.decode()).found
        if repeated := [name for name, count in Counter(ids).items() if count > 1]:
            twice[look.label] = repeated

    assert twice == {}
