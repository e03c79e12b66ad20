"""A real Postfix whose services refuse in the ways in which it is configured in the field.

It needs root, since its processes change their user. Its configuration and queue are in a folder of
its own; the machine's own Postfix is not touched.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from scripts.bench.systems.postfix import lay_out
from tests.support.etcd_server import free_ports
from tests.support.needs import missing
from tests.support.processes import running
from tests.support.streams import listening

_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"  # not on every user's PATH
_POSTCONF = shutil.which("postconf", path=_PATH)


def need_postfix() -> None:
    """Skips the test without root. Without Postfix it skips, too, or fails in CI."""
    if os.geteuid():
        pytest.skip("Postfix changes its processes' user, which needs root")
    if not _POSTCONF:
        missing("a test needs Postfix: apt-get install postfix")


_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = /dev/stdout
myhostname = mx.example.org
mydestination = example.org
local_recipient_maps =
alias_maps =
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{sasl_port}
default_transport = discard
local_transport = discard
"""
SERVICES = """\
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""


@asynccontextmanager
async def postfix(services: Mapping[str, Mapping[str, str]]) -> AsyncIterator[dict[str, int]]:
    """Starts it. ``services``: settings of main.cf, by a name. Yields their ports by that name."""
    need_postfix()
    ports = dict(zip(services, free_ports(len(services)), strict=True))
    folder = Path(tempfile.mkdtemp(prefix="babygun-postfix-"))
    try:
        lay_out(folder)
        (folder / "master.cf").write_text(
            "".join(
                f"{ports[name]} inet n - n - - smtpd\n"
                + "".join(f"  -o {{ {key} = {value} }}\n" for key, value in settings.items())
                for name, settings in services.items()
            )
            + SERVICES
        )
        async with listening(_refuse_login) as sasl_port:
            (folder / "main.cf").write_text(_MAIN.format(folder=folder, sasl_port=sasl_port))
            async with running(f"{_daemon_directory()}/master", "-c", str(folder), "-s") as master:
                await master.until("daemon started")
                yield ports
                await master.terminate()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _daemon_directory() -> str:
    assert _POSTCONF is not None
    asked = [_POSTCONF, "-dh", "daemon_directory"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


async def _refuse_login(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Dovecot's protocol of authentication, of a server that takes no password."""
    writer.write(b"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t00\nDONE\n")
    while line := await reader.readline():
        verb, _, rest = line.partition(b"\t")
        if verb == b"AUTH":
            writer.write(b"FAIL\t" + rest.split(b"\t")[0].strip() + b"\n")
