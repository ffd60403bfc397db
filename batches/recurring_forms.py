"""The form of a schedule: where its images come from, when, how much, and where results go."""

from collections.abc import Mapping
from datetime import time
from functools import cache
from typing import Any, cast
from uuid import UUID
from zoneinfo import available_timezones

from django import forms
from django.utils.dates import WEEKDAYS
from django.utils.translation import gettext_lazy as _

from accounts.forms import Dressed
from accounts.models import Connection, User
from batches import folders, timetable
from batches.models import SourceKind
from batches.patterns import LONGEST

PRESETS = [
    (timetable.HOURLY, _("Every hour")),
    (timetable.DAILY, _("Every day")),
    (timetable.WEEKDAYS_ONLY, _("Monday to Friday")),
    (timetable.WEEKLY, _("Every week")),
    (timetable.MONTHLY, _("Every month")),
    (timetable.CUSTOM, _("Advanced: cron")),
]
DAYS = [*((str(day), str(day)) for day in range(1, 29)), (timetable.LAST, _("the last"))]
WEEK = [(number % 7, WEEKDAYS[number - 1]) for number in range(1, 8)]
"""Monday first; 0 is Sunday, as cron has it."""

PLAIN = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}


@cache
def zones() -> list[tuple[str, str]]:
    """Time zones that people choose from: places, and UTC."""
    places = (name for name in available_timezones() if "/" in name)
    named = sorted(name for name in places if not name.startswith(("Etc/", "SystemV/")))
    return [(name, name.replace("_", " ")) for name in ["UTC", *named]]


def _offer(form: forms.Form, name: str, choices: Any) -> None:
    """Say what a field lets one choose, where that depends on who asks."""
    cast("forms.ChoiceField", form.fields[name]).choices = choices


