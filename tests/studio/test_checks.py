"""Wrong configuration is refused at the start, with a hint."""

from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from studio import checks
from tests import google_server


def refusals(check) -> list[str]:
    return [f"{message.id}: {message.msg} {message.hint}" for message in check()]


@pytest.mark.parametrize("engine", ["postgresql", "sqlite3"])
def test_the_two_databases_are_fine(settings, monkeypatch, engine):
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", f"django.db.backends.{engine}")

    assert refusals(checks.check_database) == []


def test_any_other_database_is_refused(settings, monkeypatch):
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", "django.db.backends.mysql")

    [refusal] = refusals(checks.check_database)
    assert refusal.startswith("studio.E001: The database django.db.backends.mysql is not supported")
    assert "DATABASE_URL" in refusal


@pytest.mark.parametrize(
    "entry", ["intranet:80", "images.intranet.example:8080", "10.0.0.7:443", "[fd00::1]:8080"]
)
def test_a_host_with_a_port_may_be_allowed(settings, entry):
    settings.FETCH_ALLOW = [entry]

    assert refusals(checks.check_fetch_allow) == []


@pytest.mark.parametrize(
    "entry",
    [
        "intranet",
        "http://intranet:80",
        "intranet:",
        ":80",
        "intranet:80/a",
        "a b:80",
        "fd00::1:80",
        "intranet:port",
        "intranet:123456",
        "",
    ],
)
def test_anything_else_in_the_list_of_allowed_hosts_is_refused(settings, entry):
    settings.FETCH_ALLOW = ["fine.example:80", entry]

    [refusal] = refusals(checks.check_fetch_allow)
    assert refusal.startswith(f"studio.E002: STUDIO_FETCH_ALLOW has {entry!r}")
    assert "host:port" in refusal


@pytest.mark.parametrize("queues", [["cpu"], ["gpu"], ["cpu", "gpu"], ["tpu", "cpu"]])
def test_every_tool_finds_an_engine_of_a_kind_that_it_knows(settings, queues):
    settings.ENGINE_QUEUES = queues

    assert refusals(checks.check_engines) == []


@pytest.mark.parametrize("queues", [[], ["tpu"]])
def test_a_tool_without_an_engine_is_refused(settings, queues):
    settings.ENGINE_QUEUES = queues

    assert (
        "studio.E003: Tool 'remove-background' can run on none of the engine queues. "
        "Add gpu or cpu to STUDIO_ENGINE_QUEUES." in refusals(checks.check_engines)
    )


def test_a_bucket_without_a_name_is_refused_and_a_disk_needs_none(settings):
    disk = {"BACKEND": "a", "OPTIONS": {"location": "/somewhere"}}
    named = {"BACKEND": "b", "OPTIONS": {"bucket_name": "pictures"}}
    nameless = {"BACKEND": "b", "OPTIONS": {"bucket_name": ""}}

    settings.STORAGES = {"originals": disk, "results": named}
    assert refusals(checks.check_buckets) == []

    settings.STORAGES = {"originals": named, "results": nameless}
    [refusal] = refusals(checks.check_buckets)
    assert refusal.startswith("studio.E004: The storage of results has no bucket.")
    assert "STUDIO_RESULTS_BUCKET" in refusal


@pytest.fixture
def key(settings, tmp_path) -> Path:
    """A good key of a Google account, which the site uses."""
    path = google_server.GoogleServer().key_file(tmp_path)
    settings.GOOGLE = {**settings.GOOGLE, "credentials": str(path)}
    return path


def test_a_site_with_or_without_a_google_account_is_fine(settings, key):
    assert refusals(checks.check_google) == []

    settings.GOOGLE = {**settings.GOOGLE, "credentials": ""}
    assert refusals(checks.check_google) == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "can't be read: No such file"),
        ("client_id = 1", "is not JSON"),
        ('["service_account"]', "is not the key of a service account"),
        ('{"type": "authorized_user"}', "is not the key of a service account"),
        ('{"type": "service_account", "client_email": "a@b.example"}', "is damaged"),
        (
            '{"type": "service_account", "client_email": "a", "token_uri": "x", "private_key": ""}',
            "is damaged",
        ),
    ],
)
def test_a_key_file_of_no_use_is_refused_with_the_reason(key, content, why):
    key.unlink()
    if content:
        key.write_text(content)

    [refusal] = refusals(checks.check_google)

    assert refusal.startswith(f"studio.E010: STUDIO_GOOGLE_CREDENTIALS: {key} {why}")
    assert "docs/google-sheets.md" in refusal


