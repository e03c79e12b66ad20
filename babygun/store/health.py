"""Whether etcd is fit to take mail: reachable, with space, of a version that keeps what it acknowledged."""

from __future__ import annotations

from dataclasses import dataclass, field

from babygun.errors import EtcdError
from babygun.etcd_versions import is_lossy
from babygun.store.store import Store


@dataclass(frozen=True, slots=True)
class Health:
    """``reasons``: why not, a sentence each; ``warnings``: what an operator should mend, though mail goes on."""

    ok: bool
    reasons: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


async def check(store: Store) -> Health:
    """Asks etcd, in at most its time limit."""
    warnings: list[str] = []
    try:
        status = await store.client.status()
        alarms = await store.client.alarms()
    except EtcdError as error:
        return Health(False, [f"etcd does not answer: {error}"])
    reasons = [f"etcd has raised its {alarm} alarm" for alarm in alarms]
    if not status.leader:
        reasons.append("etcd has no leader")
    if is_lossy(status.version):
        warnings.append(f"etcd {status.version} can lose acknowledged writes when it crashes (etcd issue 13766): use 3.5.6 or newer")
    return Health(not reasons, reasons, warnings)
