"""A bounce message about a delivered e-mail comes back by SMTP, and the API shows it."""

from __future__ import annotations

from functools import partial

from babygun.pki.sealing import new_key
from babygun.store.domains.change import read_domain
from tests.support.bounce_server import connection_to
from tests.support.development import answered, status_of
from tests.support.etcd_server import free_ports
from tests.support.invariants import check_invariants
from tests.support.processes import api_process, babygun
from tests.support.returned import report
from tests.support.rig import Rig, changed
from tests.support.signatures import found_return_path
from tests.support.smtp_server import MisbehavingServer


async def test_bounce_comes_back_and_the_api_shows_its_recipient_as_bounced(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    port, probes = free_ports(2)
    settings = changed(
        rig.settings,
        relays={"main": {"url": smtp.url, "return_path": "recipient"}},
        bounce_host="127.0.0.1",
        bounce_port=port,
        bounce_probe_port=probes,
        bounce_hostname="bounces.example.com",
        secrets_keys=(new_key(),),
        require_domains=True,
    )
    async with (
        api_process(rig.store, settings, "emails:send", "emails:read", "domains") as api,
        babygun(settings, "bounced") as bounced,
    ):
        await bounced.until("bounces awaited")
        ready = partial(status_of, api.session, f"http://127.0.0.1:{probes}/readyz")
        await answered(ready, lambda status: status == 200)  # it knows the keys of return paths
        async with api.session.post(f"{api.url}/domains", json={"name": "example.com"}) as answer:
            assert answer.status == 201, await answer.text()
        domain = await read_domain(rig.store, "example.com")
        assert domain
        await found_return_path(rig.store, domain)
        email_id = (await api.post(to=["ann@example.org", "bob@example.org"]))["id"]
        # It reads the domains before it sends: one that runs may learn of a return path later.
        async with rig.worker_process(
            **{name: getattr(settings, name) for name in ("relays", "secrets_keys")}
        ):
            await rig.ended(email_id)
        by_recipient = {message.recipients: message.sender for message in smtp.messages}
        assert len(by_recipient) == 2
        async with connection_to(port) as mail_server:
            await mail_server.greet()
            path = by_recipient[("ann@example.org",)]
            reply = await mail_server.give(report("ann@example.org"), path)
            assert reply == "250 2.0.0 Taken", bounced.log
        shown = await api.get(f"/emails/{email_id}")
        assert shown["status"] == "failed"
        ann, bob = shown["recipients"]
        assert (ann["status"], ann["late"], ann["status_code"]) == ("bounced", True, 550)
        assert ann["status_reason"] == "<ann@example.org>: no such user here"
        assert bob["status"] == "delivered"
        log = await api.get(f"/emails/{email_id}/log")
        assert [entry["event"] for entry in log["entries"]][-1] == "bounced"
        assert await bounced.terminate() == 0
    await check_invariants(rig.store)
