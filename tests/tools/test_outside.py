"""Settings reach the engines; paid calls are counted; a provider can call back."""

import threading
import time

import pytest
from django.core.cache import cache
from django.test import Client

from batches import messages
from tests.engines import service as services
from tools import failures, outside
from tools.base import ToolError
from tools.engines import diffusion, generative, provider, remote, vision_language

pytestmark = pytest.mark.usefixtures("valkey")


@pytest.fixture
def configure(settings, monkeypatch):
    """Changes settings and tells the engines; they forget it after the test."""
    for engine in (diffusion, provider, vision_language):
        monkeypatch.setattr(engine, "_configuration", engine._configuration)

    def change(**changed):
        for name, value in changed.items():
            old = getattr(settings, name)
            setattr(settings, name, {**old, **value} if isinstance(old, dict) else value)
        outside.configure()

    return change


def test_without_settings_nothing_is_there(configure):
    configure()

    assert "STUDIO_VLM_URL" in vision_language.missing()
    assert "STUDIO_PROVIDER_URL" in generative.missing("provider", "background")
    assert "STUDIO_DIFFUSION_EDIT" in generative.missing("diffusion", "edit")
    assert "STUDIO_DIFFUSION_INPAINT" in generative.missing("diffusion", "background")


def test_settings_bring_engines(configure):
    configure(
        VLM={"url": "https://a.example/v1", "model": "looker"},
        PROVIDER={"url": "https://b.example/v1", "model": "painter", "sizes": ["512x768"]},
        DIFFUSION_INPAINT=("some/model", "a" * 40),
        DIFFUSION_ELSEWHERE=True,
    )

    assert vision_language.missing() is None
    assert generative.missing("provider", "edit") is None
    assert provider._configuration.sizes == ((512, 768),)
    assert generative.missing("diffusion", "remove") is None
    assert generative.version("diffusion") == f"model {'a' * 12}, 30 steps"


def test_paid_calls_are_counted_and_end_at_the_limit(settings):
    settings.PROVIDER_MAX_CALLS_PER_DAY = 3

    assert [outside.may_spend() for _ in range(5)] == [True, True, True, False, False]


def test_a_limit_of_nothing_allows_nothing(settings):
    settings.PROVIDER_MAX_CALLS_PER_DAY = 0

    assert not outside.may_spend()


def test_callers_at_once_do_not_overspend(settings):
    settings.PROVIDER_MAX_CALLS_PER_DAY = 10
    allowed = []
    threads = [
        threading.Thread(target=lambda: allowed.extend(outside.may_spend() for _ in range(5)))
        for _ in range(4)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(allowed) == 10


def test_the_limit_reaches_the_provider(configure, settings):
    with services.serving() as service:
        configure(
            PROVIDER={"url": service.url, "model": "painter", "key": services.KEY},
            PROVIDER_MAX_CALLS_PER_DAY=0,
        )
        with pytest.raises(ToolError) as caught, failures.of_engines():
            generative.edit(_photo(), prompt="x", strength=0.5, model="provider")

    assert caught.value.code == "engine_budget"
    assert service.seen == []


def _photo():
    from PIL import Image

    return Image.new("RGB", (64, 64), "red")


def test_a_provider_that_calls_back_wakes_the_one_who_waits(configure):
    posted = []

    def answer(service):
        plain = service.submit

        def submit(seen):
            posted.append(seen.given["webhook"])
            threading.Timer(0.3, lambda: Client().post(seen.given["webhook"])).start()
            return plain(seen)

        service.submit = submit
        service.states = ["processing", "succeeded"]

    with services.serving() as service:
        answer(service)
        queue = {"protocol": "queue", "url": service.url, "model": "m", "key": services.KEY}
        configure(PROVIDER=queue, PROVIDER_CALLBACKS=True)
        start = time.monotonic()
        generative.edit(_photo(), prompt="x", strength=0.5, model="provider")

    assert 0.25 < time.monotonic() - start < 5  # the next poll would have been after ten seconds
    assert posted[0].startswith("http://127.0.0.1:8000/provider/done/")


def test_only_addresses_that_we_gave_away_wake_anybody(client):
    address = outside._address("job")

    assert client.post(address).status_code == 204
    assert cache.get("provider-done-job")
    assert client.post(address.replace("/done/", "/done/x")).status_code == 404
    assert client.get(address).status_code == 405


def test_a_call_back_needs_no_session_and_no_form_token():
    assert Client(enforce_csrf_checks=True).post(outside._address("job")).status_code == 204


def test_waiting_ends_when_nobody_calls():
    assert 0.2 < services.seconds_of(lambda: outside.wait("job", 0.3)) < 2


@pytest.mark.parametrize("error", failures.CODES)
def test_each_failure_of_a_service_has_a_code_and_a_sentence(error):
    with pytest.raises(ToolError) as caught, failures.of_engines():
        raise error("api.example.com", "sk-secret and other details")

    wrong = caught.value
    assert wrong.permanent is not error.again
    text = messages.text(wrong.code, wrong.params)
    assert text != messages.TEXTS["processing_failed"]
    assert "api.example.com" in text
    assert "sk-secret" not in text


def test_every_failure_that_there_is_has_a_code():
    assert set(failures.CODES) == set(remote.RemoteError.__subclasses__())


def test_an_engine_that_is_not_there_says_what_to_set():
    with pytest.raises(ToolError) as caught, failures.of_engines():
        raise remote.NotSetUp("No provider. Set STUDIO_PROVIDER_URL.")

    assert caught.value.permanent
    assert "STUDIO_PROVIDER_URL" in messages.text(caught.value.code, caught.value.params)
