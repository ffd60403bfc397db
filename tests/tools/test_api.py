"""`GET tools` and `GET tools/{slug}`."""

import jsonschema
import pytest

from tools import registry

pytestmark = pytest.mark.django_db

LIST = "/api/v1/tools"
ONE = "/api/v1/tools/remove-background"


def test_a_tool_is_described_as_the_contract_says(api, pretended_weights):
    pretended_weights("u2net")

    answer = api.get(ONE)

    assert answer.status_code == 200
    described = answer.json()
    schema = described.pop("settings_schema")
    assert described == {
        "slug": "remove-background",
        "name": "Remove background",
        "description": "Cut the subject out and put it on nothing, or on a colour.",
        "output": "image",
        "available": True,
        "unavailable_reason": None,
        "price": {
            "credits": 1,
            "per": "image",
            "rules": [
                {"when": {"model": "isnet"}, "credits": 2},
                {"when": {"model": "isnet-general-use"}, "credits": 2},
                {"when": {"model": "birefnet-general"}, "credits": 2},
            ],
        },
    }
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema == registry.get("remove-background").settings_schema()


def test_all_tools_come_in_the_shape_of_every_list(api):
    answer = api.get(LIST).json()

    assert (answer["next"], answer["previous"]) == (None, None)
    assert [tool["slug"] for tool in answer["results"]] == [tool.slug for tool in registry.all()]
    assert api.get(ONE).json() in answer["results"]


def test_a_tool_without_its_weights_says_so_and_what_to_do(api, no_weights):
    described = api.get(ONE).json()

    assert described["available"] is False
    assert "`manage.py fetchweights u2net`" in described["unavailable_reason"]


def test_a_tool_that_there_is_not_is_a_404_problem(api):
    answer = api.get("/api/v1/tools/levitate")

    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"
    assert "levitate" in answer.json()["detail"]


def test_tools_can_only_be_read(api):
    assert api.post(LIST, {}, format="json").status_code == 405


def test_an_address_with_a_trailing_slash_is_not_ours(api):
    assert api.get(f"{LIST}/").status_code == 404


def test_a_key_that_is_wrong_is_not_taken_for_no_key(api):
    api.credentials(HTTP_AUTHORIZATION="Bearer sk_live_nonsense")

    assert api.get(LIST).status_code == 401


def test_reading_tools_asks_the_database_nothing(api, django_assert_num_queries):
    with django_assert_num_queries(0):
        api.get(LIST)
