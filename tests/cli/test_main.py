"""The command line as a whole: usage and help."""

from __future__ import annotations

import pytest

from babygun.cli.main import COMMANDS
from tests.support.commands import Command


@pytest.mark.parametrize("words", [(), ("nonsense",), ("emails",), ("send",)])
async def test_wrong_call_shows_the_usage(babygun: Command, words: tuple[str, ...]) -> None:
    result = await babygun(*words)
    assert result.status == 2 and result.error.startswith("usage: babygun")


async def test_help_lists_every_command(babygun: Command) -> None:
    out = (await babygun("--help")).out
    assert all(command.name in out for command in COMMANDS)
