"""The settings of processes are in the audit when they change, without secrets."""

from __future__ import annotations

from babygun.store.audit.listing import Wanted, list_entries
from babygun.store.audit.runs import audit_runs, note_run, note_run_soon, shown
from babygun.store.store import Store
from tests.support.rig import Rig, changed


async def test_settings_are_audited_once_until_they_change(rig: Rig) -> None:
    for process_id in ("w1", "w2"):
        await note_run(rig.store, "worker", process_id)
        await audit_runs(rig.store)
    await note_run(rig.store, "api", "a1")
    await note_run_soon(rig.store, "bounced", "b1")
    async with Store(changed(rig.settings, lease_ttl=77.0)) as other:
        await note_run(other, "worker", "w3")
    await audit_runs(rig.store)
    await audit_runs(rig.store)
    entries = (await list_entries(rig.store, Wanted(action="run"), limit=9)).entries
    assert {(e.by, e.target, e.via, e.outcome) for e in entries} == {
        ("w1", "worker", "process", "done"),
        ("a1", "api", "process", "done"),
        ("b1", "bounced", "process", "done"),
        ("w3", "worker", "process", "done"),
    }
    (newest,) = [e for e in entries if e.by == "w3"]
    assert newest.details["lease_ttl"] == "77s"


def test_settings_are_shown_without_secrets_and_defaults(rig: Rig) -> None:
    settings = changed(rig.settings, etcd_password="geheim", lease_ttl=77.0, worker_port=1234)
    assert shown(settings).items() >= {"etcd_password": "(set)", "lease_ttl": "77s"}.items()
    assert "worker_port" not in shown(settings) and "geheim" not in str(shown(settings))
