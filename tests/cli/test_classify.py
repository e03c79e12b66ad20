"""``babygun classify``."""

from __future__ import annotations

import pytest

from tests.support.commands import Command


async def test_classify_prints_class_action_and_rule(babygun: Command) -> None:
    result = await babygun("classify", "552 5.2.2 Mailbox full")
    assert result.out.split()[:4] == ["class", "mailbox_full", "action", "retry"]
    without = await babygun("classify", "--no-reply", "connection reset by peer")
    assert without.out.split()[:4] == ["class", "network", "action", "retry"]


@pytest.mark.parametrize(
    "words",
    [
        ("rubbish",),
        ("",),
        ("99 bottles",),
        ("650 5.1.1 no",),
        ("5501 no",),
        ("--no-reply", "550 no"),
        ("--no-reply", " "),
    ],
)
async def test_classify_of_what_is_no_reply_is_refused_with_a_sentence(
    babygun: Command, words: tuple[str, ...]
) -> None:
    result = await babygun("classify", *words)
    assert result.status == 2 and not result.out
    assert result.error.startswith("babygun: ") and "--no-reply" in result.error
    assert len(result.error.splitlines()) == 1
