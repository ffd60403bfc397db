"""E-mails at the end of a batch: to whom, once, and in which words."""

from datetime import timedelta
from functools import partial

import pytest
from django.core import mail
from django.utils import timezone

from batches import notices
from batches.models import Batch
from batches.states import BatchState, ItemState
from tests.batches.races import at_once
from tests.factories import bare_batch, bare_item


@pytest.fixture(autouse=True)
def site(settings):
    settings.SITE_URL = "https://studio.example/"


@pytest.fixture
def curious(alice):
    """Somebody who wants to be told."""
    alice.notify_email = True
    alice.save()
    return alice


def finished(owner, *states: str, **fields) -> Batch:
    ended = {"state": BatchState.FINISHED, "finished_at": timezone.now(), "name": "Mugs"}
    batch = bare_batch(owner, **ended | fields)
    for position, state in enumerate(states):
        price = 3 if state == ItemState.DONE else None
        bare_item(batch, state=state, position=position, price=price)
    return batch


def tell() -> int:
    return notices.tell(now=timezone.now())


def test_the_mail_says_how_it_went_and_where_to_look(curious):
    batch = finished(curious, "done", "done", "failed")

    assert tell() == 1

    (message,) = mail.outbox
    assert message.to == ["alice@example.com"]
    assert message.subject == "Mugs: 2 of 3 done"
    assert "Done: 2\nFailed: 1\nCredits used: 6\n" in message.body
    assert "failed images cost nothing" in message.body
    assert f"\nhttps://studio.example/batches/{batch.uid}/\n" in message.body


def test_it_is_sent_once(curious):
    finished(curious, "done")

    assert (tell(), tell()) == (1, 0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.concurrency
def test_many_schedulers_at_once_send_one_mail_for_each_batch(curious):
    for _ in range(6):
        finished(curious, "done")

    answers = at_once(*[partial(tell)] * 4)

    assert sum(answers) == len(mail.outbox) == 6


@pytest.mark.parametrize(
    "fields",
    [
        {"single": True},
        {"state": BatchState.RUNNING},
        {"state": BatchState.CANCELLED},
        {"finished_at": timezone.now() - timedelta(days=2)},
        {"told_at": timezone.now()},
    ],
    ids=["single image", "still running", "cancelled", "long ago", "told already"],
)
def test_what_is_no_news_is_not_sent(curious, fields):
    finished(curious, "done", **fields)

    assert tell() == 0


@pytest.mark.parametrize(
    ("field", "value"), [("notify_email", False), ("is_active", False), ("email_verified_at", None)]
)
def test_who_does_not_want_it_or_can_not_be_reached_gets_none(curious, field, value):
    setattr(curious, field, value)
    curious.save()
    finished(curious, "done")

    assert tell() == 0


def test_a_mail_server_that_is_away_is_logged_and_asked_once_a_round(curious, settings, caplog):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    for _ in range(3):
        finished(curious, "done")

    assert tell() == 0

    assert caplog.text.count("Nobody was told") == 1
    assert Batch.objects.filter(told_at=None).count() == 3

    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    assert (tell(), tell()) == (3, 0)


def test_the_mail_says_why_images_failed(curious):
    batch = finished(curious, "done", "failed", "failed", "failed")
    failed = list(batch.items.filter(state=ItemState.FAILED))
    for item in failed[:2]:
        item.error_code, item.error_params = "source_not_found", {"status": 404}
        item.source_url = "https://shop.example/x.png"
    failed[2].error_code = "file_empty"
    for item in failed:
        item.save()

    tell()

    assert (
        "Why images failed:\n"
        "2 images: There is nothing at this address (404). (shop.example)\n"
        "1 image: The file is empty.\n"
    ) in mail.outbox[0].body


def test_a_name_with_line_breaks_and_signs_stays_one_subject(curious):
    finished(curious, "done", name="Mugs\r\nBcc: x@example.com & <b>")

    tell()

    assert mail.outbox[0].subject == "Mugs Bcc: x@example.com & <b>: 1 of 1 done"