def test_google_must_have_an_address(settings):
    settings.GOOGLE = {"credentials": "", "api": "sheets.example", "docs": "https://docs.example"}

    [refusal] = refusals(checks.check_google)
    assert refusal.startswith("studio.E011: STUDIO_GOOGLE_API is 'sheets.example'")


@pytest.mark.worker
@pytest.mark.parametrize(
    ("env", "code"),
    [
        ({"STUDIO_FETCH_ALLOW": "intranet"}, "studio.E002"),
        ({"STUDIO_ENGINE_QUEUES": "tpu"}, "studio.E003"),
        ({"STUDIO_STORAGE": "s3"}, "studio.E004"),
    ],
)
def test_the_command_that_checks_refuses_each_of_them(used_place, env, code):
    done = used_place.run("check", **env)

    assert done.returncode == 1
    assert code in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.worker
def test_no_site_starts_on_a_wrong_configuration(used_place):
    done = used_place.run("run", STUDIO_FETCH_ALLOW="intranet")

    assert done.returncode == 1
    assert "studio.E002" in done.stderr
    assert list((used_place.data / "logs").iterdir()) == []


def test_every_key_for_credentials_must_be_one(settings):
    settings.CREDENTIALS_KEYS = [Fernet.generate_key().decode()]
    assert refusals(checks.check_credentials_keys) == []

    settings.CREDENTIALS_KEYS = [Fernet.generate_key().decode(), "password"]
    [refusal] = refusals(checks.check_credentials_keys)
    assert refusal.startswith("studio.E010: Number 2 of CREDENTIALS_KEYS is no key.")
    assert "password" not in refusal


def test_a_deployed_site_names_its_keys_for_credentials(monkeypatch):
    monkeypatch.setenv("CREDENTIALS_KEYS", Fernet.generate_key().decode())
    assert refusals(checks.check_credentials_keys_are_shared) == []

    monkeypatch.delenv("CREDENTIALS_KEYS")
    [refusal] = refusals(checks.check_credentials_keys_are_shared)
    assert refusal.startswith("studio.W001")


def test_services_that_can_be_called_are_fine(settings):
    settings.VLM = {**settings.VLM, "url": "http://127.0.0.1:8080/v1"}
    settings.PROVIDER = {**settings.PROVIDER, "url": "https://a.io/v1", "protocol": "queue"}
    settings.DIFFUSION_EDIT = ("some/model", "0123456789" * 4)

    assert refusals(checks.check_services) == []


@pytest.mark.parametrize("url", ["api.example.com", "ftp://a.io", "https://", "/v1"])
def test_the_address_of_a_service_must_be_one(settings, url):
    settings.VLM = {**settings.VLM, "url": url}

    [refusal] = refusals(checks.check_services)
    assert refusal.startswith("studio.E005: STUDIO_VLM_URL is")


def test_an_unknown_protocol_is_refused(settings):
    settings.PROVIDER = {**settings.PROVIDER, "protocol": "smoke"}

    [refusal] = refusals(checks.check_services)
    assert refusal == "studio.E006: STUDIO_PROVIDER_PROTOCOL is 'smoke'. Say one of openai, queue."


@pytest.mark.parametrize("revision", ["main", "v1.0", "abc123", "g" * 40])
def test_a_revision_that_can_move_is_refused(settings, revision):
    settings.DIFFUSION_INPAINT = ("some/model", revision)

    [refusal] = refusals(checks.check_services)
    assert refusal.startswith("studio.E007: STUDIO_DIFFUSION_INPAINT_REVISION")


@pytest.mark.parametrize("sizes", [[], ["1024"], ["1024x1024", "auto"], ["0x5"], ["99999x10"]])
def test_the_sizes_of_a_provider_must_be_sizes(settings, sizes):
    settings.PROVIDER = {**settings.PROVIDER, "sizes": sizes}

    [refusal] = refusals(checks.check_services)
    assert refusal.startswith("studio.E008: STUDIO_PROVIDER_SIZES is")


@pytest.mark.parametrize("key", ["sk-1\n", "sk 1", "\u201csk-1\u201d"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(settings, key):
    settings.PROVIDER = {**settings.PROVIDER, "key": key}

    [refusal] = refusals(checks.check_services)
    assert refusal.startswith("studio.E009: STUDIO_PROVIDER_KEY has")
    assert "sk" not in refusal
