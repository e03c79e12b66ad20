"""``babygun token``."""

from __future__ import annotations

from tests.support.commands import Command


async def test_token_alone_is_printed_and_can_be_checked(with_api: Command) -> None:
    """So ``TOKEN=$(babygun token)`` works."""
    printed = await with_api("token")
    token = printed.out.removesuffix("\n")
    assert (printed.status, printed.error, len(token.split())) == (0, "", 1)
    assert "valid for another" in (await with_api("token", "--check", token)).out
    assert (await with_api("token", "--check", token[:-2])).status == 1
