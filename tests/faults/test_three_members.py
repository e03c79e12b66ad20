"""A short run with three etcd members."""

from __future__ import annotations

from pathlib import Path

from tests.faults.short_run import check_run


async def test_run_with_faults_of_leader_and_api_ends_clean(tmp_path: Path) -> None:
    await check_run(tmp_path, 7.0, 3, "kill-etcd-leader", "kill-api")
