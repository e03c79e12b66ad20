"""Whether this process can do its work, and what an operator should mend: for /readyz, for the start, for the log and for `babygun doctor`.

:class:`Checkup` is one process's. What changes fast (etcd reachable, with space) it asks each time; the rest it looks at every INTERVAL:
certificates, the rights of the etcd user, whose prefix this is, the routing and the clocks of the others. At the start,
:meth:`Checkup.require` ends a process that can't work here; later the same things make it not ready, and mail goes on when they are mended.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import NamedTuple

from babygun.errors import EtcdError, PermissionDenied, SettingsError
from babygun.etcd import clock_ahead, explain
from babygun.etcd.versions import is_lossy, is_too_old
from babygun.pki import certificates
from babygun.routing.routes import Routes
from babygun.runtime import metrics
from babygun.runtime.clock import utc_now
from babygun.runtime.logs import get_logger
from babygun.store.access.permissions import explain_denied, missing_rights
from babygun.store.access.rights import Role
from babygun.store.cluster import name as cluster
from babygun.store.cluster import peers
from babygun.store.emails.depth import Depths
from babygun.store.emails.reading import list_workers
from babygun.store.store import Store

log = get_logger("health")

INTERVAL = 30.0  # s, between two looks at what changes slowly
START_PATIENCE = (
    3.0  # s, that a start waits for etcd; where it is away, the process starts all the same
)
ANSWER = 2.5  # s, for etcd to say how it is
_EXPLAIN = 1.5  # s, for finding out why there is no connection
_EXPLAINED = 10.0  # s, for which the reason of a failed connection is not asked for again
_JOIN_AGAIN = 1.0  # s


@dataclass(frozen=True, slots=True)
class Health:
    """``reasons``: why not, a sentence each; ``warnings``: what an operator should mend, though mail goes on."""

    ok: bool
    reasons: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Finding(NamedTuple):
    """``key`` stays the same while the sentence's numbers change. ``reason``: work stops for it; ``fatal``: it also ends the start."""

    key: str
    sentence: str
    reason: bool = False
    fatal: bool = False


