from dataclasses import replace
from pathlib import Path

import pytest

from babygun.dev.etcd.access import EtcdAccess
from babygun.dev.etcd.binary import EtcdBinary, find_etcd
from babygun.dev.etcd.command_line import EmbeddedEtcd, readable
from babygun.etcd.versions import parse_version
from tests.support.needs import missing


def embedded(binary: EtcdBinary) -> EmbeddedEtcd:
    return EmbeddedEtcd(binary, Path("/data"), 2379, 2400)


def test_embedded_etcd_listens_on_loopback_and_compacts() -> None:
    binary = find_etcd()
    if binary is None:
        missing("no etcd to test with: run `make install`")
    command = embedded(binary).command()
    assert "--listen-client-urls=http://127.0.0.1:2379" in command
    assert "--auto-compaction-retention=5m" in command
    assert "--enable-grpc-gateway=false" in command
    assert "--host-whitelist=127.0.0.1,localhost" in command
    assert not any("cert" in flag for flag in command)
    assert "--quota-backend-bytes=8589934592" in command
    catchup = any(flag.endswith("snapshot-catchup-entries=100") for flag in command)
    assert catchup == (parse_version(binary.version) >= (3, 5, 0)), "3.4 has no such flag"
    assert any("checkpoint" in flag.lower() for flag in command)


def test_member_of_a_cluster_knows_the_others_and_keeps_the_time_of_leases() -> None:
    binary = find_etcd()
    if binary is None:
        missing("no etcd to test with: run `make install`")
    command = EmbeddedEtcd(
        binary, Path("/data"), 2379, 2400, name="a", cluster={"a": 2400, "b": 2401}, token="t"
    ).command()
    assert "--initial-cluster=a=http://127.0.0.1:2400,b=http://127.0.0.1:2401" in command
    assert "--name=a" in command and "--initial-cluster-token=t" in command
    assert any("checkpoint" in flag.lower() for flag in command)


def test_member_with_certificates_asks_clients_and_members_for_theirs(tmp_path: Path) -> None:
    binary = EtcdBinary(tmp_path / "etcd", "3.6.16", "path")
    access = EtcdAccess.prepare(tmp_path)
    guarded = EmbeddedEtcd(binary, Path("/data"), 2379, 2400, access=access)
    command = guarded.command()
    assert guarded.endpoint == "https://127.0.0.1:2379"
    assert f"--listen-client-urls={guarded.endpoint}" in command
    assert "--initial-cluster=babygun=https://127.0.0.1:2400" in command
    assert {"--client-cert-auth", "--peer-client-cert-auth"} <= set(command)
    for flag in command:
        name, _, path = flag.partition("=")
        assert not name.endswith(("cert-file", "key-file", "ca-file")) or Path(path).is_file()
    older = replace(guarded, open_peers=True).command()
    assert "--initial-cluster=babygun=http://127.0.0.1:2400" in older
    assert "--client-cert-auth" in older and "--peer-client-cert-auth" not in older


@pytest.mark.parametrize(
    "known", ["--snapshot-catchup-entries=100", "--experimental-snapshot-catchup-entries=100", ""]
)
def test_flag_that_this_etcd_does_not_know_is_left_out(tmp_path: Path, known: str) -> None:
    program = tmp_path / "etcd"
    program.write_text(f"#!/bin/sh\n[ \"$1\" = '{known}' ]\n")
    program.chmod(0o755)
    command = embedded(EtcdBinary(program, "3.5.1", "path")).command()
    assert [flag for flag in command if "catchup" in flag] == ([known] if known else [])


@pytest.mark.parametrize(
    "known",
    [
        ["--feature-gates=LeaseCheckpoint=true,LeaseCheckpointPersist=true"],
        [
            "--experimental-enable-lease-checkpoint",
            "--experimental-enable-lease-checkpoint-persist",
        ],
        ["--experimental-enable-lease-checkpoint"],
        [],
    ],
)
def test_checkpoints_of_leases_are_asked_for_by_the_names_that_this_etcd_knows(
    tmp_path: Path, known: list[str]
) -> None:
    program = tmp_path / "etcd"
    program.write_text(f"#!/bin/sh\n[ \"$*\" = '{' '.join([*known, '--version'])}' ]\n")
    program.chmod(0o755)
    command = embedded(EtcdBinary(program, "3.5.1", "path")).command()
    assert [flag for flag in command[1:] if "checkpoint" in flag.lower()] == known


def test_etcds_own_variables_do_not_reach_it() -> None:
    given = {
        "PATH": "/bin",
        "ETCD_NAME": "mine",
        "ETCDCTL_API": "3",
        "BABYGUN_CLIENT_SECRET": "s",
        "GOGC": "100",
        "GOMEMLIMIT": "off",
    }
    binary = EtcdBinary(Path("/no/etcd"), "3.6.16", "cache")
    assert embedded(binary).environment(given) == {
        "PATH": "/bin",
        "GOGC": "100",
        "GOMEMLIMIT": "off",
    }
    alone = embedded(binary).environment({})
    assert alone["GOGC"] == "400" and int(alone["GOMEMLIMIT"]) >= 64 << 20


def test_log_lines_are_readable_in_an_error() -> None:
    assert readable('{"level":"info","msg":"started"}') == ""
    line = '{"level":"fatal","msg":"discovery failed","error":"listen tcp: address in use"}'
    assert readable(line) == "fatal: discovery failed: listen tcp: address in use"
    assert readable("panic: no such thing") == "panic: no such thing"
    assert readable("[1, 2]") == "[1, 2]"
