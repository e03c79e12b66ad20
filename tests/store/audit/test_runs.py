"""The settings of processes are in the audit when they change, without secrets."""

from __future__ import annotations

from babygun.store.audit import runs
from babygun.store.audit.listing import Wanted, list_entries
from babygun.store.audit.runs import audit_runs, note_run, note_run_soon, shown
from babygun.store.store import Store
from tests.support.faulty_etcd import FaultyProcess
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


async def test_settings_of_each_process_are_audited_though_others_take_their_place_at_once(
    rig: Rig,
) -> None:
    seconds = (71.0, 72.0, 71.0)
    for number, ttl in enumerate(seconds):
        async with Store(changed(rig.settings, lease_ttl=ttl)) as store:
            await note_run(store, "worker", f"w{number}")
    await audit_runs(rig.store)
    await audit_runs(rig.store)
    entries = (await list_entries(rig.store, Wanted(action="run"), limit=9)).entries
    assert {(e.by, e.details["lease_ttl"]) for e in entries} == {
        ("w0", "71s"),
        ("w1", "72s"),
        ("w2", "71s"),
    }
    assert len(entries) == 3


async def test_settings_are_audited_though_another_process_notes_its_own_meanwhile(
    rig: Rig,
) -> None:
    process = FaultyProcess(changed(rig.settings, lease_ttl=71.0))
    await process.store.start()

    async def another() -> None:
        async with Store(changed(rig.settings, lease_ttl=72.0)) as store:
            await note_run(store, "worker", "w2")

    await process.do(lambda store: note_run(store, "worker", "w1"), meanwhile={2: another})
    await process.close()
    await audit_runs(rig.store)
    entries = (await list_entries(rig.store, Wanted(action="run"), limit=9)).entries
    assert sorted(e.by for e in entries) == ["w1", "w2"]


async def test_settings_that_wait_for_the_audit_are_bounded(rig: Rig) -> None:
    """An API process may be away for long, and processes may start again and again."""
    for number in range(40):
        async with Store(changed(rig.settings, lease_ttl=60.0 + number)) as store:
            await note_run(store, "worker", f"w{number}")
    await audit_runs(rig.store)
    entries = (await list_entries(rig.store, Wanted(action="run"), limit=99)).entries
    by = {e.by for e in entries}
    assert len(by) == len(entries) == runs.MOST_WAITING + 1
    assert by == {f"w{number}" for number in range(40 - runs.MOST_WAITING - 1, 40)}


def test_settings_are_shown_without_secrets_and_defaults(rig: Rig) -> None:
    settings = changed(rig.settings, etcd_password="geheim", lease_ttl=77.0, worker_port=1234)
    assert shown(settings).items() >= {"etcd_password": "(set)", "lease_ttl": "77s"}.items()
    assert "worker_port" not in shown(settings) and "geheim" not in str(shown(settings))
