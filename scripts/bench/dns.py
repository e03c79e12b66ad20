"""Knot with the zones of the benchmark: any number of domains, each with a mail host of its own."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from scripts.bench.processes import Stage, Unavailable

_CONFIG = """\
server:
  rundir: "{folder}"
  listen: "127.0.0.1@{port}"
{user}database:
  storage: "{folder}"
log:
  - target: stdout
    any: info
policy:
  - id: signed
    algorithm: ecdsap256sha256
    single-type-signing: on
template:
  - id: default
    storage: "{folder}"
    semantic-checks: off
    zonefile-load: whole
    zonefile-sync: -1
zone:
"""
_SIGNED = "    dnssec-signing: on\n    dnssec-policy: signed\n"
_HEAD = """\
$ORIGIN {zone}.
$TTL {ttl}
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
"""
_HOLE_EVERY = 100


def start_knot(stage: Stage, zones: dict[str, tuple[int, bool]]) -> str:
    """Starts it. ``zones``: by name, how many domains, and whether 1 % of them are black holes.

    Domain n of a zone is ``d<n>.<zone>``; its only mail host, ``mx<n>.<zone>``, has an address of
    its own. Returns the server as ``address@port``. Raises Unavailable.
    """
    knotd = shutil.which("knotd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if not knotd:
        raise Unavailable("the zones of this benchmark need Knot: apt-get install knot")
    folder, port = stage.folder / "knot", stage.port()
    folder.mkdir()
    config = write_knot(
        folder,
        port,
        {zone: _records(domains, holes) for zone, (domains, holes) in zones.items()},
        ttl=3600,
    )
    stage.start("knot", [knotd, "-c", config])
    stage.ready("knot", lambda: _answers(port))
    return f"127.0.0.1@{port}"


def write_knot(
    folder: Path,
    port: int,
    zones: Mapping[str, Iterable[str]],
    *,
    ttl: int,
    signed: Collection[str] = (),
) -> Path:
    """Writes what a Knot needs into an empty folder, and returns its configuration.

    ``zones``: records in zone file form, by the zone's name; SOA and NS are added. ``ttl``: in s.
    ``signed``: the zones that Knot signs.
    """
    user = "" if os.geteuid() else "  user: root:root\n"
    config = _CONFIG.format(folder=folder, port=port, user=user)
    for zone, records in zones.items():
        file = folder / f"{zone}.zone"
        with file.open("w") as out:
            out.write(_HEAD.format(zone=zone, ttl=ttl))
            out.writelines(records)
        config += f'  - domain: {zone}\n    file: "{file}"\n'
        config += _SIGNED if zone in signed else ""
    path = folder / "knot.conf"
    path.write_text(config)
    return path


def _records(domains: int, holes: bool) -> Iterator[str]:
    for n in range(domains):
        yield f"d{n} MX 10 mx{n}\nmx{n} A {address_of(n, holes=holes)}\n"


def address_of(n: int, *, holes: bool = False) -> str:
    """The address of mail host n; with ``holes`` that of every hundredth is 127.9.x.x."""
    number = n + 1
    block = 9 if holes and is_hole(n) else 16 + (number >> 16)
    return f"127.{block}.{number >> 8 & 255}.{number & 255}"


def is_hole(n: int) -> bool:
    """Whether domain n is a black hole in a zone that has some."""
    return n % _HOLE_EVERY == _HOLE_EVERY - 1


def _answers(port: int) -> bool:
    """Whether the server answers a query for the root's SOA, with whatever. Raises OSError."""
    query = bytes.fromhex("0001000000010000000000000000060001")
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as asking:
        asking.settimeout(0.5)
        asking.connect(("127.0.0.1", port))
        asking.send(query)
        return bool(asking.recv(512))
