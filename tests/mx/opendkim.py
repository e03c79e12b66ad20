"""OpenDKIM as a milter: it verifies each message, and says so in a header."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.mx.unpacked import TREE, started
from tests.support.etcd_server import free_ports

_CONF = """\
Mode v
Socket inet:{port}@127.0.0.1
TestPublicKeys {keys}
AuthservID opendkim.example
AlwaysAddARHeader yes
InternalHosts 192.0.2.1
PeerList 192.0.2.1
Background no
Syslog no
"""


class OpenDkim(NamedTuple):
    port: int
    keys: Path

    def publish(self, records: Mapping[str, str]) -> None:
        """What it finds in DNS: TXT records by name. It reads them for each signature."""
        self.keys.write_text("".join(f"{name} {text}\n" for name, text in records.items()))


@contextmanager
def opendkim(shared: Path) -> Iterator[OpenDkim]:
    folder = shared / "opendkim"
    folder.mkdir()
    milter = OpenDkim(free_ports(1)[0], folder / "keys")
    milter.publish({})
    conf = folder / "opendkim.conf"
    conf.write_text(_CONF.format(port=milter.port, keys=milter.keys))
    command = [f"{TREE}/usr/sbin/opendkim", "-f", "-v", "-x", str(conf)]
    with started(shared, "opendkim", command, milter.port):
        yield milter
