"""The worker's probes, where ``worker_port`` is set: whether it would send an e-mail now."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from babygun.runtime.probes import probes
from babygun.worker.worker import Worker


def probed(worker: Worker) -> AbstractAsyncContextManager[str]:
    """Answers while the block runs; yields the URL. Raises SettingsError if it can't listen."""
    settings = worker.store.settings
    return probes(
        "worker",
        _Asked(worker),
        settings.worker_host,
        settings.worker_port,
        setting="worker_port",
        metrics_token=settings.metrics_token,
    )


class _Asked:
    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.show_state = worker.show_state

    async def readiness(self) -> tuple[list[str], list[str]]:
        """Why this worker would not send an e-mail now, and warnings; a sentence each."""
        worker = self._worker
        found = await worker.health.check()
        reasons, warnings = list(found.reasons), list(found.warnings)
        membership = worker.membership
        if worker.draining:
            reasons.append("this worker is stopping: it finishes what it has, and takes no more")
        elif membership.identity is None:
            reasons.append("this worker has not checked in yet")
        elif not membership.identity.trusted:
            reasons.append("this worker's lease can't be trusted: etcd has not renewed it in time")
        elif not membership.is_live:
            reasons.append("this worker does not know its slice of the jobs yet")
        elif membership.slice.empty:
            warnings.append("there are more workers than shards: this one has nothing to do")
        return reasons, warnings
