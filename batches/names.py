"""Names of files that strangers chose, made safe for pages, disks and archives."""

import re
import unicodedata

NAMELESS = "image"
LONGEST_NAME = 180
"""Bytes in UTF-8. File systems take 255; numbers and other endings are still to come."""
DEEPEST = 16
"""Folders and the name in a path: what unpacks such a tree has limits, too."""
LONGEST_EXTENSION = 16
"""Bytes. What comes after the last dot and is longer is no extension."""

_FORBIDDEN = frozenset('<>:"|?*')
"""What Windows refuses in a name, besides folders."""
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories that a name can lie with: controls, text direction, broken characters."""
_EDGES = re.compile(r"^[\s.]+|[\s.]+$")
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"]
)
"""Windows opens a device instead of a file of this name, whatever its extension."""


def clean_name(name: str) -> str:
    """The name without folders and without anything that a file system or a reader trips over.

    Never empty, never longer than `LONGEST_NAME`; a clean name stays as it is.
    """
    name = unicodedata.normalize("NFC", name).replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(
        character
        for character in name
        if character not in _FORBIDDEN and unicodedata.category(character) not in _INVISIBLE
    )
    name = _shortened(_EDGES.sub("", name))
    if name.split(".", 1)[0].rstrip().casefold() in _DEVICES:
        name = f"_{name}"
    return name or NAMELESS


def split_name(name: str) -> tuple[str, str]:
    """Stem and extension; the extension has its dot, and is empty when there is none."""
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension.encode("utf-8", "replace")) > LONGEST_EXTENSION:
        return name, ""
    return stem, dot + extension


def clean_path(path: str) -> str:
    """A path below some folder, each part of it clean; it leads nowhere else.

    Never empty; of very many folders the last ones are kept.
    """
    parts = path.replace("\\", "/").split("/")
    kept = [part for part in parts if part.strip(". ")] or [path]
    return "/".join(clean_name(part) for part in kept[-DEEPEST:])


class Names:
    """Numbers names that come twice: `front.png`, `front-2.png`.

    Names that a file system may take for the same are the same here: upper and lower case,
    and accents that are written as one character or as two.
    """

    def __init__(self, *taken: str) -> None:
        self._taken = {folded(name) for name in taken}
        self._next: dict[str, int] = {}
        self._folders: dict[str, str] = {"": ""}

    def unique(self, name: str) -> str:
        """The name itself, or the first free numbered one."""
        return self._free("", name)

    def unique_path(self, path: str) -> str:
        """The same for a clean path. No file has the name of a folder, and no folder a file's."""
        folder, slash, name = path.rpartition("/")
        return self._free(self._folder(folder) + slash, name)

    def _folder(self, path: str) -> str:
        if folded(path) not in self._folders:
            outer, slash, name = path.rpartition("/")
            self._folders[folded(path)] = self._free(self._folder(outer) + slash, name)
        return self._folders[folded(path)]

    def _free(self, folder: str, name: str) -> str:
        candidate, stem, extension = name, *split_name(name)
        asked = folded(folder + name)
        while folded(folder + candidate) in self._taken:
            number = self._next.get(asked, 2)
            self._next[asked] = number + 1
            candidate = f"{stem}-{number}{extension}"
        self._taken.add(folded(folder + candidate))
        return folder + candidate


def folded(name: str) -> str:
    """What names have in common that a file system may take for the same."""
    folded = unicodedata.normalize("NFC", name).casefold()
    return unicodedata.normalize("NFC", folded)


def _shortened(name: str) -> str:
    """Cut the stem, between characters, until all of it fits."""
    if len(name.encode()) <= LONGEST_NAME:
        return name
    stem, extension = split_name(name)
    room = LONGEST_NAME - len(extension.encode())
    return _EDGES.sub("", stem.encode()[:room].decode("utf-8", "ignore")) + extension
