"""Schedules in words: what is run, from where, to where, and when."""

from dataclasses import dataclass
from uuid import UUID

from django.utils.translation import gettext as _

from batches import folders, timetable
from batches.exports import registry as exports
from batches.models import Recurring, RecurringRun, SourceKind
from tools.words import name_of


@dataclass(frozen=True)
class Shown:
    """A schedule as pages show it."""

    schedule: Recurring
    last: RecurringRun | None = None

    @property
    def tool_name(self) -> str:
        """The name of its tool; its slug when the tool is gone."""
        return name_of(self.schedule.tool)

    @property
    def when(self) -> str:
        """Its timetable in words."""
        return timetable.sentence(self.schedule.cron, self.schedule.zone)

    @property
    def source(self) -> str:
        """Where its images come from, in words."""
        source = self.schedule.source
        if self.schedule.kind == SourceKind.SHEET:
            return str(source.get("address", ""))
        if self.schedule.kind == SourceKind.ACCOUNT:
            account = self.schedule.connection
            name = account.name if account else _("not connected")
            return self._deep(
                _("{place}: {folder}").format(place=name, folder=f"/{source.get('path', '')}")
            )
        return self._deep(_("Library: {folder}").format(folder=self._folder(source.get("folder"))))

    @property
    def delivery(self) -> str:
        """Where its results go, in words; empty where they stay here."""
        delivery = self.schedule.delivery
        if not delivery:
            return ""
        name = str(exports.NAMES.get(delivery["to"], delivery["to"]))
        folder = delivery.get("options", {}).get("folder", "")
        return _("{place}: {folder}").format(place=name, folder=folder) if folder else name

    def _deep(self, place: str) -> str:
        if not self.schedule.source.get("deep"):
            return place
        return _("{place}, and the folders in it").format(place=place)

    def _folder(self, uid: str | None) -> str:
        if not uid:
            return "/"
        found = folders.tree(self.schedule.owner).find(UUID(uid))
        return found.path if found else _("a folder that is gone")
