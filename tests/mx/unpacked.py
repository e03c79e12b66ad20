"""Postfix, Exim, OpenSMTPD and OpenDKIM side by side, from Debian packages that are only unpacked.

Each runs in a mount namespace of its own, where it finds the folders and users that its package
would have made. Nothing of the machine changes. It needs root.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from babygun.dev.etcd.binary import cache_root
from tests.support.needs import missing

PACKAGES = cache_root() / "mail-servers"
TREE = "/var/lib/servers"  # where a server sees the unpacked packages
LIBRARIES = f"{TREE}/usr/lib/{os.uname().machine}-linux-gnu:{TREE}/usr/lib/postfix:{TREE}/usr/lib"
USERS = {"postfix": 901, "Debian-exim": 902, "opensmtpd": 903, "opensmtpq": 904, "postdrop": 905}
RETURN_PATHS = "bounces.sender.example"  # bounce messages to this domain come back
_START_WITHIN = 60.0  # seconds

_ENTER = """\
set -e
mount -t tmpfs tmpfs /var/spool
mount -t tmpfs tmpfs /var/lib
mount -t tmpfs tmpfs /run
mkdir -p /var/lib/opensmtpd/empty {tree}
mount --bind {packages} {tree}
for file in passwd group hosts; do mount --bind {folder}/$file /etc/$file; done
exec "$@"
"""
_HOSTS = "127.0.0.1 localhost\n::1 localhost\n127.0.0.2 sender.example\n127.0.0.3 sender.example\n"


def need_servers() -> None:
    """Skips the test without root. What else is missing makes it skip, too, or fail in CI."""
    if os.geteuid():
        pytest.skip("the mail servers change their processes' users, which needs root")
    if not all((PACKAGES / name).exists() for name in ("complete", "usr/sbin/opendkim")):
        missing("these tests need Postfix, Exim, OpenSMTPD, OpenDKIM: scripts/get-mail-servers")
    if subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        missing("these tests need the right to make mount namespaces (CAP_SYS_ADMIN)")


def prepare(folder: Path) -> None:
    """Writes what each server sees in its namespace."""
    folder.chmod(0o755)
    packages = _ENTER.format(tree=TREE, packages=PACKAGES, folder=folder)
    (folder / "enter").write_text(packages)
    (folder / "hosts").write_text(_HOSTS)
    users = [
        f"{name}:x:{number}:{number}::/nonexistent:/bin/false" for name, number in USERS.items()
    ]
    groups = [f"{name}:x:{number}:" for name, number in USERS.items()]
    for file, more in (("passwd", users), ("group", groups)):
        lines = Path(f"/etc/{file}").read_text().splitlines()
        kept = [line for line in lines if line.partition(":")[0] not in USERS]
        (folder / file).write_text("\n".join(kept + more) + "\n")


@contextmanager
def started(folder: Path, name: str, command: list[str], ready: str | int) -> Iterator[Path]:
    """A server, once its output contains ``ready``. Yields the file of its output.

    A number as ``ready``: once it listens on that port of 127.0.0.1.
    """
    log = folder / f"{name}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["unshare", "--mount", "bash", str(folder / "enter"), *command],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LD_LIBRARY_PATH": LIBRARIES},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + _START_WITHIN
        while not _is_ready(log, ready):
            alive = process.poll() is None and time.monotonic() < end
            assert alive, f"{name} did not start:\n{log.read_text()}"
            time.sleep(0.02)
        yield log
    finally:
        process.terminate()
        process.wait(30)


def _is_ready(log: Path, ready: str | int) -> bool:
    if isinstance(ready, str):
        return ready in log.read_text()
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", ready)) == 0
