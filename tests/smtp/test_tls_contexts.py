"""TLS contexts: shared by servers, and read again when their file has changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from babygun.routing.server import Server
from babygun.smtp import ConnectFailed
from babygun.smtp.tls_contexts import TlsContexts
from tests.smtp.conftest import Certificates


async def test_servers_with_the_same_policy_share_a_context(certificates: Certificates) -> None:
    contexts = TlsContexts()
    one = await contexts.of(Server("mx1.example", 25))
    assert one is await contexts.of(Server("mx2.example", 25, tls="encrypted"))
    assert one is not None and not one.check_hostname
    assert await contexts.of(Server("mx1.example", 25, tls="none")) is None
    checked = Server("relay.example", 25, tls="required", tls_ca=certificates.ca)
    assert await contexts.of(checked) is await contexts.of(checked)


async def test_ca_file_is_read_again_when_it_has_changed(
    certificates: Certificates, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    server = Server("relay.example", 25, tls="required", tls_ca=str(file))
    contexts = TlsContexts()
    with pytest.raises(ConnectFailed, match=r"ca\.pem"):
        await contexts.of(server)
    shutil.copy(certificates.ca, file)
    first = await contexts.of(server)
    assert first is not None and len(first.get_ca_certs()) == 1
    os.utime(file, ns=(1, 1))
    assert await contexts.of(server) is not first
    file.write_text("no certificate")
    with pytest.raises(ConnectFailed, match="tls_ca"):
        await contexts.of(server)
