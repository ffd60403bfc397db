"""Which sites may call the API from a browser: none, unless the operator names them."""

import pytest

from tests import clients

pytestmark = pytest.mark.usefixtures("valkey")

SHOP = "https://shop.example.com"
OTHER = "https://other.example.com"
ASKED = ("authorization", "content-type", "idempotency-key", "if-none-match")


@pytest.fixture
def named(settings):
    settings.CORS_ALLOWED_ORIGINS = [SHOP]


def preflight(api, path="/api/v1/batches", *, origin=SHOP, headers=ASKED):
    return api.options(
        path,
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": ",".join(headers),
        },
    )


def cors_headers(response) -> dict[str, str]:
    return {
        name.removeprefix("access-control-"): value
        for name, value in ((name.lower(), value) for name, value in response.items())
        if name.startswith("access-control-")
    }


def test_by_default_no_answer_speaks_of_other_sites(api, alice):
    answers = [
        preflight(api),
        api.get("/api/v1/tools", headers={"Origin": SHOP}),
        clients.with_key(alice).get("/api/v1/me", headers={"Origin": SHOP}),
    ]

    assert [cors_headers(response) for response in answers] == [{}, {}, {}]


def test_a_browser_is_told_what_a_named_site_may_send(api, named):
    answer = preflight(api)

    assert answer.status_code == 200
    told = cors_headers(answer)
    assert told["allow-origin"] == SHOP
    assert set(ASKED) <= set(told["allow-headers"].split(", "))
    assert {"GET", "POST", "DELETE"} <= set(told["allow-methods"].split(", "))
    assert "allow-credentials" not in told
    assert answer["X-Request-Id"]


def test_an_answer_to_a_named_site_may_be_read_with_its_headers(alice, named):
    answer = clients.with_key(alice).get("/api/v1/batches", headers={"Origin": SHOP})

    told = cors_headers(answer)
    assert (answer.status_code, told["allow-origin"]) == (200, SHOP)
    exposed = set(told["expose-headers"].split(", "))
    assert {"X-Request-Id", "RateLimit-Remaining", "Retry-After", "ETag", "Location"} <= exposed
    assert "origin" in answer["Vary"]


def test_so_may_a_refusal(api, named):
    answer = api.get("/api/v1/me", headers={"Origin": SHOP})

    assert (answer.status_code, cors_headers(answer)["allow-origin"]) == (401, SHOP)


@pytest.mark.parametrize(
    "origin", [OTHER, "null", f"{SHOP}.evil.example", "http://shop.example.com"]
)
def test_another_site_is_told_nothing(api, named, origin):
    assert cors_headers(preflight(api, origin=origin)) == {}
    assert cors_headers(api.get("/api/v1/tools", headers={"Origin": origin})) == {}


@pytest.mark.parametrize("path", ["/", "/accounts/login/", "/admin/login/", "/api/zapier/me"])
def test_what_is_not_the_api_is_closed_to_named_sites_too(api, db, named, path):
    assert cors_headers(preflight(api, path)) == {}
    assert cors_headers(api.get(path, headers={"Origin": SHOP})) == {}
