from pathlib import Path

import pytest

from babygun.dev.etcd.binary import EtcdBinary, find_etcd
from babygun.dev.etcd.command_line import EmbeddedEtcd, readable
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
    assert "--quota-backend-bytes=8589934592" in command
    assert any(flag.endswith("snapshot-catchup-entries=100") for flag in command)
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
