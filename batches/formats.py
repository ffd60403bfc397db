"""What results and assets are called and said to be: pictures, texts and reports."""

from collections.abc import Mapping

from tools.engines import images

TEXTS: Mapping[str, str] = {"txt": "text/plain; charset=utf-8", "json": "application/json"}
"""Formats that are no pictures, with their content types."""

CONTENT_TYPES: Mapping[str, str] = {**images.CONTENT_TYPES, **TEXTS}

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
XLSM = "application/vnd.ms-excel.sheet.macroEnabled.12"
SHEET_TYPES = ("text/csv", XLSX, XLSM)
"""Content types of the sheets that results are written into."""


def ending(kind: str) -> str:
    """The ending of a file of this format: `.jpg`, `.txt`."""
    return images.EXTENSIONS.get(kind, f".{kind}")
