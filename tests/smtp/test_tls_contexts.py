"""TLS contexts: shared by servers, and read again when their file has changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from babygun.routing.server import Server
from babygun.routing.tls_policy import TlsPolicy
from babygun.routing.tlsa import Tlsa
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


async def test_versions_and_ciphers_are_those_that_the_check_allows(
    certificates: Certificates,
) -> None:
    contexts, ca = TlsContexts(), certificates.ca
    sts = TlsPolicy("sts", names=("mx1.example",))
    dane = TlsPolicy("dane", names=("mx1.example",), tlsa=(Tlsa(3, 1, 1, bytes(32)),))
    servers = {
        "usual": Server("mx1.example", 25),
        "encrypted": Server("mx1.example", 25, tls="encrypted"),
        "unusable": Server("mx1.example", 25, tls="encrypted", policy=TlsPolicy("dane")),
        "newest": Server("mx1.example", 25, tls_min="1.3"),
        "old": Server("mx1.example", 25, tls_min="1.0"),
        "dane": Server("mx1.example", 25, tls="encrypted", policy=dane),
        "sts": Server("mx1.example", 25, tls="required", policy=sts, tls_ca=ca),
        "relay": Server("mx1.example", 25, tls="required", tls_ca=ca),
        "old relay": Server("mx1.example", 25, tls="required", tls_ca=ca, tls_min="1.0"),
    }
    found = {name: await contexts.of(server) for name, server in servers.items()}
    assert all(each is not None for each in found.values())
    kinds = {
        name: (
            each.minimum_version.name,
            each.security_level > 0,
            each.verify_mode.name,
            each.hostname_checks_common_name,
        )
        for name, each in found.items()
        if each is not None
    }
    assert kinds == {
        "usual": ("TLSv1_2", False, "CERT_NONE", True),
        "encrypted": ("TLSv1_2", False, "CERT_NONE", True),
        "unusable": ("TLSv1_2", False, "CERT_NONE", True),
        "newest": ("TLSv1_3", False, "CERT_NONE", True),
        "old": ("MINIMUM_SUPPORTED", False, "CERT_NONE", True),
        "dane": ("TLSv1_2", True, "CERT_NONE", True),
        "sts": ("TLSv1_2", True, "CERT_REQUIRED", False),
        "relay": ("TLSv1_2", True, "CERT_REQUIRED", True),
        "old relay": ("MINIMUM_SUPPORTED", False, "CERT_REQUIRED", True),
    }


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
