"""Whether this process can do its work, and what an operator should repair.

For /readyz, the start and the log. A process that can't work with this etcd does not start. If that
happens later, it is not ready, and mail goes on once it is repaired.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from babygun.errors import EtcdError, PermissionDenied, SettingsError
from babygun.etcd import explain
from babygun.pki import certificates
from babygun.routing.routes import Routes
from babygun.runtime.logs import get_logger
from babygun.store.access.permissions import explain_denied
from babygun.store.access.rights import Role
from babygun.store.cluster import findings
from babygun.store.cluster.cluster_name import join_cluster
from babygun.store.cluster.findings import Finding
from babygun.store.emails.depth import Depths
from babygun.store.store import Store

log = get_logger("health")

INTERVAL = 30.0  # s, between two checks of what changes slowly
BEGINNING = 20.0  # s, in which workers may be missing
START_PATIENCE = 3.0  # s, that a start waits for etcd; then the process starts without it
ANSWER = 2.5  # s, for etcd to say how it is
_EXPLAIN = 1.5  # s, for finding out why there is no connection
_EXPLAINED = 10.0  # s, for which that explanation serves
_JOIN_AGAIN = 1.0  # s
_USES: dict[Role, tuple[certificates.Use, ...]] = {
    "api": certificates.API,
    "bounced": certificates.BOUNCED,
}
_SENDING: tuple[Role, ...] = ("api", "worker")  # the roles that care for jobs, workers and holds


@dataclass(frozen=True, slots=True)
class Health:
    """``reasons``: why this process can't work. ``warnings``: mail goes on all the same."""

    ok: bool
    reasons: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Checkup:
    """Use :meth:`require` once, run :meth:`run` as a task, call :meth:`check` for each probe.

    Each :meth:`check` asks etcd how it is. Everything else is checked every INTERVAL.
    ``joined``: whether this process may work under this prefix. With the setting ``cluster`` it is
    false until etcd has confirmed it.
    """

    def __init__(self, store: Store, role: Role, routes: Routes) -> None:
        self._store, self._role, self._routes = store, role, routes
        self._uses = _USES.get(role, certificates.ETCD)
        # gRPC reads the file once, at the start.
        self._shown_to_etcd = certificates.expiries(store.settings, ("etcd_cert",)).get("etcd_cert")
        self._depths = Depths(store)
        self._slow: list[Finding] = []
        self._by_check: dict[str, list[Finding]] = {}  # as it was made last
        self._cluster_warning = ""
        self._foreign = ""  # why this process must not work under this prefix
        self._explained: tuple[float, list[Finding]] = (-_EXPLAINED, [])
        self._began = time.monotonic()
        self.joined = not store.settings.cluster

    async def require(self) -> None:
        """Raises SettingsError, in one sentence, where this process can't work with this etcd.

        Where etcd does not answer, it returns after START_PATIENCE.
        """
        try:
            async with asyncio.timeout(START_PATIENCE):
                found = await self._etcd()
                if not any(finding.blocks for finding in found):
                    found += (lacking := await findings.of_rights(self._store, self._role))
                    if not lacking:
                        await self._join()
        except (EtcdError, TimeoutError):
            return  # run() logs it
        if fatal := [finding.sentence for finding in found if finding.fatal]:
            raise SettingsError("; ".join(fatal))

    async def join(self) -> None:
        """Returns when etcd has confirmed that the prefix is this cluster's.

        Raises SettingsError where it is another's.
        """
        while not self.joined:
            try:
                await self._join()
            except EtcdError:
                await asyncio.sleep(_JOIN_AGAIN)

    async def check(self) -> Health:
        """The present health, after ANSWER seconds at most, and _EXPLAIN while etcd is away."""
        found = [*await self._etcd(), *self._slow]
        if self._foreign:
            found.append(Finding("cluster", self._foreign, blocks=True))
        elif not self.joined:
            sentence = "etcd has not confirmed yet that the prefix is this cluster's"
            found.append(Finding("cluster", sentence, blocks=True))
        reasons = dict.fromkeys(finding.sentence for finding in found if finding.blocks)
        warnings = dict.fromkeys(finding.sentence for finding in found if not finding.blocks)
        return Health(not reasons, list(reasons), list(warnings))

    async def run(self) -> None:
        """Checks again and again until cancelled; logs what is new, and what is solved."""
        before: dict[str, Finding] = {}
        while True:
            if not self.joined:
                try:
                    await self._join()
                except (EtcdError, SettingsError):
                    pass  # the findings below say it, or check()
            try:
                await self.refresh()
                now = {finding.key: finding for finding in [*await self._etcd(), *self._slow]}
            except Exception as error:  # a fault of ours here is no reason to stop sending
                log.error("health check failed", exc=error)
                await asyncio.sleep(INTERVAL)
                continue
            if self._foreign:
                now["cluster"] = Finding("cluster", self._foreign, blocks=True)
            for key in now.keys() - before.keys():
                if now[key].blocks:
                    log.error("problem found", what=now[key].sentence)
                else:
                    log.warning("problem found", what=now[key].sentence)
            for key in before.keys() - now.keys():
                log.info("problem solved", what=before[key].sentence)
            before = now
            await asyncio.sleep(INTERVAL)

    async def refresh(self) -> None:
        """Checks once what changes slowly."""
        store = self._store
        found = findings.of_certificates(store.settings, self._uses, self._shown_to_etcd)
        if self._cluster_warning:
            found.append(Finding("cluster", self._cluster_warning))
        checks: dict[str, Callable[[], Awaitable[list[Finding]]]] = {
            "members": lambda: findings.of_members(store),
            "rights": lambda: findings.of_rights(store, self._role),
            "clock": lambda: findings.of_clock(store.settings),
        }
        if self._role in _SENDING:
            checks["workers"] = lambda: findings.of_workers(
                store,
                self._role,
                self._routes,
                self._depths,
                # What starts together is not there at once.
                count=self._role == "api" and time.monotonic() - self._began >= BEGINNING,
            )
            checks["holds"] = lambda: findings.of_holds(store)
        for name, check in checks.items():
            try:
                self._by_check[name] = await check()
            except EtcdError:
                pass  # _etcd() finds it, too. What was found before is not solved by that
            except ValueError as error:  # somebody wrote a worker's key by hand
                log.warning("worker record unreadable", error=str(error))
            found += self._by_check.get(name, [])
        self._slow = found

    async def _join(self) -> None:
        try:
            self._cluster_warning = await join_cluster(self._store)
        except SettingsError as error:
            self._foreign = str(error)
            raise
        self.joined, self._foreign = True, ""

    async def _etcd(self) -> list[Finding]:
        """How etcd says it is. A probe has little patience, so this takes ANSWER at most."""
        try:
            async with asyncio.timeout(ANSWER):
                status = await self._store.client.status()
                alarms = await self._store.client.alarms() if status.leader else []
        except TimeoutError:
            return await self._unreachable(f"etcd does not answer within {ANSWER:g} s")
        except PermissionDenied as error:
            sentence = explain_denied(self._store.settings, error)
            return [Finding("etcd user", sentence, blocks=True, fatal=True)]
        except EtcdError as error:
            return await self._unreachable(f"etcd does not answer: {error}")
        found = [
            Finding(f"alarm {alarm}", f"etcd has raised its {alarm} alarm", blocks=True)
            for alarm in alarms
        ]
        if not status.leader:
            found.append(Finding("leader", "etcd has no leader", blocks=True))
        return found + findings.of_version(status.version, self._store.settings)

    async def _unreachable(self, otherwise: str) -> list[Finding]:
        """Why there is no connection; ``otherwise`` where that can't be found out."""
        asked, found = self._explained
        if time.monotonic() - asked >= _EXPLAINED:
            endpoints = self._store.settings.etcd_endpoints
            sentences = await asyncio.gather(*map(self._explain, endpoints))
            found = [
                Finding(f"tls {endpoint}", sentence, blocks=True)
                for endpoint, sentence in zip(endpoints, sentences, strict=True)
                if sentence
            ]
            self._explained = (time.monotonic(), found)
        return found or [Finding("etcd away", otherwise, blocks=True)]

    async def _explain(self, endpoint: str) -> str:
        try:
            async with asyncio.timeout(_EXPLAIN):
                return await explain(self._store.settings, endpoint)
        except TimeoutError:  # no handshake that fails, but silence
            return ""
