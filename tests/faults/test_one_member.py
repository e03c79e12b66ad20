"""A short run with one etcd member."""

from __future__ import annotations

from pathlib import Path

from tests.faults.short_run import check_run


async def test_run_with_faults_of_worker_network_and_relay_ends_clean(tmp_path: Path) -> None:
    faults = ("kill-worker", "kill-bounced", "etcd-answers-lost", "relay-answers-lost")
    await check_run(tmp_path, 10.0, 1, *faults)
