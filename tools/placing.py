"""Where a subject may stand in a picture, as settings say it."""

from django.utils.translation import gettext_lazy as _

POSITIONS = [
    ("bottom_center", _("Bottom, centre")),
    ("bottom_left", _("Bottom left")),
    ("bottom_right", _("Bottom right")),
    ("upper_center", _("Top, centre")),
    ("upper_left", _("Top left")),
    ("upper_right", _("Top right")),
    ("center_vertical", _("Half-way up")),
    ("center_horizontal", _("Half-way across")),
    ("left_center", _("Left, half-way up")),
    ("right_center", _("Right, half-way up")),
]
"""Names that `composing.place` knows, and what people read."""
