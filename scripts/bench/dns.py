"""Knot with the zones of the benchmark: any number of domains, each with a mail host of its own."""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import closing

from scripts.bench.processes import Stage, Unavailable

_CONFIG = """\
server:
  rundir: "{folder}"
  listen: "127.0.0.1@{port}"
{user}database:
  storage: "{folder}"
log:
  - target: stderr
    any: warning
zone:
"""
_HEAD = (
    "$ORIGIN {zone}.\n$TTL 3600\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n"
)
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
    user = "" if os.geteuid() else "  user: root:root\n"
    config = _CONFIG.format(folder=folder, port=port, user=user)
    for zone, (domains, holes) in zones.items():
        file = folder / f"{zone}.zone"
        with file.open("w") as out:
            out.write(_HEAD.format(zone=zone))
            for n in range(domains):
                out.write(f"d{n} MX 10 mx{n}\nmx{n} A {address_of(n, holes=holes)}\n")
        config += f'  - domain: {zone}\n    file: "{file}"\n'
    (folder / "knot.conf").write_text(config)
    stage.start("knot", [knotd, "-c", folder / "knot.conf"])
    stage.ready("knot", lambda: _answers(port))
    return f"127.0.0.1@{port}"


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
