"""Bytes in, other bytes out; all chance comes from the generator that is handed in."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence

import numpy as np

Random = np.random.Generator
_LONGEST = 2_000_000
_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutated(bases: Sequence[bytes], chosen: int, random: Random) -> bytes:
    """One to four mutations of a base, now and then with a part of another; PNG checksums mostly corrected."""
    data = bytearray(bases[chosen])
    for _ in range(int(random.integers(1, 5))):
        _MUTATIONS[int(random.integers(len(_MUTATIONS)))](data, bases, random)
    data = data[:_LONGEST]
    if data.startswith(b"\x89PNG") and random.random() < 0.8:
        data = _with_checksums(data)
    return bytes(data)


def _place(data: bytearray, random: Random) -> int:
    """A position, half the time among the first 200 bytes."""
    most = max(1, min(len(data), 200 if random.random() < 0.5 else len(data)))
    return int(random.integers(most))


def _slice(data: bytearray, random: Random) -> slice:
    start = _place(data, random)
    return slice(start, start + int(random.integers(1, 2 + min(len(data), 4000))))


def _flip(data: bytearray, _: Sequence[bytes], random: Random) -> None:
    for _i in range(int(random.integers(1, 9)) if data else 0):
        data[_place(data, random)] ^= 1 << int(random.integers(8))


def _number(data: bytearray, _: Sequence[bytes], random: Random) -> None:
    number = _NUMBERS[int(random.integers(len(_NUMBERS)))]
    form = ("<I", ">I", "<H", ">H", "B")[int(random.integers(5))]
    packed = struct.pack(form, number & ((1 << 8 * struct.calcsize(form)) - 1))
    start = _place(data, random)
    data[start : start + len(packed)] = packed


def _noise(data: bytearray, _: Sequence[bytes], random: Random) -> None:
    start, noise = _place(data, random), random.bytes(int(random.integers(1, 17)))
    data[start : start + len(noise)] = noise


def _truncate(data: bytearray, _: Sequence[bytes], random: Random) -> None:
    del data[_place(data, random) :]


def _delete(data: bytearray, _: Sequence[bytes], random: Random) -> None:
    del data[_slice(data, random)]


def _repeat(data: bytearray, _: Sequence[bytes], random: Random) -> None:
    part = _slice(data, random)
    times = min(int(2 ** random.uniform(1, 12)), _LONGEST // max(1, part.stop - part.start))
    data[part.start : part.start] = bytes(data[part]) * times


def _insert(data: bytearray, _: Sequence[bytes], random: Random) -> None:
    start = _place(data, random)
    data[start:start] = random.bytes(int(random.integers(1, 300)))


def _fill(data: bytearray, _: Sequence[bytes], random: Random) -> None:
    part = _slice(data, random)
    data[part] = bytes([int(random.choice([0, 255, 128]))]) * len(data[part])


def _splice(data: bytearray, bases: Sequence[bytes], random: Random) -> None:
    other = bytearray(bases[int(random.integers(len(bases)))])
    start = _place(data, random)
    data[start:] = other[_place(other, random) :]


def _with_checksums(data: bytearray) -> bytearray:
    """A PNG whose chunks' checksums are right, as far as its chunks can be followed."""
    place = 8
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        end = place + 8 + length
        if end + 4 > len(data):
            break
        struct.pack_into(">I", data, end, zlib.crc32(data[place + 4 : end]))
        place = end + 4
    return data


_MUTATIONS: tuple[Callable[[bytearray, Sequence[bytes], Random], None], ...] = (
    _flip,
    _flip,
    _number,
    _number,
    _number,
    _noise,
    _truncate,
    _delete,
    _repeat,
    _insert,
    _fill,
    _splice,
)
