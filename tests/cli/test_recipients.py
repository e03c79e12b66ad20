"""``babygun recipients`` and ``babygun audit``, against a real API."""

from __future__ import annotations

import json
import stat

import pytest

from babygun.email.addresses import hash_of
from babygun.store.erasure.search import Page, Place, Search
from tests.support.commands import Command
from tests.support.rig import Rig

ANN = "ann@example.org"


async def test_recipient_is_exported_and_erased_and_the_audit_says_so(
    rig: Rig, with_api: Command
) -> None:
    await rig.send(ANN)
    await rig.send(ANN, "bob@example.org")
    exported = await with_api("recipients", "export", "Ann@Example.org", "ann.ndjson")
    assert (exported.status, exported.error) == (0, "")
    file = with_api.folder / "ann.ndjson"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["email", "email", "end"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    counted = await with_api("recipients", "erase", ANN, "--dry-run")
    assert counted.out == (
        "1 e-mail would be deleted;"
        " 1 e-mail to several, 0 events and 0 suppressions would lose the address\n"
    )
    done = await with_api("recipients", "erase", ANN, "--json")
    report = json.loads(done.out)
    assert (report["deleted"], report["erased"], report["under_way"]) == (1, 1, 0)
    audit = (await with_api("audit", "--target", ANN)).out.splitlines()
    assert [line.split()[3] for line in audit[1:]] == [
        "eraseRecipientData",
        "eraseRecipientData",
        "exportRecipientData",
    ]
    assert all(hash_of(ANN) in line for line in audit[1:]) and ANN not in "".join(audit)
    refused = await with_api("recipients", "export", "nobody")
    assert refused.status == 1 and "address" in refused.error


async def test_export_and_erasure_say_that_not_all_was_looked_at_in_time(
    rig: Rig, with_api: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Search._second_look

    async def dropped(search: Search, place: Place) -> Page:
        """etcd has dropped the history that the look reads."""
        revision = await rig.store.client.put(rig.store.keys.prefix + b"any", b"")
        await rig.store.client.delete(rig.store.keys.prefix + b"any")
        await rig.store.client.compact(revision, timeout=60)
        return await look(search, place)

    monkeypatch.setattr(Search, "_second_look", dropped)
    await rig.send(ANN)
    exported = await with_api("recipients", "export", ANN)
    assert exported.status == 1 and "an event that moved meanwhile may be missing" in exported.error
    email, end = [json.loads(line) for line in exported.out.splitlines()]
    assert (email["kind"], end["kind"], end["complete"]) == ("email", "end", False)
    counted = await with_api("recipients", "erase", ANN, "--dry-run")
    assert counted.status == 1
    assert "1 are being sent, or could not be looked at in time" in counted.out
