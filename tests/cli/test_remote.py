"""The way to the API, and what is said if it does not answer or is not known."""

from __future__ import annotations

from tests.support.commands import Command
from tests.support.rig import changed


async def test_api_that_does_not_answer_and_unknown_client_are_one_sentence(
    babygun: Command,
) -> None:
    nobody = await babygun("workers")
    assert nobody.status == 2 and "BABYGUN_CLIENT_ID" in nobody.error
    half = await Command(changed(babygun.settings, client_id="a"), babygun.folder)("workers")
    assert half.status == 2
    assert "BABYGUN_CLIENT_ID and BABYGUN_CLIENT_SECRET go together" in half.error
    settings = changed(
        babygun.settings, api_url="http://127.0.0.1:1", client_id="a", client_secret="b"
    )
    away = await Command(settings, babygun.folder)("workers")
    assert away.status == 1 and "does not answer" in away.error
    assert len(away.error.splitlines()) == 1
