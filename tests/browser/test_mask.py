"""Painting a mask over an image, in a real browser."""

import re

import numpy as np
import pytest
from django.core.files.storage import storages
from PIL import Image
from playwright.sync_api import Page, expect

from batches.models import Original
from tests.browser.test_single import choose, photo, ready

pytestmark = pytest.mark.browser

SINGLE = "/tools/object-removal/single/"


def open_dialog(page: Page):
    page.get_by_role("button", name="Paint it").click()
    dialog = page.get_by_role("dialog", name="Paint over what is to go")
    expect(dialog).to_be_visible()
    return dialog


def sent_mask(page: Page) -> np.ndarray:
    """The mask that the server has got, as its field names it: white is True."""
    field = page.get_by_label("Mask: address or upload")
    expect(field).to_have_value(re.compile(r"^[0-9a-f-]{36}$"))
    original = Original.objects.get(uid=field.input_value())
    with storages["originals"].open(original.key) as file:
        return np.asarray(Image.open(file).convert("L")) > 127


def drag(page: Page, dialog, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Pull the pointer over the canvas; places are shares of its width and height."""
    box = dialog.get_by_label("Mask", exact=True).bounding_box()
    for number, (x, y) in enumerate((start, end)):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
        if not number:
            page.mouse.down()
    page.mouse.up()


def test_what_is_painted_is_white_in_a_mask_of_the_images_size(page, signed_in, complaints):
    page.goto(SINGLE)
    choose(page)
    dialog = open_dialog(page)
    drag(page, dialog, (0.2, 0.3), (0.8, 0.3))
    drag(page, dialog, (0.2, 0.7), (0.8, 0.7))
    dialog.get_by_role("button", name="Eraser").click()
    drag(page, dialog, (0.1, 0.7), (0.9, 0.7))
    drag(page, dialog, (0.1, 0.3), (0.9, 0.3))
    dialog.get_by_role("button", name="Undo").click()
    dialog.get_by_role("button", name="Use this mask").click()

    white = sent_mask(page)

    assert white.shape == (400, 600)
    assert white[120, 150:450].all()
    assert not white[:80].any()
    assert not white[160:].any()
    assert complaints == []


def test_a_mask_can_be_painted_with_the_keyboard_alone(page, signed_in, check_accessibility):
    page.goto(SINGLE)
    choose(page)
    page.get_by_role("button", name="Paint it").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Paint over what is to go")
    expect(dialog.get_by_role("button", name="Use this mask")).to_be_disabled()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    check_accessibility(page)
    dialog.get_by_role("button", name="Use this mask").press("Enter")

    white = sent_mask(page)

    assert white[200, 300]
    assert not white[200, 200]
    assert 0.0005 < white.mean() < 0.2


def test_another_image_takes_its_mask_away(page, signed_in):
    page.goto(SINGLE)
    choose(page)
    dialog = open_dialog(page)
    drag(page, dialog, (0.3, 0.3), (0.6, 0.6))
    dialog.get_by_role("button", name="Use this mask").click()
    sent_mask(page)

    page.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_label("Choose an image").set_input_files(photo("chelsea.png"))
    ready(page)

    expect(page.get_by_label("Mask: address or upload")).to_have_value("")


def test_without_an_image_there_is_nothing_to_paint_on(page, signed_in):
    page.goto(SINGLE)

    page.get_by_role("button", name="Paint it").click()

    expect(page.get_by_text("Choose the image first")).to_be_visible()
