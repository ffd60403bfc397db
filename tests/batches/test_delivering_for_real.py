"""Deliveries to servers on loopback that speak the real protocols and go wrong on demand."""

from datetime import timedelta

import django_rq
import pytest
from django.utils import timezone

from batches import couriers, deliveries
from batches.models import Delivery, Item, Parcel
from batches.reconcile import reconcile
from tests.connecting import connected_bucket, connected_sirv
from tests.factories import done_batch, picture

pytestmark = pytest.mark.usefixtures("fake_tool", "rings_at_once", "media", "one_by_one")


@pytest.fixture
def one_by_one(monkeypatch):
    """Without threads, which would not see what a test has not committed."""
    monkeypatch.setattr(couriers, "WINDOW", 1)


def carry() -> None:
    queue = django_rq.get_queue("io")
    while jobs := queue.jobs:
        queue.remove(jobs[0])
        couriers.send(**jobs[0].kwargs)


def carry_later(seconds: float) -> None:
    for rows in (Parcel.objects, Delivery.objects):
        for row in rows.filter(retry_at__isnull=False):
            rows.filter(pk=row.pk).update(retry_at=row.retry_at - timedelta(seconds=seconds))
    reconcile(now=timezone.now())
    carry()


def there(sirv) -> dict[str, bytes]:
    return {name: stored.data for name, stored in sirv.files.items()}


def test_a_sirv_account_gets_everything_through_drops_cuts_and_a_dead_token(alice, sirv):
    connected_sirv(alice, sirv)
    batch = done_batch(alice, 4)
    Item.objects.filter(position=0).update(external_id="sku-0")
    sirv.faults = [("upload", "drop"), ("upload", "truncate")]
    delivery = deliveries.ask(batch, to="sirv", options={"folder": "shop"})
    couriers.send(delivery.pk)
    sirv.pass_time(sirv.token_seconds + 1)  # and the token ends in the middle
    carry()
    carry_later(60)

    delivery.refresh_from_db()
    assert delivery.state == "finished"
    assert there(sirv) == {f"/shop/{n}.png": picture(n) for n in range(4)}
    links = list(delivery.parcels.order_by("pk").values_list("url", flat=True))
    assert links == [f"https://alice.sirv.example/shop/{n}.png" for n in range(4)]
    assert sirv.tokens_given > 1


def test_the_hourly_limit_of_sirv_is_waited_for(alice, sirv):
    connected_sirv(alice, sirv)
    sirv.hourly = 2
    delivery = deliveries.ask(done_batch(alice, 3), to="sirv")
    carry()
    asked = len(sirv.asked)
    carry_later(60)
    assert (len(sirv.files), len(sirv.asked)) == (2, asked)  # nobody asks before the reset

    sirv.pass_time(3601)
    carry_later(3601)

    delivery.refresh_from_db()
    assert (delivery.state, len(sirv.files)) == ("finished", 3)


def test_what_sirv_had_is_back_after_undo(alice, sirv):
    connected_sirv(alice, sirv)
    sirv.put("/shop/0.png", b"what was there")
    options = {"folder": "shop", "conflict": "overwrite"}
    delivery = deliveries.ask(done_batch(alice, 2), to="sirv", options=options)
    carry()
    assert sirv.files["/shop/0.png"].data == picture(0)

    deliveries.undo(delivery)
    carry()

    assert there(sirv) == {"/shop/0.png": b"what was there"}


def test_a_bucket_is_written_to_and_put_back(alice, s3):
    connected_bucket(alice, s3)
    s3.client.put_object(Bucket="pictures", Key="shop/0.png", Body=b"what was there")
    options = {"folder": "shop", "conflict": "overwrite"}
    delivery = deliveries.ask(done_batch(alice, 2), to="s3", options=options)
    carry()

    def body(key: str) -> bytes:
        return s3.client.get_object(Bucket="pictures", Key=key)["Body"].read()

    assert (body("shop/0.png"), body("shop/1.png")) == (picture(0), picture(1))
    deliveries.undo(delivery)
    carry()
    assert body("shop/0.png") == b"what was there"
    assert s3.client.list_objects_v2(Bucket="pictures")["KeyCount"] == 1
