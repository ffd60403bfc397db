"""Who has few credits left is told, once."""

import threading
from datetime import timedelta

import pytest
from django.core import mail
from django.db import connection
from django.utils import timezone

from credits import ledger, low


@pytest.fixture
def poor(alice):
    """Alice, with three credits."""
    ledger.adjust(alice, 3 - ledger.balance(alice).available, actor=alice, note="test", key="k")
    return alice


def tell() -> int:
    return low.tell(now=timezone.now())


def test_it_is_told_once_until_there_are_enough_again(poor):
    assert (tell(), tell()) == (1, 0)
    (message,) = mail.outbox
    assert message.subject == "3 credits left"
    assert "fewer than 10 credits are left" in message.body

    ledger.grant(poor, 50, kind="purchase", key="p")
    assert tell() == 0
    ledger.adjust(poor, -45, actor=poor, note="used", key="u")
    assert tell() == 1


@pytest.mark.parametrize(
    "fields",
    [{"low_credits": 0}, {"low_credits": 3}, {"is_active": False}, {"email_verified_at": None}],
)
def test_who_does_not_want_it_or_may_not_get_mails_is_left_alone(poor, fields):
    type(poor).objects.filter(pk=poor.pk).update(**fields)
    assert tell() == 0
    assert mail.outbox == []


def test_a_mail_server_that_is_away_is_asked_again_next_time(poor, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    assert tell() == 0
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    assert tell() == 1


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_two_at_once_send_one_mail(poor):
    told = []

    def go() -> None:
        try:
            told.append(low.tell(now=timezone.now() + timedelta(seconds=len(told))))
        finally:
            connection.close()

    threads = [threading.Thread(target=go) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(told) == 1
    assert len(mail.outbox) == 1
