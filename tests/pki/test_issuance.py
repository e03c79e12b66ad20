"""Certificates of our own: real TLS between their bearers, renewal, rotation."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from babygun.errors import SettingsError
from babygun.pki.issuance import issue, rotate
from babygun.pki.layout import cluster, https_only

LAYOUT = cluster(["etcd1", "192.0.2.7"], ["mail.example.com"])


def made(folder: Path, **arguments: object) -> list[str]:
    return list(issue(folder, LAYOUT, **arguments))  # type: ignore[arg-type]


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def handshake(
    server: Path,
    client: Path | None,
    server_trusts: Path,
    client_trusts: Path,
    name: str = "localhost",
) -> str:
    """The client's common name that the server sees. Raises SSLError if one refuses the other."""
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(server_trusts))
    theirs.verify_mode = ssl.CERT_REQUIRED if client else ssl.CERT_NONE
    theirs.load_cert_chain(f"{server}.pem", f"{server}-key.pem")
    ours = ssl.create_default_context(cafile=str(client_trusts))
    if client:
        ours.load_cert_chain(f"{client}.pem", f"{client}-key.pem")
    seen: list[str] = []
    failures: list[Exception] = []
    left, right = socket.socketpair()

    def serve() -> None:
        try:
            with theirs.wrap_socket(left, server_side=True) as connection:
                subject = dict(
                    pair
                    for rdn in (connection.getpeercert() or {}).get("subject", ())
                    for pair in rdn
                )  # type: ignore[misc]
                seen.append(str(subject.get("commonName", "")))
                connection.send(b"x")
        except (OSError, ssl.SSLError) as error:
            failures.append(error)
            left.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        right.settimeout(30)
        with ours.wrap_socket(right, server_hostname=name) as connection:
            connection.recv(1)
    finally:
        thread.join(30)
        right.close()
    if failures:
        raise failures[0]
    return seen[0]


def test_each_bearer_is_known_by_the_name_of_its_etcd_user(tmp_path: Path) -> None:
    made(tmp_path)
    for bearer, user in {
        "api/etcd": "babygun-api",
        "worker/etcd": "babygun-worker",
        "inspector/etcd": "babygun-inspector",
        "operator/root": "root",
        "operator/inspector": "babygun-inspector",
    }.items():
        trusts = tmp_path / bearer.split("/")[0] / "etcd-ca.pem"
        assert (
            handshake(
                tmp_path / "etcd/server",
                tmp_path / bearer,
                tmp_path / "etcd/etcd-ca.pem",
                trusts,
                name="etcd1",
            )
            == user
        )
    assert (
        handshake(
            tmp_path / "api/https",
            None,
            tmp_path / "api/api-ca.pem",
            tmp_path / "balancer/api-ca.pem",
            name="mail.example.com",
        )
        == ""
    )


@pytest.mark.parametrize(
    ("server", "client", "trusts"),
    [
        ("etcd/peer", "worker/etcd", "etcd/peers-ca.pem"),  # a worker is no member
        (
            "etcd/server",
            "api/https",
            "etcd/etcd-ca.pem",
        ),  # nor does the certificate of the page open etcd
        ("api/etcd", "worker/etcd", "etcd/etcd-ca.pem"),  # a client can't pose as a server
    ],
)
def test_certificate_opens_no_door_but_its_own(
    tmp_path: Path, server: str, client: str, trusts: str
) -> None:
    made(tmp_path)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(tmp_path / server, tmp_path / client, tmp_path / trusts, tmp_path / trusts)


def test_second_run_changes_nothing_and_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    assert len(made(tmp_path)) == 3 + len(LAYOUT.certificates)
    before = {
        path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.rglob("*.pem")
    }
    assert made(tmp_path) == []
    assert {
        path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.rglob("*.pem")
    } == before
    assert {path.stat().st_mode & 0o077 for path in before if path.name.endswith("-key.pem")} == {0}


