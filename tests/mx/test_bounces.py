"""Real mail servers take a message, fail later, and send a bounce message that comes back."""

from __future__ import annotations

import pytest

from tests.mx.conftest import MailServers, NewWorld
from tests.mx.unpacked import RETURN_PATHS
from tests.support.bounce_server import bounce_server
from tests.support.certificates import Authority
from tests.support.rig import changed
from tests.support.signatures import domain_with_return_path

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("name", ["postfix", "exim"])
async def test_bounce_of_a_real_server_makes_its_delivered_recipient_bounced(
    new_world: NewWorld, mail_servers: MailServers, tmp_path: object, name: str
) -> None:
    pem = Authority(tmp_path).sign("bounces.example")  # type: ignore[arg-type]
    address = f"gone@{name}.example"
    async with new_world(bounce_hostname="bounces.example") as world:
        domain = await domain_with_return_path(world.rig.store, "sender.example")
        assert domain.return_path == RETURN_PATHS
        world.sink.rcpt[address] = "550 5.1.1 no such user here"
        settings = changed(world.settings, bounce_cert=str(pem.cert), bounce_key=str(pem.key))
        async with (
            bounce_server(settings, port=mail_servers.bounces),
            world.rig.worker_process(),
        ):
            email_id = await world.rig.send(address, sender="me@sender.example")
            await world.rig.logged(email_id, "bounced")
        [recipient] = (await world.rig.get(email_id)).recipients
        assert (recipient.status, recipient.late) == ("bounced", True)
        assert (recipient.status_code, recipient.enhanced_code) == (550, "5.1.1")
        assert recipient.reply_class == "bad_mailbox"
        assert "no such user here" in (recipient.status_reason or "")
