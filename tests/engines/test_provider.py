"""Generating with a service on the network, over real HTTP, in both protocols."""

import base64
import json
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.engines import service as services
from tests.engines.service import PAINT, level, page, png, status, vanished
from tools.engines import generative, provider, remote
from tools.engines.provider import Configuration

CANVASES = ((256, 256), (384, 256), (256, 384))
SIDES = (300, 200)


@pytest.fixture
def setup(service, patience, monkeypatch):
    """Sets the service up as the provider, in other ways than the plain one if need be."""

    def configure(**how) -> Configuration:
        plain = Configuration(
            url=service.url,
            model="painter",
            key=services.KEY,
            sizes=CANVASES,
            patience=patience,
            poll_seconds=0.01,
        )
        chosen = replace(plain, **how)
        monkeypatch.setattr(provider, "_configuration", chosen)
        return chosen

    configure()
    return configure


pytestmark = pytest.mark.usefixtures("setup")

PROTOCOLS = pytest.mark.parametrize("protocol", ["openai", "queue"])


def photo(mode: str = "RGB") -> Image.Image:
    image = Image.linear_gradient("L").resize(SIDES).convert(mode)
    ImageDraw.Draw(image).ellipse((100, 50, 200, 150), fill=(40, 160, 60, 255)[: len(mode)])
    return image


def subject() -> Image.Image:
    mask = Image.new("L", SIDES)
    ImageDraw.Draw(mask).ellipse((100, 50, 200, 150), fill=255)
    return mask


def background(prompt: str = "a wooden table", **how) -> Image.Image:
    return generative.background(photo(), subject(), prompt=prompt, model="provider", **how)


def edit(prompt: str = "make it blue", **how) -> Image.Image:
    return generative.edit(
        photo(), **{"prompt": prompt, "strength": 0.5, "model": "provider", **how}
    )


def remove() -> Image.Image:
    return generative.remove(photo(), subject(), model="provider")


@PROTOCOLS
def test_a_background_is_painted_around_the_subject_and_nowhere_else(setup, protocol):
    setup(protocol=protocol)

    made = background()

    kept = np.asarray(subject()) == 255
    assert (made.mode, made.size) == ("RGB", SIDES)
    assert np.array_equal(level(made)[kept], level(photo())[kept])
    assert np.abs(level(made)[:30] - PAINT).max() < 5


@PROTOCOLS
def test_what_is_removed_is_painted_over_and_the_rest_stays(setup, protocol):
    setup(protocol=protocol)

    made = remove()

    away = np.abs(level(made) - level(photo())).max(axis=-1)
    assert np.abs(level(made)[100, 150] - PAINT).max() < 5
    assert away[:45].max() == away[:, :95].max() == 0


@PROTOCOLS
def test_an_edit_is_of_the_whole_picture_and_in_its_size(setup, protocol):
    setup(protocol=protocol)

    made = edit()

    assert made.size == SIDES
    assert np.abs(level(made) + level(photo()) - 255).mean() < 6  # this service inverts


@PROTOCOLS
def test_an_edit_keeps_transparency(setup, protocol):
    setup(protocol=protocol)
    image = photo("RGBA")
    image.putalpha(subject())

    made = generative.edit(image, prompt="x", strength=0.5, model="provider")

    assert made.mode == "RGBA"
    assert made.getchannel("A").tobytes() == subject().tobytes()


def test_the_picture_is_sent_on_the_canvas_that_fits_it_best(service):
    background()

    (seen,) = service.seen
    assert seen.given["size"] == "384x256"
    assert seen.given["model"] == "painter"
    assert seen.given["prompt"].startswith("a wooden table")
    assert seen.files["image"].size == seen.files["mask"].size == (384, 256)


def test_edits_may_have_a_model_of_their_own(service, setup):
    setup(edit_model="editor")

    edit()
    background()

    assert [seen.given["model"] for seen in service.seen] == ["editor", "painter"]
    assert generative.version("provider", "edit").startswith("editor at 127.0.0.1:")
    assert generative.version("provider").startswith("painter at 127.0.0.1:")


def test_the_weaker_the_edit_the_more_the_words_hold_on_to_the_picture(service):
    for strength in (0.1, 0.5, 1):
        edit(strength=strength)

    prompts = [seen.given["prompt"] for seen in service.seen]
    assert "subtle" in prompts[0]
    assert prompts[1].endswith("Keep everything else as it is.")
    assert prompts[2] == "make it blue."


def test_a_reference_goes_along_as_a_second_picture(service):
    background(reference=Image.new("RGB", (2048, 1500), "red"))

    (seen,) = service.seen
    assert seen.files["image[]"].size == (384, 256)
    assert seen.files["image[]+"].size == (1024, 750)


