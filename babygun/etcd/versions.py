"""What an etcd's version says about it: whether it keeps what it acknowledges, and whether Babygun is meant to run on it."""

from __future__ import annotations

import re

Version = tuple[int, int, int]

_LOSSY_FROM: Version = (3, 5, 0)
_MENDED_IN: Version = (
    3,
    5,
    3,
)  # etcd issue 13766: entries applied and acknowledged could miss from the database after a crash
_OLDEST_AT_ALL: Version = (3, 4, 0)
_OLDEST: Version = (3, 5, 6)
_OLDEST_34: Version = (3, 4, 22)
_IN_STEP: Version = (
    3,
    5,
    8,
)  # from here on, a progress notification that was asked for comes after the events that it tells of
_IN_STEP_34: Version = (3, 4, 25)


def parse_version(text: str) -> Version:
    """``3.6.16``, ``v3.5.1``, ``3.6.0-rc.1``, or what ``etcd --version`` prints. Raises ValueError."""
    match = re.search(r"(?:^|[\sv])(\d+)\.(\d+)\.(\d+)", text)
    if not match:
        raise ValueError(f"{text[:80]!r} holds no version such as 3.6.16")
    return int(match[1]), int(match[2]), int(match[3])


def is_lossy(version: str) -> bool:
    """Whether this etcd can lose acknowledged writes when it crashes (3.5.0 to 3.5.2, etcd issue 13766)."""
    try:
        return _LOSSY_FROM <= parse_version(version) < _MENDED_IN
    except ValueError:
        return False


def is_too_old(version: str) -> bool:
    """Whether Babygun does not work with it at all: before 3.4 a lease and a transaction do not do all that is needed here."""
    try:
        return parse_version(version) < _OLDEST_AT_ALL
    except ValueError:
        return False


def progress_is_in_step(version: str) -> bool:
    """Whether a progress notification that a watch asks for can be relied on: 3.5.8 or newer, or 3.4.25 or newer within 3.4."""
    try:
        parsed = parse_version(version)
    except ValueError:
        return False
    return parsed >= _IN_STEP or (parsed[:2] == (3, 4) and parsed >= _IN_STEP_34)


def is_supported(version: str) -> bool:
    """Whether Babygun is meant to run on it: 3.5.6 or newer, or 3.4.22 or newer within 3.4."""
    try:
        parsed = parse_version(version)
    except ValueError:
        return False
    return parsed >= _OLDEST or (parsed[:2] == (3, 4) and parsed >= _OLDEST_34)
