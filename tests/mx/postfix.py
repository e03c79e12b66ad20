"""A Postfix that takes mail on several addresses, each with its own restrictions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.bench.systems.postfix import lay_out
from tests.mx.unpacked import TREE, USERS, started
from tests.support.postfix import SERVICES

PLAIN, GREYLISTING, FEW_CONNECTIONS, FEW_MESSAGES, PLAIN_IPV6 = (
    "127.0.0.31",
    "127.0.0.32",
    "127.0.0.33",
    "127.0.0.34",
    "::1",
)

_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
daemon_directory = {tree}/usr/lib/postfix/sbin
command_directory = {tree}/usr/sbin
shlib_directory = {tree}/usr/lib/postfix
import_environment = LD_LIBRARY_PATH MAIL_CONFIG
maillog_file = /dev/stdout
myhostname = postfix.example
mydestination =
local_recipient_maps =
alias_maps =
inet_protocols = all
mynetworks = 127.0.0.0/8, [::1]/128
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtp_host_lookup = native
smtp_connection_cache_on_demand = no
relayhost = [127.0.0.1]:{onward}
smtpd_tls_security_level = may
smtpd_tls_cert_file = {cert}
smtpd_tls_key_file = {key}
smtpd_client_event_limit_exceptions =
anvil_rate_time_unit = 2s
postscreen_access_list =
postscreen_greet_wait = 1s
postscreen_bare_newline_enable = yes
postscreen_bare_newline_action = ignore
postscreen_cache_map = btree:$data_directory/postscreen
"""
_DOORS = """\
[{PLAIN}]:{port} inet n - n - - smtpd
[{PLAIN_IPV6}]:{port} inet n - n - - smtpd
[{GREYLISTING}]:{port} inet n - n - 1 postscreen
smtpd pass - - n - - smtpd
tlsproxy unix - - n - 0 tlsproxy
dnsblog unix - - n - 0 dnsblog
[{FEW_CONNECTIONS}]:{port} inet n - n - - smtpd
  -o smtpd_client_connection_count_limit=2
[{FEW_MESSAGES}]:{port} inet n - n - - smtpd
  -o smtpd_client_message_rate_limit=3
smtp unix - - n - - smtp
retry unix - - n - - error
"""


@contextmanager
def postfix(shared: Path, port: int, onward: int, cert: Path, key: Path) -> Iterator[Path]:
    """Starts it. ``onward``: the port on 127.0.0.1 where all mail goes. Yields its log."""
    folder = shared / "postfix"
    lay_out(folder, USERS["postfix"], USERS["postdrop"])
    main = _MAIN.format(folder=folder, tree=TREE, onward=onward, cert=cert, key=key)
    (folder / "main.cf").write_text(main)
    (folder / "master.cf").write_text(_DOORS.format(port=port, **_ADDRESSES) + SERVICES)
    command = [f"{TREE}/usr/lib/postfix/sbin/master", "-c", str(folder), "-s"]
    with started(shared, "postfix", command, "daemon started") as log:
        yield log


_ADDRESSES = {
    "PLAIN": PLAIN,
    "PLAIN_IPV6": PLAIN_IPV6,
    "GREYLISTING": GREYLISTING,
    "FEW_CONNECTIONS": FEW_CONNECTIONS,
    "FEW_MESSAGES": FEW_MESSAGES,
}