def test_a_queue_gets_the_reference_under_the_subject(service, setup):
    setup(protocol="queue")

    background(reference=Image.new("RGB", (50, 40), "red"))

    sent = level(service.seen[0].files["image"])
    assert np.abs(sent[5, 5] - (255, 0, 0)).max() < 12
    assert np.abs(sent[sent.shape[0] // 2, sent.shape[1] // 2] - (40, 160, 60)).max() < 12


def test_a_server_that_only_generates_paints_the_scene_behind_the_subject(service, setup):
    setup(edits=False)

    made = background()

    kept = np.asarray(subject()) == 255
    assert service.paths == ["POST /v1/images/generations"]
    assert np.array_equal(level(made)[kept], level(photo())[kept])
    assert tuple(level(made)[0, 0]) == PAINT


@pytest.mark.parametrize("task", ["edit", "remove"])
def test_a_server_that_only_generates_does_nothing_else(setup, task):
    setup(edits=False)

    assert generative.missing("provider", "background") is None
    assert "STUDIO_PROVIDER_EDITS" in generative.missing("provider", task)
    with pytest.raises(remote.NotSetUp):
        edit() if task == "edit" else remove()


def test_an_answer_may_be_an_address_on_the_same_server(service):
    service.by_url = True

    background()

    assert service.paths == ["POST /v1/images/edits", "GET /files/made.png"]
    assert "Authorization" not in service.seen[1].headers


def test_an_answer_may_be_a_data_url(service):
    made = f"data:image/png;base64,{base64.b64encode(png(Image.new('RGB', (384, 256)))).decode()}"
    service.faults = [page(json.dumps({"data": [{"url": made}]}).encode())]

    assert edit().size == SIDES


def test_an_address_elsewhere_that_is_not_public_is_not_asked(service):
    with services.serving() as intranet:
        address = intranet.store("secret.png", photo())
        service.faults = [page(json.dumps({"data": [{"url": address}]}).encode())]

        with pytest.raises(remote.BadAnswer, match="not public"):
            edit()

        assert intranet.seen == []


@pytest.mark.parametrize(
    "content",
    [
        b"no json",
        b"{}",
        b'{"data": []}',
        b'{"data": [{}]}',
        b'{"data": [7]}',
        b'{"data": [{"b64_json": "not base64!"}]}',
        b'{"data": [{"b64_json": "bm8gcGljdHVyZQ=="}]}',
        b'{"data": [{"url": "file:///etc/passwd"}]}',
        b'{"data": [{"url": "data:image/png;base64,%"}]}',
        b'{"data": [{"url": "http://["}]}',
        b'{"data": [{"url": "http://a.example:99999/x"}]}',
        b'{"data": [{"url": ""}]}',
    ],
)
def test_an_answer_that_is_no_picture_is_a_bad_answer(service, content):
    service.faults = [page(content)]

    with pytest.raises(remote.BadAnswer):
        edit()


def given(made: bytes) -> services.Fault:
    return page(json.dumps({"data": [{"b64_json": base64.b64encode(made).decode()}]}).encode())


def test_a_picture_that_is_cut_short_is_a_bad_answer(service):
    service.faults = [given(png(photo())[:-200])]

    with pytest.raises(remote.BadAnswer, match="no picture"):
        edit()


@pytest.mark.parametrize(("size", "why"), [((6000, 5000), "6000"), ((256, 256), "instead of")])
def test_a_picture_of_an_absurd_size_or_another_shape_is_a_bad_answer(service, size, why):
    service.faults = [given(png(Image.new("1", size)))]

    with pytest.raises(remote.BadAnswer, match=why):
        edit()


@PROTOCOLS
def test_what_may_have_been_paid_for_is_not_asked_for_again(service, setup, protocol):
    setup(protocol=protocol)
    service.faults = [vanished]

    with pytest.raises(remote.Uncertain):
        edit()

    assert len(service.seen) == 1


@PROTOCOLS
def test_a_service_that_knows_keys_is_asked_again_with_the_same_one(service, setup, protocol):
    setup(protocol=protocol, idempotent=True)
    service.faults = [vanished, status(502)]

    edit()
    edit(prompt="make it red")

    keys = [seen.headers["Idempotency-Key"] for seen in service.seen if seen.method == "POST"]
    assert keys[0] == keys[1] == keys[2] != keys[3]


def test_the_same_work_has_the_same_key_and_other_seeds_have_others(service, setup):
    setup(idempotent=True)

    edit(), edit(), edit(seed=7), background()

    keys = [seen.headers["Idempotency-Key"] for seen in service.seen]
    assert keys[0] == keys[1]
    assert len({*keys}) == 3


@PROTOCOLS
def test_a_picture_that_was_made_and_can_not_be_fetched_is_not_made_again(service, setup, protocol):
    setup(protocol=protocol)
    service.by_url = True
    service.states = ["succeeded"]

    original = service.answer

    def answer(seen):
        service.faults = [status(500)] * 5
        return original(seen)

    service.answer = answer
    with pytest.raises(remote.Uncertain):
        edit()

    assert len([path for path in service.paths if path.startswith("POST")]) == 1


def test_seeds_are_sent_where_they_are_known(service, setup):
    edit(seed=5)
    setup(seeds=True)
    service.knows_seeds = True
    edit(seed=5), edit(), edit(), edit(prompt="other")

    given = [seen.given.get("seed") for seen in service.seen]
    assert given[:2] == [None, "5"]
    assert given[2] == given[3] != given[4]


@PROTOCOLS
def test_beyond_the_budget_nothing_is_asked(service, setup, protocol):
    left = [True, False]
    setup(protocol=protocol, spend=lambda: left.pop(0))

    edit()
    before = len(service.seen)
    with pytest.raises(remote.BudgetSpent):
        edit()

    assert len(service.seen) == before


def test_tries_of_one_job_count_once(service, setup):
    asked = []
    setup(spend=lambda: asked.append(1) or True)
    service.faults = [status(429, retry_after="0"), status(503)]

    edit()

    assert len(asked) == 1


def test_a_queue_is_asked_until_it_is_done(service, setup):
    setup(protocol="queue")
    service.states = ["starting", "queued", "processing", "processing", "succeeded"]

    edit()

    job = "GET /v1/predictions/job1"
    assert service.paths == ["POST /v1/predictions", job, job, job, job, "GET /files/job1.png"]
    assert service.seen[0].given["version"] == "painter"


def test_a_hiccup_while_waiting_is_nothing(service, setup):
    setup(protocol="queue")
    original, hiccups = service.poll, [status(502), vanished]

    def poll(name):
        service.faults = [hiccups.pop()] if hiccups else []
        return original(name)

    service.poll = poll
    service.states = ["starting", "processing", "processing", "processing", "succeeded"]

    assert edit().size == SIDES


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        ({"status": "failed", "error": "CUDA out of memory"}, remote.BadAnswer),
        ({"status": "failed", "error": "NSFW content detected."}, remote.ContentRefused),
        ({"status": "canceled"}, remote.BadAnswer),
        ({"status": "who knows"}, remote.BadAnswer),
        ({"status": "succeeded", "output": None}, remote.BadAnswer),
        ({"status": "succeeded", "output": []}, remote.BadAnswer),
        ({"status": "succeeded", "output": {"url": "x"}}, remote.BadAnswer),
        ({"status": "processing", "urls": None}, remote.BadAnswer),
        ({"status": "processing", "urls": {"get": "http://127.0.0.1:1/x"}}, remote.BadAnswer),
        ({"status": "processing", "urls": {"get": "http://["}}, remote.BadAnswer),
    ],
)
def test_a_job_may_end_badly(service, setup, outcome, error):
    setup(protocol="queue")
    service.outcome = outcome

    with pytest.raises(error):
        edit()


