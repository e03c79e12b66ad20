"""systemd's unit files."""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import Any


class _Values(dict[str, Any]):
    """A section that keeps each value of a name."""

    def __setitem__(self, name: str, value: Any) -> None:
        if isinstance(value, list) and name in self:
            value = [*self[name], *value]
        super().__setitem__(name, value)


class Unit(dict[str, dict[str, list[str]]]):
    """A unit file's sections, each with the values of its names in their order."""

    def __init__(self, path: Path) -> None:
        parser = configparser.RawConfigParser(
            dict_type=_Values,
            strict=False,
            delimiters=("=",),
            comment_prefixes=("#", ";"),
            empty_lines_in_values=False,
        )
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read_string(path.read_text(), str(path))
        super().__init__(
            {
                section: {name: value.split("\n") for name, value in parser.items(section)}
                for section in parser.sections()
            }
        )