class Checkup:
    """Use :meth:`require` once, run :meth:`run` as a task, call :meth:`check` for each probe. ``joined``: whether nothing speaks against
    working under this prefix; False until etcd has confirmed it, where the setting ``cluster`` is set."""

    def __init__(self, store: Store, role: Role, routes: Routes) -> None:
        self._store, self._role, self._routes = store, role, routes
        self._uses = certificates.API if role == "api" else certificates.ETCD
        self._shown_to_etcd = certificates.expiries(store.settings, ("etcd_cert",)).get(
            "etcd_cert"
        )  # gRPC reads the file once
        self._depths = Depths(store)
        self._slow: list[Finding] = []
        self._cluster_warning = ""
        self._foreign = ""  # why this prefix is not ours
        self._explained: tuple[float, list[Finding]] = (-_EXPLAINED, [])
        self.joined = not store.settings.cluster

    async def require(self) -> None:
        """Raises SettingsError, in one sentence, where this process can't work with this etcd. Where etcd doesn't answer it returns, in some seconds."""
        try:
            async with asyncio.timeout(START_PATIENCE):
                found = await self._etcd()
                if not any(finding.reason for finding in found):
                    found += (lacking := await self._rights())
                    if not lacking:
                        await self._join()
        except (EtcdError, TimeoutError):
            return  # it is told in the log, by run()
        if fatal := [finding.sentence for finding in found if finding.fatal]:
            raise SettingsError("; ".join(fatal))

    async def join(self) -> None:
        """Returns when etcd has confirmed that the prefix is this process's cluster's; raises SettingsError where it is another's."""
        while not self.joined:
            try:
                await self._join()
            except EtcdError:
                await asyncio.sleep(_JOIN_AGAIN)

    async def check(self) -> Health:
        """As things are now; takes ANSWER seconds at most, and a little for the reason why etcd can't be reached."""
        found = [*await self._etcd(), *self._slow]
        if self._foreign:
            found.append(Finding("cluster", self._foreign, reason=True))
        elif not self.joined:
            found.append(
                Finding(
                    "cluster",
                    "etcd has not confirmed yet that the prefix is this cluster's",
                    reason=True,
                )
            )
        reasons = [finding.sentence for finding in found if finding.reason]
        return Health(
            not reasons,
            list(dict.fromkeys(reasons)),
            list(dict.fromkeys(finding.sentence for finding in found if not finding.reason)),
        )

    async def run(self) -> None:
        """Looks again and again, and logs what is new and what is mended. Runs until cancelled."""
        before: dict[str, Finding] = {}
        while True:
            if not self.joined:
                try:
                    await self._join()
                except (EtcdError, SettingsError):
                    pass  # told by what follows, or by check()
            try:
                await self.look()
                now = {finding.key: finding for finding in [*await self._etcd(), *self._slow]}
            except Exception as error:  # a fault of ours here is no reason to stop sending
                log.error("health check failed", exc=error)
                await asyncio.sleep(INTERVAL)
                continue
            if self._foreign:
                now["cluster"] = Finding("cluster", self._foreign, reason=True)
            for key in now.keys() - before.keys():
                if now[key].reason:
                    log.error("problem found", what=now[key].sentence)
                else:
                    log.warning("problem found", what=now[key].sentence)
            for key in before.keys() - now.keys():
                log.info("problem solved", what=before[key].sentence)
            before = now
            await asyncio.sleep(INTERVAL)

    async def look(self) -> None:
        """One look at what changes slowly."""
        found = self._certificates()
        if self._cluster_warning:
            found.append(Finding("cluster", self._cluster_warning))
        for part in (self._members, self._rights, self._peers, self._clock):
            try:
                found += await part()
            except EtcdError:
                continue  # that etcd is away is told by _etcd()
            except ValueError as error:  # a worker's key that a person has put there
                log.warning("worker record unreadable", error=str(error))
        self._slow = found

    def _certificates(self) -> list[Finding]:
        settings = self._store.settings
        problems = certificates.check(settings, self._uses)
        found = [
            Finding(f"certificate {sentence.partition(':')[0]}", sentence)
            for sentence in problems.errors + problems.warnings
        ]
        ends = certificates.expiries(settings, ("etcd_cert", "api_cert"))
        mine = self._shown_to_etcd
        if mine and ends.get("etcd_cert", mine) > mine and mine - utc_now() < certificates.SOON:
            found.append(
                Finding(
                    "certificate in use",
                    f"etcd_cert: this process shows a certificate that expires on {mine:%Y-%m-%d %H:%M} UTC; the file holds a newer one: restart it",
                )
            )
        for use, end in (
            ("etcd", mine),
            ("api", ends.get("api_cert") if "api_cert" in self._uses else None),
        ):
            if end:
                metrics.CERTIFICATE_EXPIRY[use].set(end.timestamp())
        return found

    async def _join(self) -> None:
        try:
            self._cluster_warning = await cluster.join(self._store)
        except SettingsError as error:
            self._foreign = str(error)
            raise
        self.joined, self._foreign = True, ""

    async def _etcd(self) -> list[Finding]:
        """What etcd says of itself, in ANSWER seconds at most: who probes has little patience, and silence says nothing of the reason."""
        try:
            async with asyncio.timeout(ANSWER):
                status = await self._store.client.status()
                alarms = await self._store.client.alarms() if status.leader else []
        except TimeoutError:
            return await self._unreachable(f"etcd does not answer within {ANSWER:g} s")
        except PermissionDenied as error:
            return [
                Finding(
                    "etcd user",
                    explain_denied(self._store.settings, error),
                    reason=True,
                    fatal=True,
                )
            ]
        except EtcdError as error:
            return await self._unreachable(f"etcd does not answer: {error}")
        found = [
            Finding(f"alarm {alarm}", f"etcd has raised its {alarm} alarm", reason=True)
            for alarm in alarms
        ]
        if not status.leader:
            found.append(Finding("leader", "etcd has no leader", reason=True))
        return found + version_findings(status.version)

    async def _unreachable(self, otherwise: str) -> list[Finding]:
        """Why there is no connection; ``otherwise``: what to say where that can't be found out."""
        asked, found = self._explained
        if time.monotonic() - asked >= _EXPLAINED:
            settings = self._store.settings
            sentences = await asyncio.gather(
                *(self._why(endpoint) for endpoint in settings.etcd_endpoints)
            )
            found = [
                Finding(f"tls {endpoint}", sentence, reason=True)
                for endpoint, sentence in zip(settings.etcd_endpoints, sentences, strict=True)
                if sentence
            ]
            self._explained = (time.monotonic(), found)
        return found or [Finding("etcd away", otherwise, reason=True)]

    async def _why(self, endpoint: str) -> str:
        try:
            async with asyncio.timeout(_EXPLAIN):
                return await explain(self._store.settings, endpoint)
        except TimeoutError:  # silence, and no handshake that fails
            return ""

    async def _members(self) -> list[Finding]:
        """Where there are several endpoints: those that don't answer while others do."""
        settings = self._store.settings
        if len(settings.etcd_endpoints) < 2:
            return []
        statuses = await self._store.client.statuses()
        silent = [
            endpoint
            for endpoint, status in statuses.items()
            if isinstance(status, EtcdError) and not isinstance(status, PermissionDenied)
        ]
        if len(silent) == len(statuses):
            return []
        sentences = await asyncio.gather(*(explain(settings, endpoint) for endpoint in silent))
        return [
            Finding(f"member {endpoint}", sentence or f"etcd at {endpoint} does not answer")
            for endpoint, sentence in zip(silent, sentences, strict=True)
        ]

    async def _rights(self) -> list[Finding]:
        return [
            Finding(sentence, sentence, reason=True, fatal=True)
            for sentence in await missing_rights(self._store, self._role)
        ]

    async def _peers(self) -> list[Finding]:
        settings = self._store.settings
        workers = await list_workers(self._store)
        found = [
            Finding(f"routing {worker}", sentence)
            for worker, sentence in peers.other_routing(
                settings.prefix, self._routes, workers
            ).items()
        ]
        if self._role == "api" and workers:  # by few processes: it costs a few reads
            depth = await self._depths.read(time.monotonic() + settings.etcd_timeout)
            found += [
                Finding(f"queue {queue}", sentence)
                for queue, sentence in peers.unsent_queues(depth, workers).items()
            ]
        return found + [
            Finding(f"clock {worker}", sentence)
            for worker, sentence in peers.wrong_clocks(
                workers, utc_now(), settings.lease_ttl
            ).items()
        ]

    async def _clock(self) -> list[Finding]:
        """By the member whose clock is nearest: one of them may be wrong itself."""
        settings = self._store.settings
        told = [
            ahead
            for ahead in await asyncio.gather(
                *(clock_ahead(settings, endpoint) for endpoint in settings.etcd_endpoints)
            )
            if ahead is not None
        ]
        sentence = peers.wrong_clock(min(told, key=abs)) if told else ""
        return [Finding("clock", sentence)] if sentence else []


def version_findings(version: str) -> list[Finding]:
    """What an etcd's version says against it."""
    if is_too_old(version):
        return [
            Finding(
                "version",
                f"etcd is {version}, which is too old: Babygun needs 3.4.22 or newer",
                reason=True,
                fatal=True,
            )
        ]
    if is_lossy(version):
        return [
            Finding(
                "version",
                f"etcd {version} can lose acknowledged writes when it crashes (etcd issue 13766): use 3.5.6 or newer",
            )
        ]
    return []


async def check(store: Store) -> Health:
    """What etcd says of itself, and nothing of who asks; in ANSWER seconds at most, and a little."""
    return await Checkup(store, "inspector", Routes(())).check()
