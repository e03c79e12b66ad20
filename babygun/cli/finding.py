"""One line of ``babygun doctor``."""

from __future__ import annotations

from typing import Literal, NamedTuple

Level = Literal["ok", "warn", "bad"]


class Finding(NamedTuple):
    """``bad``: the installation doesn't work. ``warn``: an operator should know."""

    level: Level
    sentence: str
