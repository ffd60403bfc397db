"""One result in somebody's storage: under which name, whole, once, and back again."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from batches import deliveries
from batches.exports import remote
from batches.exports.base import ExportError, Sent
from batches.exports.remote import SirvExporter
from batches.models import Delivery, Item, Parcel, ParcelState, Result
from batches.stores.base import StoreError
from tests.factories import bare_item, bare_result, done_batch, picture

pytestmark = pytest.mark.usefixtures("fake_tool", "rings_at_once", "media")

OURS = picture(0)


@pytest.fixture
def result(alice, shop) -> Result:
    return bare_result(bare_item(done_batch(alice, 0), state="done"))


def delivery_of(result: Result, **options) -> Delivery:
    """A delivery of this one result, in the hand of a courier."""
    delivery = deliveries.ask(result.item.batch, to="sirv", options=options)
    deliveries.gather(delivery)
    in_hand(delivery)
    return delivery


def in_hand(delivery: Delivery) -> Parcel:
    delivery.parcels.update(
        state=ParcelState.SENDING,
        token=uuid.uuid4(),
        lease_until=timezone.now() + timedelta(minutes=5),
    )
    return delivery.parcels.get()


def send(delivery: Delivery) -> Sent:
    parcel = delivery.parcels.select_related("result__item").get()
    return SirvExporter().send(delivery, parcel.result, name=parcel.name)


def take_back(delivery: Delivery, sent: Sent) -> None:
    delivery.parcels.update(undo=sent.undo)
    SirvExporter().undo(delivery, in_hand(delivery))


# --- The conflict rule ----------------------------------------------------------------


def test_a_free_name_is_used_as_it_is(result, store):
    sent = send(delivery_of(result))

    assert store.files == {"cutouts/0.png": OURS}
    assert (sent.place, sent.url) == ("cutouts/0.png", "https://cdn.example/cutouts/0.png")


def test_skip_leaves_what_is_there(result, store):
    store.put("cutouts/0.png", b"old")

    sent = send(delivery_of(result, conflict="skip"))

    assert (sent.is_skipped, store.files) == (True, {"cutouts/0.png": b"old"})


def test_rename_takes_the_first_free_number(result, store):
    store.put("cutouts/0.png", b"old")
    store.put("cutouts/0-2.png", b"older")

    sent = send(delivery_of(result, conflict="rename"))

    assert sent.place == "cutouts/0-3.png"
    assert store.files["cutouts/0.png"] == b"old"


def test_rename_keeps_off_a_name_that_another_parcel_is_on_its_way_to(result, store):
    first = delivery_of(result, folder="same")
    first.parcels.update(place="same/0.png")

    sent = send(delivery_of(result, folder="same"))

    assert sent.place == "same/0-2.png"


def test_overwrite_waits_for_another_delivery_to_the_same_place(result, store):
    first = delivery_of(result, folder="same")
    first.parcels.update(place="same/0.png")

    with pytest.raises(ExportError, match="store_name_taken") as refused:
        send(delivery_of(result, folder="same", conflict="overwrite"))

    assert (refused.value.transient, store.files) == (True, {})


def test_overwrite_keeps_the_old_bytes_aside(result, store):
    store.put("cutouts/0.png", b"old")

    sent = send(delivery_of(result, conflict="overwrite"))

    assert store.files == {"cutouts/0.png": OURS, sent.undo["aside"]: b"old"}


@pytest.mark.parametrize(
    ("stem", "place"),
    [
        ("shoes/left", "cutouts/shoes/left.png"),
        ("../../etc/passwd", "cutouts/etc/passwd.png"),
        ("a/./b", "cutouts/a/b.png"),
        ('what: "ever"?', "cutouts/what ever.png"),
        ("Größe/日本", "cutouts/Größe/日本.png"),
    ],
)
def test_folders_are_kept_and_made_safe(result, store, stem, place):
    Item.objects.update(stem=stem)

    assert send(delivery_of(result)).place == place


# --- Whole, and once ------------------------------------------------------------------


@pytest.mark.parametrize("digests", [True, False])
def test_the_digest_of_the_store_saves_reading_the_file(result, store, digests):
    store._digests = digests

    send(delivery_of(result))

    assert ("read cutouts/0.png" in store.calls) != digests


def test_other_bytes_of_the_same_length_are_found_out(result, store, monkeypatch):
    write = type(store).write

    def damage(self, path, file, **about):
        write(self, path, file, **about)
        self.files[path] = bytes(len(self.files[path]))

    monkeypatch.setattr(type(store), "write", damage)
    with pytest.raises(StoreError, match="store_damaged"):
        send(delivery_of(result))

    assert store.files == {}


def test_a_damaged_replacement_gives_the_old_file_back(result, store):
    store.put("cutouts/0.png", b"old")
    store.cut = 5

    with pytest.raises(StoreError, match="store_damaged"):
        send(delivery_of(result, conflict="overwrite"))

    assert store.files == {"cutouts/0.png": b"old"}


def test_one_damaged_upload_is_made_good_at_once(result, store, monkeypatch):
    write = type(store).write

    def cut_once(self, path, file, **about):
        self.cut = None if any(call.startswith("write") for call in self.calls) else 7
        write(self, path, file, **about)

    monkeypatch.setattr(type(store), "write", cut_once)

    send(delivery_of(result))

    assert store.files == {"cutouts/0.png": OURS}


@pytest.mark.parametrize("conflict", ["skip", "rename", "overwrite"])
def test_a_second_courier_finds_the_file_of_the_first(result, store, conflict):
    delivery = delivery_of(result, conflict=conflict)
    first = send(delivery)

    second = send(delivery)

    assert second == first
    assert store.files == {"cutouts/0.png": OURS}


@pytest.mark.parametrize("conflict", ["skip", "rename", "overwrite"])
def test_a_second_courier_goes_on_with_half_a_file(result, store, conflict):
    store.trouble = [StoreError("store_unreachable", transient=True)]
    delivery = delivery_of(result, conflict=conflict)
    with pytest.raises(StoreError):
        send(delivery)

    sent = send(delivery)

    assert (sent.is_skipped, store.files) == (False, {"cutouts/0.png": OURS})


def test_a_second_courier_keeps_the_first_old_bytes_and_not_half_a_file(result, store):
    store.put("cutouts/0.png", b"old")
    store.trouble = [StoreError("store_unreachable", transient=True)]
    delivery = delivery_of(result, conflict="overwrite")
    with pytest.raises(StoreError):
        send(delivery)

    sent = send(delivery)

    assert store.files == {"cutouts/0.png": OURS, sent.undo["aside"]: b"old"}


def test_what_somebody_puts_there_between_two_tries_is_not_overwritten(result, store):
    store.trouble = [StoreError("store_unreachable", transient=True)]
    delivery = delivery_of(result, conflict="rename")
    with pytest.raises(StoreError):
        send(delivery)
    store.put("cutouts/0.png", b"by somebody else")

    sent = send(delivery)

    assert sent.place == "cutouts/0-2.png"
    assert store.files["cutouts/0.png"] == b"by somebody else"


def test_a_result_whose_file_is_gone_says_so(result, store, media):
    (media / "results" / result.key).unlink()

    with pytest.raises(ExportError, match="result_gone"):
        send(delivery_of(result))


# --- Words ----------------------------------------------------------------------------


def test_the_callers_id_is_kept_with_the_file(result, store):
    Item.objects.update(external_id="sku-1")

    send(delivery_of(result))

    assert store.described == {"cutouts/0.png": ("", "sku-1")}


def text_of(result: Result, text: str = "A red shoe") -> Result:
    Result.objects.update(key="", format="txt", text=text, bytes=len(text.encode()))
    return Result.objects.get()


def test_a_text_describes_the_picture_that_it_was_made_of(result, store, shop):
    Item.objects.update(connection=shop, source_url="shop/shoe.jpg", external_id="sku-1")
    delivery = delivery_of(text_of(result))

    sent = send(delivery)

    assert store.described == {"shop/shoe.jpg": ("A red shoe", "sku-1")}
    assert (sent.place, store.files) == ("shop/shoe.jpg", {})
    with pytest.raises(ExportError, match="undo_description"):
        take_back(delivery, sent)


def test_a_text_about_a_picture_from_elsewhere_is_a_file(result, store):
    sent = send(delivery_of(text_of(result, "Größe 42")))

    assert sent.place == "cutouts/0.txt"
    assert store.files == {"cutouts/0.txt": "Größe 42".encode()}


# --- And back -------------------------------------------------------------------------


def test_undo_removes_what_was_written(result, store):
    delivery = delivery_of(result)

    take_back(delivery, send(delivery))

    assert store.files == {}


def test_undo_puts_the_old_file_back(result, store):
    store.put("cutouts/0.png", b"old")
    delivery = delivery_of(result, conflict="overwrite")

    take_back(delivery, send(delivery))

    assert store.files == {"cutouts/0.png": b"old"}


@pytest.mark.parametrize("conflict", ["rename", "overwrite"])
def test_undo_leaves_what_somebody_has_changed(result, store, conflict):
    store.put("cutouts/0.png", b"old")
    delivery = delivery_of(result, conflict=conflict)
    sent = send(delivery)
    store.put(sent.place, b"newer")
    before = dict(store.files)

    with pytest.raises(ExportError, match="undo_changed"):
        take_back(delivery, sent)

    assert store.files == before


def test_undo_of_what_is_gone_already_is_done(result, store):
    delivery = delivery_of(result)
    sent = send(delivery)
    store.files.clear()

    take_back(delivery, sent)

    assert store.files == {}


def test_undo_goes_on_where_a_worker_died(result, store, monkeypatch):
    store.put("cutouts/0.png", b"old")
    delivery = delivery_of(result, conflict="overwrite")
    sent = send(delivery)
    with monkeypatch.context() as patch:
        patch.setattr(type(store), "delete", lambda _self, _path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            take_back(delivery, sent)

    SirvExporter().undo(delivery, in_hand(delivery))

    assert store.files == {"cutouts/0.png": b"old"}


def test_a_late_worker_can_not_note_anything(result, store):
    delivery = delivery_of(result)
    parcel = delivery.parcels.get()
    in_hand(delivery)  # by another one

    with pytest.raises(ExportError):
        remote._note(parcel, {"path": "x"})

    assert delivery.parcels.get().undo == {}
