"""Compressed bodies in small steps."""

from __future__ import annotations

import gzip
import os
import zlib

import pytest

from babygun.api.http.inflate import MAX_MEMBERS, Inflater
from scripts.attack.bombs import gzip_bomb


def gzipped(data: bytes) -> bytes:
    """The same bytes whenever it is asked: they are in the tests' names."""
    return gzip.compress(data, mtime=0)


STEP = 64 << 10


def inflate(encoding: str, *parts: bytes) -> bytes:
    inflater = Inflater(encoding)
    found = b"".join(piece for part in parts for piece in inflater.pieces(part))
    inflater.check_complete()
    return found


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


SAMPLES = [
    b"",
    b"a",
    bytes(STEP),
    bytes(STEP + 1),
    bytes(3 * STEP),
    os.urandom(STEP),
    os.urandom(1000) * 300,
]


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzipped),
        ("x-gzip", gzipped),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
    ],
)
def test_body_however_it_is_cut_inflates_to_what_it_was(encoding: str, pack: object) -> None:
    for data in SAMPLES:
        packed: bytes = pack(data)  # type: ignore[operator]
        assert inflate(encoding, packed) == data
        assert inflate(encoding, *(bytes([byte]) for byte in packed[:2000]), packed[2000:]) == data
    assert inflate(encoding) == b"", "no body at all"


def test_bomb_comes_out_in_small_pieces() -> None:
    inflater, size = Inflater("gzip"), 0
    for piece in inflater.pieces(gzip_bomb(16)):
        assert len(piece) <= STEP
        size += len(piece)
    assert size == 16 << 20


def test_gzip_members_behind_each_other_are_one_body_up_to_a_number() -> None:
    assert inflate("gzip", gzipped(b"a") + gzipped(b""), gzipped(b"b")) == b"ab"
    empty = gzipped(b"")
    assert inflate("gzip", empty * MAX_MEMBERS) == b""
    with pytest.raises(ValueError, match="members"):
        inflate("gzip", empty * (MAX_MEMBERS + 1))


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("gzip", gzipped(b"abc")[:-1]),
        ("gzip", gzipped(b"abc")[:5]),
        ("gzip", gzipped(b"abc") + b"rubbish"),
        ("gzip", gzipped(b"abc") + b"\0"),
        ("gzip", gzipped(b"abc") + gzipped(b"def")[:-1]),
        ("gzip", gzipped(b"abc")[:-8] + b"12345678"),  # another checksum
        ("gzip", zlib.compress(b"abc")),
        ("deflate", gzipped(b"abc")),
        ("deflate", zlib.compress(b"abc")[:-1]),
        ("deflate", zlib.compress(b"abc") + b"x"),
        ("deflate", zlib.compress(b"abc") * 2),
        ("deflate", raw_deflate(b"abc") * 2),
    ],
)
def test_body_that_is_cut_off_or_has_more_behind_it_is_refused(encoding: str, data: bytes) -> None:
    with pytest.raises(ValueError):
        inflate(encoding, data)
    with pytest.raises(ValueError):
        inflate(encoding, *(bytes([byte]) for byte in data))