def test_a_job_that_is_never_done_is_cancelled_in_the_end(service, setup, patience):
    setup(protocol="queue", patience=replace(patience, total=1))
    service.states = ["processing"]

    with pytest.raises(remote.Uncertain, match="in time"):
        edit()

    assert service.cancelled == ["job1"]


def test_a_queue_that_calls_back_is_asked_at_once(service, setup):
    waited = []
    callback = provider.Callback(
        address=lambda token: f"https://studio.example/done/{token}",
        wait=lambda token, seconds: waited.append((token, seconds)),
    )
    setup(protocol="queue", callback=callback, poll_seconds=60)

    start = time.monotonic()
    edit()

    assert time.monotonic() - start < 3
    named = service.seen[0].given["webhook"].rpartition("/")[2]
    assert {token for token, _seconds in waited} == {named}
    assert service.seen[0].given["webhook_events_filter"] == ["completed"]


def test_a_queue_gets_pictures_that_travel_inside_a_request(service, setup):
    setup(protocol="queue")
    noise = Image.effect_noise((2000, 1500), 90).convert("RGB")

    generative.edit(noise, prompt="x", strength=0.5, model="provider")

    sent = service.seen[0].given["input"]["image"]
    assert len(sent) < 700_000
    width, height = service.seen[0].files["image"].size
    assert width * height <= 1024 * 1024 * 1.05


def test_forbidden_words_are_told_from_other_refusals(service):
    service.faults = [status(400, "Rejected by the safety system.", error="moderation_blocked")]

    with pytest.raises(remote.ContentRefused):
        edit()


def test_without_settings_it_names_them(monkeypatch):
    monkeypatch.setattr(provider, "_configuration", Configuration())

    for task in ("background", "edit", "remove"):
        assert generative.missing("provider", task) == (
            "No image provider is set up. Set STUDIO_PROVIDER_URL and STUDIO_PROVIDER_MODEL."
        )
    for work in (background, edit, remove):
        with pytest.raises(remote.NotSetUp):
            work()


def test_the_key_is_not_shown():
    assert "sk-" not in repr(Configuration(key="sk-1"))


def test_the_door_refuses_what_makes_no_sense():
    with pytest.raises(ValueError, match="no generative model"):
        generative.missing("magic", "edit")
    with pytest.raises(ValueError, match="strength"):
        edit(strength=1.5)
    with pytest.raises(ValueError, match="mask"):
        generative.remove(photo(), Image.new("L", (5, 5)), model="provider")