class TimesForm(Dressed):
    """When it runs. All fields of it stand in the address that shows the next times."""

    prefix = "when"

    preset = forms.ChoiceField(label=_("Repeat"), choices=PRESETS, initial=timetable.DAILY)
    minute = forms.IntegerField(
        label=_("Minutes past"), min_value=0, max_value=59, initial=0, required=False
    )
    time = forms.TimeField(
        label=_("Time"),
        initial=time(6),
        required=False,
        widget=forms.TimeInput(format="%H:%M", attrs={"type": "time"}),
    )
    weekday = forms.ChoiceField(label=_("Day"), choices=WEEK, initial=1, required=False)
    day = forms.ChoiceField(label=_("Day of the month"), choices=DAYS, initial="1", required=False)
    cron = forms.CharField(
        label=_("Cron"),
        max_length=100,
        required=False,
        widget=forms.TextInput(attrs={"placeholder": "30 6 * * 1-5", **PLAIN}),
        help_text=_("Minute, hour, day of the month, month, day of the week."),
    )
    zone = forms.ChoiceField(
        label=_("Time zone"),
        choices=zones,
        initial="UTC",
        widget=forms.Select(attrs={"translate": "no"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own = self.initial.get("zone")
        if own and own not in dict(zones()):
            _offer(self, "zone", [*zones(), (own, own)])

    @property
    def cron_text(self) -> str:
        """The five fields of what was chosen."""
        chosen = self.cleaned_data
        at = chosen["time"] or time(0)
        hourly = chosen["preset"] == timetable.HOURLY
        return timetable.Times(
            preset=chosen["preset"],
            minute=(chosen["minute"] or 0) if hourly else at.minute,
            hour=at.hour,
            weekday=int(chosen["weekday"] or 1),
            day=chosen["day"] or "1",
            cron=chosen["cron"],
        ).text

    @staticmethod
    def shown(cron: str, zone: str) -> dict[str, Any]:
        """What the fields hold for a timetable."""
        times = timetable.Times.of(cron)
        custom = times.preset == timetable.CUSTOM
        return {
            "preset": times.preset,
            "minute": times.minute,
            "time": time(times.hour, times.minute),
            "weekday": times.weekday,
            "day": times.day,
            "cron": cron if custom else "",
            "zone": zone,
        }


class ScheduleForm(Dressed):
    """All else of a schedule but the tool's settings, which are the tool's own."""

    prefix = "schedule"

    name = forms.CharField(label=_("Name"), max_length=200, required=False)
    kind = forms.ChoiceField(
        label=_("Images come from"),
        choices=SourceKind.choices,
        initial=SourceKind.SHEET,
        widget=forms.RadioSelect,
    )
    address = forms.CharField(
        label=_("Address of the spreadsheet"),
        max_length=2000,
        required=False,
        help_text=_("A Google Sheet, or a CSV or Excel file on the web. One image on each row."),
        widget=forms.TextInput(attrs={"inputmode": "url", "placeholder": "https://…", **PLAIN}),
    )
    connection = forms.ChoiceField(label=_("Account"), required=False)
    path = forms.CharField(
        label=_("Folder"),
        max_length=1000,
        required=False,
        help_text=_("Such as products/new; empty for all of it."),
        widget=forms.TextInput(attrs=PLAIN),
    )
    folder = forms.ChoiceField(label=_("Folder of the library"), required=False)
    deep = forms.BooleanField(
        label=_("And the folders in it"),
        required=False,
        initial=True,
        widget=forms.CheckboxInput(attrs={"class": "checkbox checkbox-sm"}),
    )
    cap = forms.IntegerField(
        label=_("Credits in one run, at most"),
        min_value=1,
        max_value=10**12,
        required=False,
        help_text=_("What does not fit waits for the next run. Empty: no cap."),
    )
    month_cap = forms.IntegerField(
        label=_("Credits in a month, at most"), min_value=1, max_value=10**12, required=False
    )
    pattern = forms.CharField(
        label=_("Names of the results"),
        max_length=LONGEST,
        required=False,
        widget=forms.TextInput(attrs={"placeholder": "{name}", "translate": "no", **PLAIN}),
    )
    anew = forms.BooleanField(
        label=_("Run also what an earlier result could serve"),
        required=False,
        widget=forms.CheckboxInput(attrs={"class": "checkbox checkbox-sm"}),
    )
    deliver_to = forms.ChoiceField(label=_("Results also go to"), required=False)
    deliver_folder = forms.CharField(
        label=_("Folder there"),
        max_length=500,
        required=False,
        help_text=_("Empty: the one that the account has for this tool."),
        widget=forms.TextInput(attrs=PLAIN),
    )

    def __init__(self, *args: Any, owner: User, places: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._own = list(Connection.objects.visible_to(owner).order_by("kind", "name"))
        accounts = [(str(one.uid), f"{one.name} ({one.get_kind_display()})") for one in self._own]
        _offer(self, "connection", [("", _("Choose an account")), *accounts])
        all_folders = [
            ("", _("All of the library")),
            *((str(at.folder.uid), at.path) for at in folders.tree(owner).walk()),
        ]
        _offer(self, "folder", all_folders)
        offered = [
            ("", _("Nowhere: keep them here")),
            ("library", _("Library")),
            *(
                (choice, f"{one.name} ({one.get_kind_display()})")
                for choice, one in places["accounts"]
            ),
            ("google_sheet", _("Back into the Google Sheet")),
        ]
        _offer(self, "deliver_to", offered)

    @property
    def has_accounts(self) -> bool:
        """Whether there is an account to choose."""
        return bool(self._own)

    @property
    def account(self) -> Connection | None:
        """The account that was chosen."""
        wanted = self.cleaned_data.get("connection", "")
        return next((one for one in self._own if str(one.uid) == wanted), None)

    @property
    def source(self) -> dict[str, Any]:
        """Where the images come from, as a schedule keeps it."""
        chosen = self.cleaned_data
        if chosen["kind"] == SourceKind.SHEET:
            return {"address": chosen["address"].strip()}
        if chosen["kind"] == SourceKind.ACCOUNT:
            return {"path": chosen["path"].strip().strip("/"), "deep": chosen["deep"]}
        folder = chosen["folder"]
        return {"folder": str(UUID(folder)) if folder else "", "deep": chosen["deep"]}

    def clean(self) -> dict[str, Any]:
        """What the chosen source needs is there."""
        chosen: dict[str, Any] = super().clean() or self.cleaned_data
        kind = chosen.get("kind")
        if kind == SourceKind.SHEET and not chosen.get("address", "").strip():
            self.add_error("address", _("Paste the address of the spreadsheet."))
        if kind == SourceKind.ACCOUNT and not chosen.get("connection"):
            self.add_error("connection", _("Choose the account that the images lie in."))
        if chosen.get("deliver_to") == "google_sheet" and kind != SourceKind.SHEET:
            self.add_error("deliver_to", _("This works only where images come from a sheet."))
        return chosen
