"""The command line as a whole: usage and help."""

from __future__ import annotations

import re

import pytest

from babygun.cli.main import COMMANDS, main
from tests.support import processes
from tests.support.commands import Command
from tests.support.paths import ROOT
from tests.support.rig import Rig


@pytest.mark.parametrize("words", [(), ("nonsense",), ("emails",), ("send",)])
def test_wrong_call_shows_the_usage(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert capsys.readouterr().err.startswith("usage: babygun")


def test_unknown_option_shows_the_usage_of_its_own_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["emails", "change", "some-id", "--send-at", "now"])
    error = capsys.readouterr().err
    assert error.startswith("usage: babygun emails change ")
    assert error.endswith("error: unrecognized arguments: --send-at now\n")


async def test_help_lists_every_command(babygun: Command) -> None:
    out = (await babygun("--help")).out
    assert all(command.name in out for command in COMMANDS)


async def test_terminal_that_lacks_a_character_gets_another_one(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")  # an interpreter reads it as it starts
    async with processes.babygun(rig.settings, "classify", "550 5.1.1 Bücher ≠ Briefe") as shown:
        assert await shown.ended() == 0 and shown.lines("class     bad_mailbox")
    async with processes.babygun(rig.settings, "token", "--scope", "größe") as refused:
        assert await refused.ended() != 0 and refused.lines("gr??e")


def test_commands_create_what_has_an_id_or_a_name_and_add_to_lists() -> None:
    said = {
        path.stem: set(re.findall(r'actions(?:\.add_parser\(|,)\s*"(\w+)"', path.read_text()))
        for path in (ROOT / "babygun/cli").glob("*.py")
    }
    having = {verb: {name for name in said if verb in said[name]} for verb in ("create", "add")}
    assert having == {"create": {"clients", "domains", "webhooks"}, "add": {"suppressions"}}