def test_only_what_ends_soon_is_renewed(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    made(tmp_path, now=now)
    authority_before = (tmp_path / "authority/etcd/ca.pem").read_bytes()
    assert made(tmp_path, now=now + timedelta(days=244)) == []
    lines = made(tmp_path, now=now + timedelta(days=246))
    assert len(lines) == len(LAYOUT.certificates) and all(
        "renewed, it would have ended on" in line for line in lines
    )
    assert read(tmp_path / "api/https.pem").not_valid_after_utc > now + timedelta(days=600)
    assert (tmp_path / "authority/etcd/ca.pem").read_bytes() == authority_before


def test_changed_names_lost_keys_and_rubbish_are_repaired(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / "worker/etcd-key.pem").unlink()
    (tmp_path / "operator/root.pem").write_text("rubbish")
    other = cluster(["etcd1", "192.0.2.7"], ["mail.example.com", "2001:db8::1"])
    lines = list(issue(tmp_path, other))
    assert lines == [
        "api/https.pem: renewed, its names changed",
        "worker/etcd.pem: made",
        "operator/root.pem: renewed, it could not be read",
    ]
    names = (
        read(tmp_path / "api/https.pem")
        .extensions.get_extension_for_class(x509.SubjectAlternativeName)
        .value
    )
    assert {str(name.value) for name in names} == {
        "mail.example.com",
        "2001:db8::1",
        "localhost",
        "127.0.0.1",
        "::1",
    }


def test_rotation_never_leaves_two_that_distrust_each_other(tmp_path: Path) -> None:
    """After each step the processes restart one by one.

    So a process with the old files in memory must trust one with the new files, and the reverse.
    """
    made(tmp_path)
    first = (tmp_path / "authority/etcd/ca.pem").read_bytes()
    old = tmp_path
    for number, step in enumerate(("begin", "switch", "finish")):
        new = tmp_path.parent / f"{tmp_path.name}-{number}"
        _copy(old, new)
        assert list(rotate(new, step))  # type: ignore[arg-type]
        made(new)
        for mine, yours in ((old, new), (new, old)):
            assert (
                handshake(
                    mine / "etcd/server",
                    yours / "worker/etcd",
                    mine / "etcd/etcd-ca.pem",
                    yours / "worker/etcd-ca.pem",
                )
                == "babygun-worker"
            )
            assert (
                handshake(
                    mine / "etcd/peer",
                    yours / "etcd/peer",
                    mine / "etcd/peers-ca.pem",
                    yours / "etcd/peers-ca.pem",
                )
                == "etcd-peer"
            )
        old = new
    assert first not in (old / "etcd/etcd-ca.pem").read_bytes()
    assert made(old) == []


def _copy(old: Path, new: Path) -> None:
    for path in old.rglob("*.pem"):
        target = new / path.relative_to(old)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())


def test_rotation_out_of_turn_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no authority"):
        list(rotate(tmp_path, "begin"))
    made(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.pem")}
    for step in ("switch", "finish"):
        with pytest.raises(SettingsError, match="'begin' comes next"):
            list(rotate(tmp_path, step))  # type: ignore[arg-type]
    list(rotate(tmp_path, "begin"))
    with pytest.raises(SettingsError, match="'switch' comes next"):
        list(rotate(tmp_path, "begin"))
    assert all(path.read_bytes() == content for path, content in before.items())


@pytest.mark.parametrize("name", ["bücher.example", "", "two names", "a..b"])
def test_name_that_no_certificate_can_hold_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="host name"):
        list(issue(tmp_path, https_only([name])))


def test_folder_that_can_not_be_written_is_reported_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"file.* can't be used"):
        made(tmp_path / "file")
    (tmp_path / "authority/etcd").mkdir(parents=True)
    (tmp_path / "authority/etcd/ca.pem").write_text("rubbish")
    with pytest.raises(SettingsError, match="was not made by Babygun"):
        made(tmp_path)
