"""Mails as they reach a real server: text and HTML that say the same, and a way out of notices."""

import email
import re
from email import policy

import pytest
from aiosmtpd.controller import Controller
from django.core import mail as outbox
from django.core import signing
from django.utils import timezone

from accounts import mail, notices
from accounts.mail import Outcome
from accounts.models import User
from batches import notices as ended_notices
from credits import ledger, low
from tests.factories import bare_batch
from tests.studio.conftest import free_port


class Box:
    """What arrived, and how the server answers to some recipients."""

    def __init__(self) -> None:
        self.got: list[email.message.EmailMessage] = []
        self.answers: dict[str, str] = {}

    async def handle_RCPT(self, _server, _session, envelope, address, _options) -> str:
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server, _session, envelope) -> str:
        self.got.append(email.message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"


@pytest.fixture
def smtp(settings):
    """A mail server on loopback, and the site that uses it."""
    box = Box()
    server = Controller(box, hostname="127.0.0.1", port=free_port())
    server.start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = server.hostname, server.port
    settings.EMAIL_TIMEOUT = 5
    yield box
    server.stop()


def test_a_mail_arrives_as_text_and_as_html_with_a_button(smtp, settings):
    settings.SITE_URL = "https://studio.example"
    assert mail.send("confirm", "müller@example.com".replace("ü", "ue"), token="abc")

    (got,) = smtp.got
    assert got["Subject"] == "Confirm your address"
    text = got.get_body(("plain",)).get_content()
    html = got.get_body(("html",)).get_content()
    link = "https://studio.example/accounts/confirm/abc/"
    assert f"\n{link}\n" in text.replace("\r", "")
    assert f'<a href="{link}"' in html
    assert "an account with this address. Open this link to confirm that it is yours:" in html
    assert all(len(line) <= 76 for line in text.splitlines() if "://" not in line)
    assert ">somebody, you we hope, has made an account" in html.partition("<table")[0], "preview"
    assert not re.search(r"<script|<img|src=", html), "nothing is fetched"
    assert "List-Unsubscribe" not in got
    assert got["Auto-Submitted"] == "auto-generated"
    assert got["Reply-To"] is None


def test_answers_go_where_somebody_reads_them(smtp, settings):
    mail.send("gone", "a@example.com")
    settings.MAIL_REPLY_TO = "help@studio.example"
    mail.send("gone", "a@example.com")

    without, with_it = smtp.got
    assert "tell the people who run this site" in without.get_body(("plain",)).get_content()
    assert with_it["Reply-To"] == "help@studio.example"
    assert "answer this mail soon" in with_it.get_body(("plain",)).get_content()


def test_what_people_typed_is_no_markup_and_no_second_header(smtp, alice, settings):
    notices.send(
        "ended", "batches/mail/ended", alice, name="<b>Tassen\nund Löffel</b>",
        progress={"done": 1, "total": 1, "failed": 0, "used": 2}, address="https://a.example/b/",
    )  # fmt: skip
    (got,) = smtp.got
    assert got["Subject"] == "<b>Tassen und Löffel</b>: 1 of 1 done"
    html = got.get_body(("html",)).get_content()
    assert "<b>" not in html
    assert "&lt;b&gt;" in html
    assert "Löffel" in html


def test_a_server_that_is_away_is_no_disaster(settings, caplog):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    assert mail.send("confirm", "a@example.com", token="abc") == Outcome.AWAY
    assert "was not sent" in caplog.text


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [("550 No such mailbox", Outcome.REFUSED), ("450 Greylisted", Outcome.LATER)],
)
def test_a_refusal_says_whether_another_try_makes_sense(smtp, caplog, answer, outcome):
    smtp.answers["a@example.com"] = answer
    assert mail.send("confirm", "a@example.com", token="abc") == outcome
    assert "a@example.com" not in caplog.text
    assert mail.send("confirm", "b@example.com", token="abc")


def test_who_can_not_be_reached_keeps_no_news_from_others(smtp, alice, bob):
    smtp.answers["alice@example.com"] = "550 No such mailbox"
    User.objects.update(notify_email=True)
    ended = [
        bare_batch(owner, state="finished", finished_at=timezone.now(), name="Mugs")
        for owner in (alice, bob)
    ]
    for user in (alice, bob):
        ledger.adjust(
            user, 3 - ledger.balance(user).available, actor=user, note="t", key=user.email
        )

    now = timezone.now()
    told = [ended_notices.tell(now=now), ended_notices.tell(now=now), low.tell(now=now)]

    assert told == [1, 0, 1]
    assert [got["To"] for got in smtp.got] == ["bob@example.com"] * 2

    smtp.answers["alice@example.com"] = "450 Come back"
    ended[0].told_at = None
    ended[0].save()
    assert ended_notices.tell(now=now) == 0
    del smtp.answers["alice@example.com"]
    assert ended_notices.tell(now=now) == 1


def test_a_notice_can_be_ended_with_one_press_without_signing_in(smtp, alice, client, settings):
    settings.SITE_URL = "http://testserver"
    alice.notify_email = True
    alice.save()
    notices.send("low", "low", alice, available=3, threshold=10)

    (got,) = smtp.got
    assert got["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    address = got["List-Unsubscribe"].strip().strip("<>")
    assert address in got.get_body(("plain",)).get_content()
    assert b"is told when credits run low" in client.get(address).content
    alice.refresh_from_db()
    assert alice.low_credits == 10, "looking at the address changes nothing"

    answer = client.post(address, {"List-Unsubscribe": "One-Click"})
    assert b"gets no more e-mails when credits run low" in answer.content
    alice.refresh_from_db()
    assert (alice.low_credits, alice.notify_email) == (0, True)


def test_what_we_have_not_signed_ends_nothing(client, alice):
    for token in ("x", signing.dumps([str(alice.uid), "low"], salt="other")):
        assert client.post(f"/accounts/unsubscribe/{token}/").status_code == 404


def test_every_kind_of_notice_has_a_switch_in_the_preferences(alice):
    for kind, fields in notices.OFF.items():
        notices.switch_off(alice, kind)
        alice.refresh_from_db()
        assert {name: getattr(alice, name) for name in fields} == fields
    assert not outbox.outbox
    assert User.objects.count() == 1
