"""A command's exit status."""

from __future__ import annotations

import os
import sys

import pytest

from babygun.cli.exit_status import status_of


def test_output_that_nobody_reads_ends_a_command_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)

    def run() -> int:
        print("a line")  # stays in the buffer
        return 0

    with os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert status_of(run) == 1
    assert capfd.readouterr().err == ""
