"""``babygun doctor domain``: what recipients of a domain's mail will look at.

It works without the API, and without etcd: then the domain's DKIM keys are not known, and a
selector can be named.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from babygun.cli.finding import Finding, Level
from babygun.cli.mail_checks import (
    addresses_in_dns,
    check_mail_hosts,
    check_sending_host,
)
from babygun.cli.output import count_of
from babygun.dns import Resolver
from babygun.domains.verify import check, look
from babygun.domains.wanted import Sending, dkim_purpose, sending_of
from babygun.email.domain_alarms import DomainAlarm, sentence_of
from babygun.email.domains import ascii_domain
from babygun.email.sending_domains import (
    DnsRecord,
    RecordStatus,
    SendingDomain,
    name_and_parents,
    sending_domain_name,
)
from babygun.errors import BabygunError, EtcdError, PermissionDenied, SettingsError
from babygun.routing.routes import load_routes
from babygun.routing.server import Server
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.smtp import check_server
from babygun.store import Store
from babygun.store.domains.alarms import list_alarms
from babygun.store.domains.change import read_domain
from babygun.store.domains.dkim_keys import closed_keys

_LEVELS: dict[RecordStatus, Level] = {
    "verified": "ok",
    "optional": "ok",
    "unchecked": "warn",
    "unknown": "warn",
    "missing": "bad",
    "wrong": "bad",
}


async def check_domain(
    loaded: Settings, domain: str, selectors: Sequence[str]
) -> AsyncIterator[Finding]:
    """All of it. ``selectors``: DKIM keys to look at beside those that are known."""
    try:
        name = sending_domain_name(domain)
    except ValueError as error:
        raise SettingsError(f"{domain}: {error}") from None
    known, alarms, why = await _known(loaded, name)
    if known is None:
        yield Finding("warn", why)
    for alarm in alarms:
        said = f"{alarm.code} {alarm.enhanced_code or ''} {alarm.text}"
        yield Finding("bad", f"{alarm.site} says so: {said}. {sentence_of(alarm.cause, name)}")
    sending = sending_of(loaded)
    if load_routes(loaded).to_mx:
        async for finding in check_sending_host(loaded):
            yield finding
    if not sending.spf_terms:
        yield Finding(
            "warn",
            "it is not known from which addresses mail comes, so SPF is not compared: set"
            " BABYGUN_SOURCE_ADDRESSES, or BABYGUN_SPF_INCLUDE for relays",
        )
    resolver = Resolver(loaded.resolvers)
    looked = known or SendingDomain(name, (), utc_now(), utc_now())
    for record in (await check(resolver, looked, sending)).records:
        yield _finding(record)
    for selector in selectors:
        key = DnsRecord(dkim_purpose(selector), "TXT", f"{selector}._domainkey.{name}", "")
        yield _finding(await look(resolver, key, looked, sending))
    for checks in (_bounces(loaded, resolver, sending), check_mail_hosts(loaded, name)):
        async for finding in checks:
            yield finding


async def _known(
    loaded: Settings, name: str
) -> tuple[SendingDomain | None, Sequence[DomainAlarm], str]:
    """The domain as etcd has it with its alarms, or why it is not known."""
    try:
        async with asyncio.timeout(loaded.etcd_timeout), Store(loaded) as store:
            found, alarms = await read_domain(store, name), await list_alarms(store, name)
    except (EtcdError, TimeoutError) as error:
        reason = str(error) or "it does not answer"
        return None, (), f"etcd can't be read, so the DKIM keys of {name} are not known: {reason}"
    none = f"{name} is no sending domain yet: babygun domains create {name}"
    return found, alarms, "" if found else none


def _finding(record: DnsRecord) -> Finding:
    what = f"{record.purpose}: {record.type} of {record.name}"
    said = f"{what}: {record.sentence}" if record.sentence else what
    if record.status in ("missing", "wrong") and record.value:
        said += f". Wanted: {record.value}"
    return Finding(_LEVELS[record.status], said)


async def check_sealing_key(store: Store) -> AsyncIterator[Finding]:
    """Whether the DKIM keys can be opened: without that, the mail of their domains waits."""
    try:
        closed = await closed_keys(store)
    except PermissionDenied:
        yield Finding("ok", "this etcd user may not see DKIM keys")
        return
    if closed:
        shown = ", ".join(closed[:3]) + (" …" if len(closed) > 3 else "")
        yield Finding(
            "bad",
            f"the sealing key of {count_of(len(closed), 'DKIM key')} is missing here: {shown}."
            " Mail that they sign waits, if workers lack it too: set BABYGUN_SECRETS_KEY_FILE",
        )
    elif store.sealer is not None:
        yield Finding("ok", "all DKIM keys can be opened")
    elif store.settings.require_domains:
        yield Finding(
            "warn",
            "there is no sealing key here, and without it no sending domain can be made: set"
            " BABYGUN_SECRETS_KEY_FILE",
        )


async def check_tls_reports(store: Store) -> AsyncIterator[Finding]:
    """Whether TLS reports that are switched on can be signed, and have a subject."""
    settings = store.settings
    if not settings.tls_reports:
        return
    if not load_routes(settings).to_mx:
        yield Finding(
            "warn",
            "tls_reports is yes, and no mail goes straight to mail hosts: there is nothing to"
            " report",
        )
    domain = ascii_domain(settings.tls_report_sender.rpartition("@")[2]).lower()
    found = [await read_domain(store, name) for name in name_and_parents(domain)]
    if any(found):
        yield Finding("ok", f"TLS reports are signed as mail of {domain}")
    else:
        yield Finding(
            "bad",
            f"TLS reports by mail can't be signed, and wait: babygun domains create {domain}, for"
            " a client of your own",
        )


async def check_bounce_host(loaded: Settings) -> AsyncIterator[Finding]:
    """Whether DNS leads bounce messages anywhere."""
    host = loaded.bounce_hostname
    if host and not await addresses_in_dns(Resolver(loaded.resolvers), host):
        yield Finding(
            "bad",
            f"the bounce host {host} has no address in DNS: bounce messages can't come back. Add"
            " an A or AAAA record with the address of babygun bounced",
        )


async def _bounces(
    loaded: Settings, resolver: Resolver, sending: Sending
) -> AsyncIterator[Finding]:
    """Whether the host of the return path takes connections."""
    host = sending.bounce_hostname
    if not host:
        yield Finding("ok", "BABYGUN_BOUNCE_HOSTNAME is not set: there is no return path")
    async for finding in check_bounce_host(loaded):
        yield finding
    for address in await addresses_in_dns(resolver, host) if host else ():
        server = Server(host, loaded.mx_port, str(address))
        try:
            offered = await check_server(
                server, hostname=loaded.smtp_hostname, timeout=loaded.smtp_connect_timeout
            )
            yield Finding("ok", f"{server.endpoint} takes bounce messages ({offered})")
        except BabygunError as error:
            yield Finding(
                "bad",
                f"bounce messages can't come to {server.endpoint}: {error}. Does babygun bounced"
                " run, and is the port open inwards?",
            )
