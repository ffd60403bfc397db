"""ZIP files whose every byte is known before the first is sent, so that any part can be asked for.

Members are stored as they are: pictures don't get smaller by packing. With the checksum of each
known there is nothing to go back for, and a download that broke off goes on where it was, without
reading what has been sent already.
"""

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

_LOCAL = struct.Struct("<4s2B4HL2L2H")
_CENTRAL = struct.Struct("<4s4B4HL2L5H2L")
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")

_OLD_LIMIT = 0xFFFFFFFF
_OLD_COUNT = 0xFFFF
_EXTRA_64 = 1
_PLAIN_VERSION, _VERSION_64 = 20, 45
_UNIX = 3
_UTF_8 = 0x800
_REGULAR_FILE = 0o100644 << 16
_ENTRIES_AT_ONCE = 500


class Member(NamedTuple):
    """A file in the archive."""

    name: str
    size: int
    crc32: int
    stamp: tuple[int, int]
    """Date and time as `stamp` gives them."""
    place: str | int
    """What the reader finds its bytes by."""


Reader = Callable[[Member, int], Iterator[bytes]]
"""Gives the bytes of a member from an offset on, in chunks."""


def stamp(moment: datetime) -> tuple[int, int]:
    """A moment as ZIP files have it: a date and a time of two seconds' precision, no zone."""
    date = (max(moment.year, 1980) - 1980) << 9 | moment.month << 5 | moment.day
    return date, moment.hour << 11 | moment.minute << 5 | moment.second // 2


class Layout:
    """Where everything in an archive lies; `len()` is its length in bytes."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members
        self._offsets: list[int] = []
        at = 0
        for member in members:
            self._offsets.append(at)
            at += len(_local_header(member)) + member.size
        self._directory = at
        sizes = zip(members, self._offsets, strict=True)
        self._directory_size = sum(len(_entry(member, offset)) for member, offset in sizes)
        self._length = at + self._directory_size + len(self._end())

    def __len__(self) -> int:
        return self._length

    def chunks(self, read: Reader, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes from ``start`` up to ``stop``; members before that are not even opened.

        Raises `RuntimeError` when a member has not the bytes that it should have.
        """
        stop = len(self) if stop is None else stop
        first = max(bisect_right(self._offsets, start) - 1, 0)
        for member, offset in zip(self.members[first:], self._offsets[first:], strict=True):
            if offset >= stop:
                return
            header = _local_header(member)
            yield from _cut([header], offset, start, stop)
            at = offset + len(header)
            if at + member.size > start and member.size:
                skip = max(start - at, 0)
                yield from _cut(_whole(member, skip, read), at + skip, start, stop)
        yield from _cut(self._footer(), self._directory, start, stop)

    def _footer(self) -> Iterator[bytes]:
        for first in range(0, len(self.members), _ENTRIES_AT_ONCE):
            some = slice(first, first + _ENTRIES_AT_ONCE)
            yield b"".join(map(_entry, self.members[some], self._offsets[some]))
        yield self._end()

    def _end(self) -> bytes:
        count, size, at = len(self.members), self._directory_size, self._directory
        longer = b""
        if count >= _OLD_COUNT or at + size >= _OLD_LIMIT:
            version = _VERSION_64
            counts = (count, count, size, at)
            longer = _END_64.pack(b"PK\6\6", _END_64.size - 12, version, version, 0, 0, *counts)
            longer += _LOCATOR_64.pack(b"PK\6\7", 0, at + size, 1)
        few = min(count, _OLD_COUNT)
        end = (min(size, _OLD_LIMIT), min(at, _OLD_LIMIT), 0)
        return longer + _END.pack(b"PK\5\6", 0, 0, few, few, *end)


def _local_header(member: Member) -> bytes:
    name, flags = _encoded(member.name)
    is_long = member.size >= _OLD_LIMIT
    extra = struct.pack("<2H2Q", _EXTRA_64, 16, member.size, member.size) if is_long else b""
    date, time = member.stamp
    size = min(member.size, _OLD_LIMIT)
    version = _VERSION_64 if is_long else _PLAIN_VERSION
    about = (version, 0, flags, 0, time, date, member.crc32, size, size, len(name), len(extra))
    return _LOCAL.pack(b"PK\3\4", *about) + name + extra


def _entry(member: Member, offset: int) -> bytes:
    """A member's line in the directory at the end."""
    name, flags = _encoded(member.name)
    long_values = []
    if member.size >= _OLD_LIMIT:
        long_values += [member.size, member.size]
    if offset >= _OLD_LIMIT:
        long_values.append(offset)
    extra = b""
    if long_values:
        count = len(long_values)
        extra = struct.pack(f"<2H{count}Q", _EXTRA_64, 8 * count, *long_values)
    date, time = member.stamp
    size = min(member.size, _OLD_LIMIT)
    version = _VERSION_64 if long_values else _PLAIN_VERSION
    about = (version, _UNIX, version, 0, flags, 0, time, date, member.crc32, size, size)
    rest = (len(name), len(extra), 0, 0, 0, _REGULAR_FILE, min(offset, _OLD_LIMIT))
    return _CENTRAL.pack(b"PK\1\2", *about, *rest) + name + extra


def _encoded(name: str) -> tuple[bytes, int]:
    if name.isascii():
        return name.encode("ascii"), 0
    return name.encode(), _UTF_8


def _whole(member: Member, skip: int, read: Reader) -> Iterator[bytes]:
    """A member's bytes; anything but the right number of them breaks the archive."""
    sent = skip
    for chunk in read(member, skip):
        sent += len(chunk)
        if sent > member.size:
            break
        yield chunk
    if sent != member.size:
        raise RuntimeError(f"{member.name} has {sent} bytes and should have {member.size}.")


def _cut(chunks: Iterable[bytes], at: int, start: int, stop: int) -> Iterator[bytes]:
    """Of chunks that begin at ``at``, what lies between start and stop."""
    for chunk in chunks:
        if at >= stop:
            return
        if wanted := chunk[max(start - at, 0) : stop - at]:
            yield wanted
        at += len(chunk)
