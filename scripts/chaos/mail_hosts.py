"""The mail hosts of the domains that no relay takes, with their DNS.

    d0…d119.tail.example      each has two of the hosts mx0…mx23.tail.example
    c0…c9.limited.example     all have mx.limited.example: a site with limits for all workers
    and those of :mod:`scripts.chaos.policies`

Each host has an address of its own in 127.0.0.0/8. One further address may never be dialled.
"""

from __future__ import annotations

from pathlib import Path

from scripts.chaos.history import Recorder
from scripts.chaos.name_server import NameServer, Records
from scripts.chaos.policies import POLICY_DOMAINS, Policies
from scripts.chaos.policies import host_of as policy_host_of
from scripts.chaos.receivers import Receiver

TAIL, HOSTS = 120, 24  # a site that was held takes little at first: few mails each
LIMITED = 10  # domains
PROVIDER = "chaos-limited"
CONNECTIONS, RATE = 2, 5  # of the limited site: at once, and messages a second
FORBIDDEN = "forbidden"  # the receiver that nobody may reach
_ALLOWED = "127.0.1.0/24,127.0.2.0/24"
_FORBIDDEN = "127.0.9.1"
_WARM = ("127.0.3.1", "127.0.3.2")
NEW_SOURCE = "127.0.3.3"  # its warm-up has begun: what is above its ceiling goes from the others
_SOURCES = (*_WARM, NEW_SOURCE)  # from which all workers send
CEILING = 5  # recipients of one site on a day
_DAYS = 60  # of the warm-up: more than a fault moves a clock
_PROVIDERS = f"""\
[{PROVIDER}]
mx = ["limited.example"]
connections = {CONNECTIONS}
messages_per_connection = 10
rate = "{RATE}/s"

[[{PROVIDER}.reply]]
text = ["slow down"]
then = "slow"
rate = "1/s"
lasts = "10s"
"""

TAIL_DOMAINS = tuple(f"d{number}.tail.example" for number in range(TAIL))
LIMITED_DOMAINS = tuple(f"c{number}.limited.example" for number in range(LIMITED))


def host_of(domain: str) -> str:
    """The best mail host of a domain; empty for those of the limited site, and of relays."""
    if domain in POLICY_DOMAINS:
        return policy_host_of(domain)
    if domain not in TAIL_DOMAINS:
        return ""
    return _host(int(domain[1:].partition(".")[0]))


def site_of(queue: str) -> str:
    """The site of a queue, as workers call it; of a relay its name."""
    domain = queue.removeprefix("mx:")
    if domain in LIMITED_DOMAINS:
        return f"mx:{PROVIDER}"
    return f"mx:{host_of(domain)}" if host_of(domain) else queue


def is_straight(receiver: str) -> bool:
    """Whether a receiver is a mail host, by its name; else it is a relay."""
    return receiver in (PROVIDER, FORBIDDEN) or "." in receiver


def _host(number: int) -> str:
    return f"mx{number % HOSTS}.tail.example"


def records() -> dict[tuple[str, str], tuple[str, ...]]:
    """What the DNS says of all of them."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for number, domain in enumerate(TAIL_DOMAINS):
        found[domain, "MX"] = (f"10 {_host(number)}.", f"20 {_host(number + 1)}.")
    for domain in LIMITED_DOMAINS:
        found[domain, "MX"] = ("10 mx.limited.example.",)
    for number in range(HOSTS):
        found[_host(number), "A"] = (f"127.0.1.{number + 1}",)
    found["mx.limited.example", "A"] = ("127.0.2.1",)
    return found


def lying_addresses() -> Records:
    """Each host has the address that may never be dialled, and others that are not public."""
    names = [*map(_host, range(HOSTS)), "mx.limited.example"]
    return {(name, "A"): (_FORBIDDEN, "10.1.2.3", "169.254.1.1") for name in names}


def lying_names(ours: str) -> Records:
    """Each domain's only host is this very server."""
    return {(domain, "MX"): (f"10 {ours}.",) for domain in (*TAIL_DOMAINS, *LIMITED_DOMAINS)}


class MailHosts:
    """``by_name``: the receivers. ``limited``, ``forbidden``: two of them. ``port``: of all."""

    def __init__(
        self, recorder: Recorder, dns_port: int, port: int, https_port: int, folder: Path
    ) -> None:
        self.port = port
        self.policies = Policies(recorder, port, https_port, folder)
        self.dns = NameServer(dns_port, records() | self.policies.records())
        self.by_name = {
            _host(number): Receiver(
                _host(number), recorder, address=f"127.0.1.{number + 1}", port=port
            )
            for number in range(HOSTS)
        }
        self.limited = Receiver(PROVIDER, recorder, address="127.0.2.1", port=port, watched=True)
        self.forbidden = Receiver(FORBIDDEN, recorder, address=_FORBIDDEN, port=port, watched=True)

    @property
    def receivers(self) -> list[Receiver]:
        own = self.by_name.values()
        return [*own, self.limited, self.forbidden, *self.policies.receivers]

    def settings(self, folder: Path) -> dict[str, str]:
        """What Babygun's processes need to know, but for their routes."""
        file = folder / "providers.toml"
        file.write_text(_PROVIDERS)
        return {
            "BABYGUN_RESOLVERS": f"127.0.0.1@{self.dns.port}",
            "BABYGUN_MX_PORT": str(self.port),
            "BABYGUN_ALLOW_NETWORKS": _ALLOWED,
            "BABYGUN_PROVIDERS": str(file),
            "BABYGUN_SOURCE_ADDRESSES": ",".join(_SOURCES),
            "BABYGUN_WARM_UP": "addresses",
            "BABYGUN_WARM_UP_TABLE": ",".join([str(CEILING)] * _DAYS),
            "BABYGUN_WARM_UP_BEGAN": ",".join(f"{source}=2020-01-01" for source in _WARM),
            **self.policies.settings(),
        }

    def route(self, retry_intervals: str) -> dict[str, object]:
        return {
            "mx": True,
            "domains": [
                "*.tail.example",
                "*.limited.example",
                "*.policy.example",
                "*.broken.example",
            ],
            "retry_intervals": retry_intervals,
        }

    async def start(self) -> None:
        await self.dns.start()
        await self.policies.start_host()
        for receiver in self.receivers:
            await receiver.start()

    async def stop(self) -> None:
        await self.dns.stop()
        await self.policies.stop_host()
        for receiver in self.receivers:
            await receiver.stop()

    async def heal(self) -> None:
        """Undoes what faults may have left."""
        self.dns.normal()
        await self.policies.heal()
        for receiver in self.receivers:
            receiver.normal()
            await receiver.start()
