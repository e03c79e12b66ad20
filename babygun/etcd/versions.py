"""What an etcd can do, by its version. From etcd's change logs and advisories, and from test runs.

A repair comes out in each minor version that etcd's authors still maintain. So an ability begins
with one release of each: 3.5.33, 3.6.14 and 3.7.1 got the same ones.
"""

from __future__ import annotations

import re
from typing import NamedTuple

Version = tuple[int, int, int]


class Ability(NamedTuple):
    """``since``: its first release in each minor version; later minor versions all have it.

    ``lack``: what is wrong with an etcd that doesn't have it, after "etcd 3.5.16". Empty where
    Babygun does as well without it.
    """

    name: str
    since: tuple[Version, ...]
    lack: str


WRITES = Ability(
    "writes",
    ((3, 4, 21), (3, 5, 5)),
    "can lose acknowledged writes when it crashes (etcd issues 13766 and 14370)",
)
CHECKPOINTS = Ability(
    "checkpoints",
    ((3, 4, 20), (3, 5, 2)),
    "begins the time of every lease again at each start and with each new leader (etcd issue 9888)",
)
WATCHES = Ability(
    "watches",
    ((3, 4, 31), (3, 5, 13)),
    "can lose events of a watch at a compaction, and end leases at a change of leader"
    " (etcd issues 17612 and 17425)",
)
PROGRESS = Ability("progress", ((3, 4, 25), (3, 5, 8)), "")
NESTED_RIGHTS = Ability(
    "rights",
    ((3, 4, 44), (3, 5, 30), (3, 6, 11)),
    "does not check the rights of users in nested transactions, so roles protect nothing"
    " (CVE-2026-33343, CVE-2026-44283)",
)
WATCH_RIGHTS = Ability(
    "watch-rights",
    ((3, 5, 33), (3, 6, 14), (3, 7, 1)),
    "lets each user watch keys that its role may not read (GHSA-xg4h-6gfc-h4m8)",
)
COUNTED_QUOTA = Ability(
    "quota",
    ((3, 5, 33), (3, 6, 14), (3, 7, 1)),
    "does not count nested transactions against its quota, so its file can outgrow it"
    " (etcd issue 22134)",
)
ABILITIES = (WRITES, WATCHES, CHECKPOINTS, PROGRESS, NESTED_RIGHTS, WATCH_RIGHTS, COUNTED_QUOTA)
# They matter only where clients have users of their own.
OF_ROLES = (NESTED_RIGHTS, WATCH_RIGHTS)
_OLDEST: Version = (3, 4, 0)


def parse_version(text: str) -> Version:
    """``3.6.16``, ``v3.5.1``, ``3.6.0-rc.1``, or what ``etcd --version`` prints.

    Raises ValueError.
    """
    match = re.search(r"(?:^|[\sv])(\d+)\.(\d+)\.(\d+)", text)
    if not match:
        raise ValueError(f"{text[:80]!r} holds no version such as 3.6.16")
    return int(match[1]), int(match[2]), int(match[3])


def has(version: str, ability: Ability) -> bool:
    """Whether this etcd has the ability. False for a version that can't be read."""
    parsed = _parsed(version)
    return parsed is not None and _has(parsed, ability)


def lacking(version: str) -> list[Ability]:
    """The abilities that Babygun wants, and this etcd lacks. Empty if the version can't be read."""
    parsed = _parsed(version)
    return [each for each in ABILITIES if parsed and each.lack and not _has(parsed, each)]


def is_good(version: str) -> bool:
    """Whether this etcd has all that Babygun wants."""
    return _parsed(version) is not None and not lacking(version)


def is_too_old(version: str) -> bool:
    """Whether Babygun can't work with it at all: before 3.4, leases and transactions lack parts."""
    parsed = _parsed(version)
    return parsed is not None and parsed < _OLDEST


def remedy(version: str) -> str:
    """The oldest good release of the same minor version or a later one.

    ``version``: of an etcd that is not good.
    """
    minor = (_parsed(version) or _OLDEST)[:2]
    releases = [first for each in ABILITIES for first in each.since if first[:2] >= minor]
    good = [first for first in releases if all(_has(first, each) for each in ABILITIES)]
    return ".".join(map(str, min(good)))


def _has(version: Version, ability: Ability) -> bool:
    for first in ability.since:
        if first[:2] == version[:2]:
            return version >= first
    return version > ability.since[-1]


def _parsed(version: str) -> Version | None:
    try:
        return parse_version(version)
    except ValueError:
        return None
