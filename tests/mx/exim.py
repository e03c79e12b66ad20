"""An Exim that takes mail on several addresses: as it is, with greylisting, with a limit."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mx.unpacked import RETURN_PATHS, TREE, USERS, started

PLAIN, GREYLISTING, FEW_CONNECTIONS = "127.0.0.41", "127.0.0.42", "127.0.0.43"
GREYLISTED_FOR = 2  # seconds

_CONFIG = """\
primary_hostname = exim.example
exim_path = {tree}/usr/sbin/exim4
deliver_drop_privilege = true
keep_environment = LD_LIBRARY_PATH
spool_directory = {folder}
log_file_path = {folder}/%slog
local_interfaces = <; {PLAIN}.{port} ; {GREYLISTING}.{port} ; {FEW_CONNECTIONS}.{port}
smtp_accept_max_per_host = ${{if eq{{$received_ip_address}}{{{FEW_CONNECTIONS}}} {{2}}{{0}}}}
tls_advertise_hosts = *
tls_certificate = {cert}
tls_privatekey = {key}
host_lookup =
rfc1413_hosts = :
acl_smtp_mail = accept
acl_smtp_rcpt = recipient
acl_smtp_data = accept
begin acl
recipient:
  defer condition = ${{if eq{{$received_ip_address}}{{{GREYLISTING}}}}}
        message = greylisted
        !seen = -{greylisted_for}s / key=${{sender_host_address}}_${{sender_address}}_$local_part
  accept
begin routers
bounces:
  driver = manualroute
  domains = {RETURN_PATHS}
  route_list = * 127.0.0.1
  self = send
  transport = bounces
onward:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = onward
begin transports
bounces:
  driver = smtp
  port = {bounces}
  hosts_try_fastopen =
  hosts_try_dane =
onward:
  driver = smtp
  port = {onward}
  hosts_avoid_tls = *
  hosts_try_fastopen =
  hosts_try_dane =
"""


@contextmanager
def exim(
    shared: Path, port: int, onward: int, cert: Path, key: Path, *, bounces: int
) -> Iterator[Path]:
    """Starts it. ``onward``: the port on 127.0.0.1 where all mail goes. Yields its log.

    ``bounces``: the port for the mail of ``RETURN_PATHS``.
    """
    folder = shared / "exim"
    (folder / "db").mkdir(parents=True)
    own_key = Path(shutil.copy(key, folder / "key.pem"))
    for path in (folder, folder / "db", own_key):
        os.chown(path, USERS["Debian-exim"], USERS["Debian-exim"])
    config = folder / "exim.conf"
    config.write_text(
        _CONFIG.format(
            folder=folder,
            tree=TREE,
            port=port,
            onward=onward,
            bounces=bounces,
            RETURN_PATHS=RETURN_PATHS,
            cert=cert,
            key=own_key,
            greylisted_for=GREYLISTED_FOR,
            PLAIN=PLAIN,
            GREYLISTING=GREYLISTING,
            FEW_CONNECTIONS=FEW_CONNECTIONS,
        )
    )
    command = [f"{TREE}/usr/sbin/exim4", "-C", str(config), "-bdf", "-v"]
    with started(shared, "exim", command, "daemon started") as log:
        yield log
