"""The tables of what people meet in the field: ``tests/data/field/<part>.toml``."""

from __future__ import annotations

import tomllib
from typing import Any

from tests.support.paths import ROOT


def rows(part: str, table: str) -> list[dict[str, Any]]:
    """The rows of one table, in their order."""
    found: list[dict[str, Any]] = tomllib.loads(
        (ROOT / "tests/data/field" / f"{part}.toml").read_text("utf-8")
    )[table]
    return found
