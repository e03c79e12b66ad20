"""What an etcd's version says about it: whether it can lose writes, whether Babygun supports it."""

from __future__ import annotations

import re

Version = tuple[int, int, int]

# etcd issue 13766: acknowledged entries could miss from the database after a crash.
_LOSSY_FROM: Version = (3, 5, 0)
_LOSSY_UNTIL: Version = (3, 5, 3)
_OLDEST_AT_ALL: Version = (3, 4, 0)
_OLDEST: Version = (3, 5, 6)
_OLDEST_34: Version = (3, 4, 22)
# From here on, a progress notification that was asked for comes after the events that it covers.
_IN_STEP: Version = (3, 5, 8)
_IN_STEP_34: Version = (3, 4, 25)


def parse_version(text: str) -> Version:
    """``3.6.16``, ``v3.5.1``, ``3.6.0-rc.1``, or what ``etcd --version`` prints.

    Raises ValueError.
    """
    match = re.search(r"(?:^|[\sv])(\d+)\.(\d+)\.(\d+)", text)
    if not match:
        raise ValueError(f"{text[:80]!r} holds no version such as 3.6.16")
    return int(match[1]), int(match[2]), int(match[3])


def is_lossy(version: str) -> bool:
    """Whether this etcd can lose acknowledged writes when it crashes: 3.5.0 to 3.5.2."""
    parsed = _parsed(version)
    return parsed is not None and _LOSSY_FROM <= parsed < _LOSSY_UNTIL


def is_too_old(version: str) -> bool:
    """Whether Babygun can't work with it at all: before 3.4, leases and transactions lack parts."""
    parsed = _parsed(version)
    return parsed is not None and parsed < _OLDEST_AT_ALL


def progress_is_in_step(version: str) -> bool:
    """Whether a progress notification that a watch asks for can be relied on."""
    return _at_least(version, _IN_STEP, _IN_STEP_34)


def is_supported(version: str) -> bool:
    """Whether Babygun is meant to run on it: 3.5.6 or newer, or 3.4.22 or newer within 3.4."""
    return _at_least(version, _OLDEST, _OLDEST_34)


def _parsed(version: str) -> Version | None:
    try:
        return parse_version(version)
    except ValueError:
        return None


def _at_least(version: str, oldest: Version, oldest_34: Version) -> bool:
    parsed = _parsed(version)
    return parsed is not None and (
        parsed >= oldest or (parsed[:2] == (3, 4) and parsed >= oldest_34)
    )
