"""Every place that results can go to, by the name that the API gives it.

An exporter is loaded when it is needed: spreadsheets and the clients of other services are large,
and a page that lists places needs none of them.
"""

from functools import cache
from importlib import import_module

from django.utils.translation import gettext_lazy as _

from batches.exports.base import EachExporter, FileExporter, RowsExporter
from batches.models import Delivery

Exporter = EachExporter | FileExporter | RowsExporter

ARCHIVE = "zip"
"""Nothing has to be made or sent: the batch's ZIP is written while it is downloaded."""

_EXPORTERS = {
    "library": ("batches.exports.library", "LibraryExporter"),
    "sirv": ("batches.exports.remote", "SirvExporter"),
    "s3": ("batches.exports.remote", "S3Exporter"),
    "google_sheet": ("batches.exports.google_sheet", "GoogleSheetExporter"),
    "xlsx": ("batches.exports.spreadsheet", "XlsxExporter"),
    "csv": ("batches.exports.spreadsheet", "CsvExporter"),
}

PLACES = (*_EXPORTERS, ARCHIVE)

NAMES = {
    "library": _("Library"),
    "sirv": _("Sirv"),
    "s3": _("S3"),
    "google_sheet": _("Google Sheet"),
    "xlsx": _("Excel file"),
    "csv": _("CSV file"),
    "zip": _("ZIP file"),
}
"""As people know the places."""


class UnknownPlace(Exception):
    """This site takes results to no place of this name."""


@cache
def get(slug: str) -> Exporter:
    """The exporter for a place. Raises `UnknownPlace`, also for the archive, which needs none."""
    if slug not in _EXPORTERS:
        raise UnknownPlace(slug)
    module, name = _EXPORTERS[slug]
    exporter: Exporter = getattr(import_module(module), name)()
    return exporter


def place_of(delivery: Delivery) -> str:
    """Where it goes, in words: with the account's name where it goes to one."""
    kind = str(NAMES.get(delivery.to, delivery.to))
    return f"{delivery.connection.name} ({kind})" if delivery.connection else kind
