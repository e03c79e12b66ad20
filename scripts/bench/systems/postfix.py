"""Postfix as a smarthost: SMTP in, a queue on the disk, SMTP out to one relay.

Its configuration and queue are in the stage's folder, and it has a port of its own. The machine's
own Postfix, if there is one, is not touched.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from scripts.bench.loadgen import Load, Mail, Sent, compiled
from scripts.bench.processes import Stage, Unavailable, is_listening, run

CONNECTIONS = 20  # of the load generator, a message at a time on each; more are no faster
_QUEUES = (
    "incoming",
    "active",
    "bounce",
    "corrupt",
    "defer",
    "deferred",
    "flush",
    "hold",
    "saved",
    "trace",
    "private",
)
# What a relay for this machine needs. in_flow_delay is off: its pauses slow the intake to the speed
# of the delivery, and make the delivery a third slower.
_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
myhostname = bench.example.com
mydestination =
local_recipient_maps =
alias_maps =
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtp_host_lookup = native
in_flow_delay = 0
relayhost = [127.0.0.1]:{relay_port}
{more}"""
# To measure the intake alone: held mail is stored like any other, and stays.
_HOLD = """\
smtpd_client_restrictions = check_client_access static:HOLD
"""
_SERVICES = """\
{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class PostfixKind:
    """See :class:`scripts.bench.systems.Kind`."""

    name = "Postfix"
    durable = "its queue, fsync of every message's file"

    def __init__(self) -> None:
        self._master, self._version = Path(), ""

    def prepare(self, say: Callable[[str], None]) -> None:
        postconf = shutil.which("postconf", path=_path())
        if not postconf:
            raise Unavailable(
                "Postfix is not installed: DEBIAN_FRONTEND=noninteractive apt-get install postfix"
            )
        if os.geteuid() != 0:
            raise Unavailable(
                "Postfix starts as root only, since its processes change their user:"
                " run the benchmark as root (sudo make bench) to have it in the table"
            )
        compiled("load")
        values = _defaults(postconf)
        self._master, self._version = (
            Path(values["daemon_directory"]) / "master",
            values["mail_version"],
        )
        if not self._master.exists():
            raise Unavailable(f"{self._master} is missing: apt-get install --reinstall postfix")

    def versions(self) -> Mapping[str, str]:
        return {"postfix": self._version}

    def start(self, stage: Stage, relay_port: int, *, deliver: bool) -> Postfix:
        folder = stage.folder / "postfix"
        shutil.rmtree(folder, ignore_errors=True)
        port = stage.port()
        lay_out(folder)
        (folder / "main.cf").write_text(
            _MAIN.format(folder=folder, relay_port=relay_port, more="" if deliver else _HOLD)
        )
        (folder / "master.cf").write_text(_SERVICES.format(port=port))
        stage.start("postfix", [self._master, "-c", folder, "-s"])
        stage.ready("postfix", lambda: is_listening(port))
        return Postfix(stage, port)


class Postfix:
    """See :class:`scripts.bench.systems.Running`."""

    def __init__(self, stage: Stage, port: int) -> None:
        self._stage, self._port = stage, port

    @property
    def roles(self) -> Mapping[str, Sequence[int]]:
        return {"postfix": [self._stage.pid("postfix")]}

    def send(self, mail: Mail, *, rate: float = 0, times: Path | None = None) -> Sent:
        return Load(
            self._stage, "smtp", [self._port], mail, connections=CONNECTIONS, rate=rate, times=times
        ).wait()

    def stop(self) -> None:
        self._stage.end("postfix")


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"  # not on every user's PATH


def _defaults(postconf: str) -> dict[str, str]:
    lines = run([postconf, "-d", "daemon_directory", "mail_version"]).splitlines()
    return {
        name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)
    }


def lay_out(folder: Path, user: int | None = None, group: int | None = None) -> None:
    """Makes the folders of a queue, as Postfix's own installation does.

    ``user``, ``group``: the numbers of postfix and of postdrop, else those of this machine.
    """
    user = pwd.getpwnam("postfix").pw_uid if user is None else user
    group = grp.getgrnam("postdrop").gr_gid if group is None else group
    for name, mode, owner, its_group in (
        ("", 0o755, 0, 0),
        ("data", 0o700, user, -1),
        ("queue", 0o755, 0, 0),
        ("queue/pid", 0o755, 0, 0),
        *((f"queue/{queue}", 0o700, user, -1) for queue in _QUEUES),
        ("queue/maildrop", 0o730, user, group),
        ("queue/public", 0o710, user, group),
    ):
        path = folder / name
        path.mkdir(exist_ok=True)
        os.chown(path, owner, its_group)
        path.chmod(mode)
