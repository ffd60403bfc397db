"""Bad settings are refused in the same words by the page, the API and the command line."""

import html

import pytest
from django.core.management import CommandError

from studio.management.commands import runbatch
from tests import clients
from tests.factories import make_original
from tools import registry
from tools.base import SettingsInvalid

pytestmark = pytest.mark.usefixtures("valkey", "no_welcome", "media")

BAD = [
    ("upscale", {"scale": "5"}),
    ("upscale", {"size": "5"}),
    ("remove-background", {"background": "red; x:url(//a)"}),
    ("remove-background", {"margin": "-1"}),
    ("replace-background", {"background": "gradient:#fff,#000000"}),
    ("replace-background", {"background": "file:///etc/passwd"}),
    ("product-lifestyle", {"num_results": "5"}),
    ("image-to-image", {"prompt": "  "}),
    ("image-to-image", {"prompt": "brighter", "strength": "2"}),
    ("object-removal", {}),
    ("object-removal", {"mask": "mask.png"}),
    ("smart-crop", {"ratio": "1:0"}),
    ("smart-crop", {"sizes": "100000x2"}),
    ("optimize", {"width": "0"}),
    ("add-shadow", {"opacity": "101"}),
    ("alt-text", {"max_length": "5"}),
    ("image-review", {"marketplace": "etsy"}),
]


@pytest.mark.parametrize(("slug", "given"), BAD, ids=str)
def test_all_doors_say_the_same(alice, client, slug, given):
    tool = registry.get(slug)
    with pytest.raises(SettingsInvalid) as caught:
        tool.clean(given)
    (wrong,) = caught.value.errors
    upload = str(make_original(alice).uid)
    client.force_login(alice)

    body = {"tool": slug, "settings": given, "images": [{"upload": upload}]}
    answer = clients.with_key(alice).post("/api/v1/batches", body, format="json")
    with pytest.raises(CommandError) as refused:
        runbatch._settings(tool, given)

    assert answer.status_code == 422
    assert [(error["pointer"], error["detail"]) for error in answer.json()["errors"]] == [
        (f"/settings/{wrong.field}", wrong.detail)
    ]
    assert f"--set {wrong.field}: {wrong.detail}" in str(refused.value)
    if wrong.code != "unknown_setting":  # a form has no other fields than its own
        page = client.post(f"/tools/{slug}/", {"uploads": upload, **given})
        assert page.status_code == 422
        assert wrong.detail in html.unescape(page.content.decode())
