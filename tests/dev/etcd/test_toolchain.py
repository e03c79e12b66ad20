"""What the build of etcd takes from the machine, and when a download was tampered with."""

from __future__ import annotations

from pathlib import Path

import pytest

from babygun.dev.etcd.toolchain import go_environment, is_tampering


@pytest.mark.parametrize(
    ("output", "tampered"),
    [
        (
            "verifying go.etcd.io/bbolt@v1.4.3: checksum mismatch\n"
            "\tdownloaded: h1:a\n\tgo.sum: h1:b\n\nSECURITY ERROR",
            True,
        ),
        ("go.mod:3: missing go.sum entry for module providing package x", True),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", True),
        ('Get "https://proxy.example/x.zip": dial tcp: lookup proxy.example: no such host', False),
    ],
)
def test_wrong_checksum_is_distinguished_from_a_dead_network(output: str, tampered: bool) -> None:
    assert is_tampering(output) is tampered


def test_go_builds_what_is_pinned_whatever_the_users_variables_say(tmp_path: Path) -> None:
    given = {
        "PATH": "/bin",
        "GOFLAGS": "-mod=mod",
        "GOOS": "plan9",
        "GOROOT": "/old",
        "GOPROXY": "https://proxy.example",
    }
    env = go_environment("/no/such/go", tmp_path, given)
    assert "-mod=readonly" in env["GOFLAGS"]
    assert not {"GOOS", "GOROOT"} & set(env)
    assert env["GOTOOLCHAIN"] == "local"
    assert env["GOPROXY"] == "https://proxy.example"  # where to fetch from is theirs to say
    assert Path(env["GOMODCACHE"]).is_relative_to(
        tmp_path
    )  # and nothing is left behind where they have no caches
    assert Path(env["GOCACHE"]).is_relative_to(tmp_path)
