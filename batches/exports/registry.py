"""Every place that results can go to, by the name that the API gives it.

An exporter is loaded when it is needed: spreadsheets and the clients of other services are large,
and a page that lists places needs none of them.
"""

from functools import cache
from importlib import import_module

from batches.exports.base import EachExporter, FileExporter, RowsExporter

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
