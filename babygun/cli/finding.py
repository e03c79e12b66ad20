"""One line of ``babygun doctor``."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """``bad``: the installation doesn't work. ``warn``: an operator should know."""

    level: Literal["ok", "warn", "bad"]
    sentence: str
