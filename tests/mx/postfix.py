"""A Postfix that takes mail on several addresses, each with its own restrictions.

Two doors have the milter OpenDKIM; one of them does not offer 8BITMIME and SMTPUTF8.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.bench.systems.postfix import lay_out
from tests.mx.unpacked import RETURN_PATHS, TREE, USERS, started
from tests.support.postfix import SERVICES

PLAIN, GREYLISTING, FEW_CONNECTIONS, FEW_MESSAGES, DKIM, DKIM_7BIT, PLAIN_IPV6 = (
    "127.0.0.31",
    "127.0.0.32",
    "127.0.0.33",
    "127.0.0.34",
    "127.0.0.35",
    "127.0.0.36",
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
transport_maps = inline:{{ {{ {RETURN_PATHS} = smtp:[127.0.0.1]:{bounces} }} }}
smtp_tls_security_level = may
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
[{DKIM}]:{port} inet n - n - - smtpd
  -o smtpd_milters=inet:127.0.0.1:{milter}
[{DKIM_7BIT}]:{port} inet n - n - - smtpd
  -o smtpd_milters=inet:127.0.0.1:{milter}
  -o smtpd_discard_ehlo_keywords=8bitmime,smtputf8
smtp unix - - n - - smtp
retry unix - - n - - error
"""


@contextmanager
def postfix(
    shared: Path, port: int, onward: int, cert: Path, key: Path, *, bounces: int, milter: int
) -> Iterator[Path]:
    """Starts it. ``onward``: the port on 127.0.0.1 where all mail goes. Yields its log.

    ``bounces``: the port for the mail of ``RETURN_PATHS``. ``milter``: that of OpenDKIM.
    """
    folder = shared / "postfix"
    lay_out(folder, USERS["postfix"], USERS["postdrop"])
    main = _MAIN.format(
        folder=folder,
        tree=TREE,
        onward=onward,
        bounces=bounces,
        cert=cert,
        key=key,
        RETURN_PATHS=RETURN_PATHS,
    )
    (folder / "main.cf").write_text(main)
    doors = _DOORS.format(port=port, milter=milter, **_ADDRESSES)
    (folder / "master.cf").write_text(doors + SERVICES)
    command = [f"{TREE}/usr/lib/postfix/sbin/master", "-c", str(folder), "-s"]
    with started(shared, "postfix", command, "daemon started") as log:
        yield log


_ADDRESSES = {
    "PLAIN": PLAIN,
    "PLAIN_IPV6": PLAIN_IPV6,
    "GREYLISTING": GREYLISTING,
    "FEW_CONNECTIONS": FEW_CONNECTIONS,
    "FEW_MESSAGES": FEW_MESSAGES,
    "DKIM": DKIM,
    "DKIM_7BIT": DKIM_7BIT,
}
