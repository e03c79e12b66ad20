"""An OpenSMTPD that takes mail, refuses at the greeting, or refuses our name."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mx.unpacked import TREE, started

PLAIN, REFUSING, REFUSING_NAMES = "127.0.0.51", "127.0.0.52", "127.0.0.53"

_CONFIG = """\
pki "mail" cert "{cert}"
pki "mail" key "{key}"
table "all" {{ "0.0.0.0/0" }}
filter "refuse" phase connect match src <"all"> disconnect "554 5.7.1 No service for you"
filter "ehlo" phase ehlo match src <"all"> reject "550 5.7.1 Bad name"
filter "helo" phase helo match src <"all"> reject "550 5.7.1 Bad name"
filter "names" chain {{ "ehlo", "helo" }}
listen on {PLAIN} port {port} tls pki "mail" hostname "opensmtpd.example"
listen on {REFUSING} port {port} filter "refuse" hostname "opensmtpd.example"
listen on {REFUSING_NAMES} port {port} filter "names" hostname "opensmtpd.example"
action "onward" relay host "smtp://127.0.0.1:{onward}"
match from any for any action "onward"
"""


@contextmanager
def opensmtpd(shared: Path, port: int, onward: int, cert: Path, key: Path) -> Iterator[Path]:
    """Starts it. ``onward``: the port on 127.0.0.1 where all mail goes. Yields its log."""
    config, own_key = shared / "smtpd.conf", Path(shutil.copy(key, shared / "opensmtpd.key"))
    own_key.chmod(0o600)
    config.write_text(
        _CONFIG.format(
            port=port,
            onward=onward,
            cert=cert,
            key=own_key,
            PLAIN=PLAIN,
            REFUSING=REFUSING,
            REFUSING_NAMES=REFUSING_NAMES,
        )
    )
    command = [f"{TREE}/usr/sbin/smtpd", "-d", "-v", "-f", str(config)]
    with started(shared, "opensmtpd", command, "offline scanning done") as log:
        yield log
