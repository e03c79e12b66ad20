"""The stage: etcd, two API processes, two workers, three relays, and a proxy before each server.

Beside the relays there are mail hosts of many domains, with a DNS of their own, and a webhook that
gets every event. The client holds sending domains, and `babygun bounced` takes what comes back.

Faults act on it through its parts only. Every process is ended by its id, even if the harness is
killed.
"""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from babygun.dev.etcd.binary import EtcdBinary
from babygun.dev.etcd.command_line import EmbeddedEtcd
from babygun.etcd import EtcdClient
from babygun.etcd.client import Status
from babygun.routing.sites import MX
from babygun.runtime.processes.interpreter import python_command, python_environment
from babygun.store.keys import range_end
from scripts.bench.processes import Stage as Processes
from scripts.bench.processes import answers, run
from scripts.chaos import senders
from scripts.chaos.clients import Clients
from scripts.chaos.history import KEYS, Recorder
from scripts.chaos.mail_hosts import MailHosts
from scripts.chaos.parts import Part, Role
from scripts.chaos.policies import POLICY_DOMAINS
from scripts.chaos.proxy import Proxy
from scripts.chaos.receivers import Receiver
from scripts.chaos.returns import Returns
from scripts.chaos.senders import Senders, valid_signatures
from scripts.chaos.sockets import owner_of
from scripts.chaos.tls_reports import count_yesterday
from scripts.chaos.webhooks import SETTINGS as WEBHOOK_SETTINGS
from scripts.chaos.webhooks import WebhookReceiver

LEASE_TTL = 4.0  # s
UPLOAD_LEASE = 15.0  # s
API_TIMEOUT = 2.0  # s, of a request to etcd
CONNECTIONS = 20  # of one worker to one relay
RELAYS = ("one", "two", "three")
# An address for each recipient, or for all of a queue.
RETURN_PATHS = {"one": "off", "two": "recipient", "three": "queue"}
RETRY_INTERVALS = "500ms,1s,2s"
HOSTNAME = "babygun.example"
# So short that a run sees retries, leases that end and contents that expire.
SETTINGS = {
    "BABYGUN_LEASE_TTL": f"{LEASE_TTL:g}s",
    "BABYGUN_ETCD_TIMEOUT": f"{API_TIMEOUT:g}s",
    "BABYGUN_RETRY_INTERVALS": RETRY_INTERVALS,
    "BABYGUN_RECONCILE_INTERVAL": "5s",
    "BABYGUN_DRAIN_TIMEOUT": "5s",
    "BABYGUN_SMTP_CONNECT_TIMEOUT": "4s",
    "BABYGUN_SMTP_TIMEOUT": "4s",
    "BABYGUN_SMTP_DATA_TIMEOUT": "4s",
    "BABYGUN_SMTP_IDLE": "5s",
    "BABYGUN_SMTP_HOSTNAME": HOSTNAME,
    "BABYGUN_UPLOAD_LEASE": f"{UPLOAD_LEASE:g}s",
    "BABYGUN_CONTENTS_RETENTION": "10s",
    "BABYGUN_LOG_LEVEL": "info",
}


@dataclass
class Member:
    """An etcd member. ``endpoint``: its own URL; clients of the stage use that of ``proxy``.

    ``data``: its folder, which exists before it starts. A fault may mount something there while
    the member does not run. ``quota``: in bytes, from the next start on.
    """

    part: Part
    proxy: Proxy
    endpoint: str
    data: Path
    links: Proxy  # of the other members to it
    quota: int = 2 << 30


@dataclass
class Relay:
    """A relay. ``name`` is also its queue's; its mail is that to ``domain``."""

    number: int
    name: str
    domain: str
    receiver: Receiver
    proxy: Proxy


