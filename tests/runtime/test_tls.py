"""What is verified of a server, by a handshake without a network."""

from __future__ import annotations

import ssl
from datetime import timedelta
from pathlib import Path

import pytest

from babygun.runtime.tls import client_context, unverified_context
from tests.support.certificates import Authority, Pem

HOST = "127.0.0.1"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


def shake_hands(client: ssl.SSLContext, server: Pem) -> None:
    """Raises what the client raises."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(server.cert, server.key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=HOST)
    theirs = serving.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        try:
            ours.do_handshake()
            return
        except ssl.SSLWantReadError:
            try:
                theirs.do_handshake()
            except ssl.SSLWantReadError:
                pass
    raise AssertionError("the handshake does not end")


def test_server_that_a_trusted_authority_signed_is_taken(authority: Authority) -> None:
    shake_hands(client_context(str(authority.ca)), authority.sign("server"))


def test_authority_made_by_hand_is_taken_on_every_python(tmp_path: Path) -> None:
    bare = Authority(tmp_path / "bare", bare=True)
    server = bare.sign("server")
    shake_hands(client_context(str(bare.ca)), server)
    strict = client_context(str(bare.ca))
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(strict, server)


def test_server_certificate_may_itself_be_the_trusted_one(authority: Authority) -> None:
    server = authority.sign("server")
    shake_hands(client_context(str(server.cert)), server)


def test_unknown_authority_other_host_and_expired_are_refused(
    authority: Authority, tmp_path: Path
) -> None:
    day = timedelta(days=1)
    for server in (
        Authority(tmp_path / "others").sign("unknown"),
        authority.sign("elsewhere", hosts=("127.0.0.2",)),
        authority.sign("expired", begins=-2 * day, ends=-day),
    ):
        with pytest.raises(ssl.SSLCertVerificationError):
            shake_hands(client_context(str(authority.ca)), server)
        shake_hands(unverified_context(), server)


def test_file_that_is_no_authority_is_an_os_error(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.pem", tmp_path):
        with pytest.raises(OSError):
            client_context(str(path))
