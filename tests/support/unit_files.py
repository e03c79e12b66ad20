"""systemd's unit files."""

from __future__ import annotations

import configparser
from pathlib import Path


class Unit(dict[str, dict[str, list[str]]]):
    """A unit file's sections, each with the values of its names in their order."""

    def __init__(self, path: Path) -> None:
        class Values(dict[str, object]):
            def __setitem__(self, name: str, value: object) -> None:
                super().__setitem__(
                    name,
                    [*self[name], *value] if isinstance(value, list) and name in self else value,
                )

        parser = configparser.RawConfigParser(
            dict_type=Values,
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
