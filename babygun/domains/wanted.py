"""The DNS records that a sending domain wants, ready to paste. Pure but for the settings' shape."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from babygun.email.sending_domains import DkimAlgorithm, DnsRecord, Selector, SendingDomain
from babygun.errors import SettingsError
from babygun.routing.routes import load_routes
from babygun.runtime.settings import Settings

TLS_RPT, MTA_STS = "tls_rpt", "mta_sts"
HINTS = (TLS_RPT, MTA_STS)
"""Purposes of records that help, and never count."""

_KEY_TYPES: dict[DkimAlgorithm, str] = {"rsa2048": "rsa", "ed25519": "ed25519"}
_PREFERENCE = 10
_HOST = re.compile(r"(?:[a-z0-9_-]{1,63}\.)+[a-z0-9-]{2,63}")
# RFC 1918, 6598, 1122, 3927, 4193, 4291.
_INSIDE = [
    ip_network(each)
    for each in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"),
        *("127.0.0.0/8", "169.254.0.0/16", "fc00::/7", "fe80::/10", "::1/128"),
    )
]


class Sending(NamedTuple):
    """From where this installation's mail reaches the world, and where bounces come back.

    ``sources``: addresses. ``hostname``: the host that sends, where its addresses are not set.
    ``spf_include``: the domain whose SPF record names the addresses of the relays. Each may be
    empty.
    """

    sources: tuple[str, ...] = ()
    hostname: str = ""
    spf_include: str = ""
    bounce_hostname: str = ""

    @property
    def spf_terms(self) -> tuple[str, ...]:
        """The terms of SPF that let this mail pass. None: nobody has said from where it comes."""
        return (
            *(f"ip{6 if ':' in each else 4}:{each}" for each in self.sources),
            *([f"a:{self.hostname}"] if self.hostname else []),
            *([f"include:{self.spf_include}"] if self.spf_include else []),
        )


def sending_of(settings: Settings) -> Sending:
    """Raises SettingsError where a route or a name is wrong."""
    routes = load_routes(settings)
    sources = tuple(each for each in routes.sources if not _is_inside(each))
    return Sending(
        sources=sources,
        hostname=settings.smtp_hostname if routes.to_mx and not sources else "",
        spf_include=_name(settings, "spf_include"),
        bounce_hostname=_name(settings, "bounce_hostname"),
    )


def _is_inside(address: str) -> bool:
    """Whether nobody outside sees it: mail comes from another address, behind NAT."""
    return any(ip_address(address) in network for network in _INSIDE)


def _name(settings: Settings, setting: str) -> str:
    value: str = getattr(settings, setting).lower().removesuffix(".")
    if value and not _HOST.fullmatch(value):
        raise SettingsError(f"{setting} is {value!r}: give a full name, such as mail.example.net")
    return value


def wanted_records(domain: SendingDomain, sending: Sending) -> tuple[DnsRecord, ...]:
    """All of them, in the order in which to paste them."""
    name = domain.name
    records = [_dkim(name, selector) for selector in domain.selectors]
    spf = _spf(sending)
    if spf:
        records.append(DnsRecord("spf", "TXT", name, spf))
    records.append(DnsRecord("dmarc", "TXT", f"_dmarc.{name}", "v=DMARC1; p=none"))
    if sending.bounce_hostname:
        back = domain.return_path
        value = f"{_PREFERENCE} {sending.bounce_hostname}"
        records.append(DnsRecord("return_path", "MX", back, value))
        if spf:
            records.append(DnsRecord("return_path_spf", "TXT", back, spf))
    reports = f"v=TLSRPTv1; rua=mailto:postmaster@{name}"
    records.append(DnsRecord(TLS_RPT, "TXT", f"_smtp._tls.{name}", reports))
    policy = f"v=STSv1; id={domain.created_at:%Y%m%d%H%M%S}"
    records.append(DnsRecord(MTA_STS, "TXT", f"_mta-sts.{name}", policy))
    return tuple(records)


def with_last_look(domain: SendingDomain, sending: Sending) -> tuple[DnsRecord, ...]:
    """The wanted records, each as the last look found it, if it was wanted then.

    A look may want another value for SPF: the present record, joined with our terms.
    """
    looked = {one.purpose: one for one in domain.verified.records} if domain.verified else {}

    def as_looked(wanted: DnsRecord) -> DnsRecord:
        found = looked.get(wanted.purpose)
        if found is None or found.name != wanted.name:
            return wanted
        is_spf = wanted.value.startswith("v=spf1")
        return found if is_spf or found.value == wanted.value else wanted

    return tuple(map(as_looked, wanted_records(domain, sending)))


def dkim_purpose(selector: str) -> str:
    return f"dkim:{selector}"


def required(domain: SendingDomain, records: tuple[DnsRecord, ...]) -> tuple[DnsRecord, ...]:
    """Those without which the domain is not verified.

    A DKIM key counts while it signs. Where none signs yet, the new ones count.
    """
    states = {dkim_purpose(one.name): one.state for one in domain.selectors}
    counting = "signing" if "signing" in states.values() else "new"
    return tuple(
        record
        for record in records
        if record.purpose not in HINTS and states.get(record.purpose, counting) == counting
    )


def zone_line(record: DnsRecord) -> str:
    """A record as a line of a zone file (RFC 1035, 5.1). Long text is cut into strings of 255."""
    if record.type != "TXT":
        return f"{record.name}. IN {record.type} {record.value}."
    text = record.value  # it has neither quotation marks nor backslashes
    strings = " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))
    return f"{record.name}. IN TXT {strings}"


def _dkim(name: str, selector: Selector) -> DnsRecord:
    value = f"v=DKIM1; k={_KEY_TYPES[selector.algorithm]}; p={selector.public}"
    return DnsRecord(
        dkim_purpose(selector.name), "TXT", f"{selector.name}._domainkey.{name}", value
    )


def _spf(sending: Sending) -> str:
    terms = sending.spf_terms
    return f"v=spf1 {' '.join(terms)} ~all" if terms else ""