class Stage:
    """The stack of one run: ``members``, ``apis``, ``workers`` and ``relays``, by number.

    Make it, let faults prepare it, then enter it. ``settings``: those of all Babygun's processes.
    ``etcd``: a client past the proxies. ``clients``: those of the load, once there is load.
    ``exits``: what has to be undone at the end. ``spared``: parts that no fault ends or pauses.
    """

    def __init__(
        self, processes: Processes, etcd: EtcdBinary, recorder: Recorder, *, members: int = 1
    ) -> None:
        self.processes, self.recorder = processes, recorder
        self.settings = SETTINGS | WEBHOOK_SETTINGS
        self.exits = AsyncExitStack()
        self.client_id = self.client_secret = ""
        self.clients: Clients | None = None
        self.spared: list[Part] = []
        self._binary = etcd
        self._apart: set[int] = set()  # numbers of the members that are cut off
        self._http: dict[str, int] = {}  # ports, by name of the part
        self.members: list[Member] = []
        self._peer_ports = {number: self._port() for number in range(1, members + 1)}
        self._link_ports = {number: self._port() for number in range(1, members + 1)}
        for number in range(1, members + 1):
            self.members.append(self._member(number))
        self.apis = [self._babygun("api", number) for number in (1, 2)]
        self.workers = [self._babygun("worker", number) for number in (1, 2)]
        self.relays = [
            Relay(number, name, f"{name}.example", Receiver(name, recorder), Proxy(self._port(), 0))
            for number, name in enumerate(RELAYS, 1)
        ]
        self.mail_hosts = MailHosts(recorder, self._port(), self._port(), self._port(), self.folder)
        bounce_port = self._port()
        self.bounced = self._babygun("bounced", 1, "BABYGUN_BOUNCE_PROBE_PORT")
        self.returns = Returns(recorder, bounce_port)
        self.senders = Senders(
            self.mail_hosts.dns,
            lambda: [self.url(api) for api in self.apis],
            lambda: (self.client_id, self.client_secret),
        )
        self.settings |= senders.settings(bounce_port)
        for receiver in self.receivers:
            receiver.who = self._worker_at
            receiver.returns = self.returns
            receiver.verify = lambda message: valid_signatures(message, self.mail_hosts.dns)
        self.webhook = WebhookReceiver(recorder, self._port())
        self.etcd = EtcdClient([member.endpoint for member in self.members], timeout=5.0)

    @property
    def folder(self) -> Path:
        """A temporary folder on a disk."""
        return self.processes.folder

    @property
    def domains(self) -> list[str]:
        """Those that e-mails go to."""
        return [relay.domain for relay in self.relays]

    @property
    def parts(self) -> list[Part]:
        """All processes."""
        members = [member.part for member in self.members]
        return [*members, *self.apis, *self.workers, self.bounced]

    @property
    def receivers(self) -> list[Receiver]:
        """Those of the relays, and all mail hosts."""
        return [*(relay.receiver for relay in self.relays), *self.mail_hosts.receivers]

    @property
    def proxies(self) -> list[Proxy]:
        """All proxies: before members, between them, before relays."""
        pairs = [(member.proxy, member.links) for member in self.members]
        return [*(each for pair in pairs for each in pair), *(relay.proxy for relay in self.relays)]

    def member_of(self, part: Part) -> Member:
        """The etcd member of a process."""
        return self.members[part.number - 1]

    def url(self, api: Part) -> str:
        """The URL of an API process."""
        return f"http://127.0.0.1:{self._http[api.name]}"

    async def leader(self) -> Member | None:
        """etcd's leader, or None while there is none."""
        statuses = await self.etcd.statuses(timeout=2.0)
        for member in self.members:
            status = statuses.get(member.endpoint)
            if isinstance(status, Status) and status.leader == status.member:
                return member
        return None

    def cut_off(self, member: Member) -> None:
        """Cuts a member off from the other members. Its clients still reach it."""
        self._apart.add(member.part.number)
        for each in self.members:
            each.links.cut_refused()

    def join_again(self, member: Member) -> None:
        """Undoes :meth:`cut_off`."""
        self._apart.discard(member.part.number)

    async def heal(self) -> list[str]:
        """Undoes what faults may have left; returns which processes do not start."""
        self._apart.clear()
        for relay in self.relays:
            relay.receiver.normal()
            await relay.receiver.start()
        for proxy in self.proxies:
            await proxy.mend()
        await self.mail_hosts.heal()
        await self.webhook.start()
        self.webhook.normal()
        for part in self.parts:
            part.resume()
        started = await asyncio.gather(
            *(part.start() for part in self.parts), return_exceptions=True
        )
        return [str(error) for error in started if isinstance(error, Exception)]

    async def end_holds(self, *sites: str) -> None:
        """Ends holds of mail hosts' sites, as an operator may. Without sites: all, and all limits.

        Else holds end by their probes, after half a minute or more.
        """
        prefixes = [KEYS.hold(MX)] if sites else [KEYS.hold(MX), KEYS.limit(MX)]
        for prefix in prefixes:
            for kv in (await self.etcd.range(prefix, range_end(prefix), keys_only=True)).kvs:
                if not sites or KEYS.hold_name(kv.key) in sites:
                    await self.etcd.delete(kv.key)

    async def __aenter__(self) -> Self:
        await self.exits.__aenter__()
        try:
            await self._start()
        except BaseException:
            await self.exits.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.exits.aclose()

    async def _start(self) -> None:
        self.exits.push_async_callback(self._end_all)
        self.exits.push_async_callback(self.returns.stop)
        for relay in self.relays:
            relay.proxy.target = await relay.receiver.start()
            self.exits.push_async_callback(relay.receiver.stop)
        self.exits.push_async_callback(self.mail_hosts.stop)
        await self.mail_hosts.start()
        self.exits.push_async_callback(self.webhook.stop)
        await self.webhook.start()
        for proxy in self.proxies:
            await proxy.start()
            self.exits.push_async_callback(proxy.stop)
        for member in self.members:
            member.part.launch()
        await asyncio.gather(*(member.part.start() for member in self.members))
        await self.exits.enter_async_context(self.etcd)
        await count_yesterday(self.etcd, POLICY_DOMAINS)
        await asyncio.to_thread(self._create_client)
        started = (*self.apis, *self.workers, self.bounced)
        await asyncio.gather(*(part.start() for part in started))
        await self.senders.make()
        await asyncio.to_thread(self._create_webhook)
        notice = asyncio.create_task(self._notice_ends())
        self.exits.callback(notice.cancel)

    async def _notice_ends(self) -> None:
        """Notes in the history, at once, when a process ends by itself."""
        while True:
            for part in self.parts:
                part.notice()
            await asyncio.sleep(0.05)

    async def _end_all(self) -> None:
        """Workers and API processes first: they want to give back what they hold."""
        for part in self.parts:
            part.resume()
        ours = (*self.workers, *self.apis, self.bounced)
        await asyncio.gather(*(part.terminate(10.0) for part in ours))
        await asyncio.gather(*(member.part.terminate(10.0) for member in self.members))

    # --- how each is started ---

    def _port(self) -> int:
        return self.processes.ports(1)

    def _member(self, number: int) -> Member:
        data = self.folder / f"etcd-{number}"
        data.mkdir(mode=0o700)
        port, health = self._port(), self._port()
        part = Part(
            self.processes,
            self.recorder,
            "etcd",
            number,
            command=lambda: self._etcd_command(member, port, health),
            surroundings=lambda: self._embedded(member, port).environment(),
            is_ready=lambda: answers(f"http://127.0.0.1:{health}/health"),
        )
        member = Member(
            part,
            Proxy(self._port(), port),
            f"http://127.0.0.1:{port}",
            data,
            Proxy(self._link_ports[number], self._peer_ports[number]),
        )
        member.links.lets_in = lambda caller: self._may_link(member, caller)
        return member

    def _embedded(self, member: Member, port: int) -> EmbeddedEtcd:
        number = member.part.number
        return EmbeddedEtcd(
            self._binary,
            member.data,
            port,
            self._peer_ports[number],
            quota=member.quota,
            name=f"etcd-{number}",
            cluster={f"etcd-{other}": link for other, link in self._link_ports.items()},
        )

    def _etcd_command(self, member: Member, port: int, health: int) -> list[str]:
        """The last of a flag counts: other members reach this one by its links."""
        link = self._link_ports[member.part.number]
        return [
            *self._embedded(member, port).command(),
            f"--initial-advertise-peer-urls=http://127.0.0.1:{link}",
            f"--listen-metrics-urls=http://127.0.0.1:{health}",
        ]

    def _may_link(self, member: Member, caller: int) -> bool:
        """Whether the member that called from this port may talk to ``member``."""
        if not self._apart:
            return True
        if member.part.number in self._apart:
            return False
        from_apart = [each.part.pid for each in self.members if each.part.number in self._apart]
        return owner_of(caller, member.links.port, from_apart) is None

    def _babygun(self, role: Role, number: int, setting: str = "") -> Part:
        """``setting``: of the port of its HTTP server."""
        port = self._http[f"{role} {number}"] = self._port()
        own = setting or f"BABYGUN_{role.upper()}_PORT"
        return Part(
            self.processes,
            self.recorder,
            role,
            number,
            command=lambda: python_command("babygun", role),
            surroundings=lambda: self.environment() | {own: str(port)},
            is_ready=lambda: answers(f"http://127.0.0.1:{port}/readyz"),
        )

    def environment(self) -> dict[str, str]:
        """The environment of Babygun's processes and commands."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("BABYGUN_")}
        routes: dict[str, object] = {
            relay.name: {
                "url": f"smtp://127.0.0.1:{relay.proxy.port}",
                "domains": [relay.domain],
                "max_connections": CONNECTIONS,
                "return_path": RETURN_PATHS[relay.name],
            }
            for relay in self.relays
        }
        routes["straight"] = self.mail_hosts.route(RETRY_INTERVALS)
        endpoints = ",".join(f"http://127.0.0.1:{each.proxy.port}" for each in self.members)
        return python_environment(
            {
                **own,
                "BABYGUN_ETCD_ENDPOINTS": endpoints,
                "BABYGUN_ROUTES": json.dumps(routes),
                "BABYGUN_REQUIRE_DOMAINS": "no",
                **self.mail_hosts.settings(self.folder),
                **self.settings,
            }
        )

    def _worker_at(self, caller: int, port: int) -> int:
        """The process id of the worker with the connection from one port to another; 0: none."""
        return owner_of(caller, port, [worker.pid for worker in self.workers]) or 0

    def _create_client(self) -> None:
        words = run(
            python_command("babygun", "clients", "create", "chaos", "--scope", "admin"),
            environment=self.environment(),
        ).split()
        given = dict(zip(words[::2], words[1::2], strict=True))
        self.client_id, self.client_secret = given["client_id"], given["client_secret"]

    def _create_webhook(self) -> None:
        own = {
            "BABYGUN_API_URL": self.url(self.apis[0]),
            "BABYGUN_CLIENT_ID": self.client_id,
            "BABYGUN_CLIENT_SECRET": self.client_secret,
        }
        made = run(
            python_command("babygun", "webhooks", "create", "--json", self.webhook.url),
            environment=self.environment() | own,
        )
        self.webhook.secret = json.loads(made)["secret"]
