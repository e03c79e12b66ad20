"""Which certificates an installation has, who signs them, and who trusts whom. Pure.

There are three authorities, so a certificate of one of them is refused everywhere else:
``etcd`` for etcd's servers and clients, ``peers`` for etcd's members among themselves, and
``api`` for https.

All certificates are files in one folder. Each part of the installation has its own folder in it,
which is mounted where that part runs and nowhere else. ``authority/``, with the keys that sign,
is for the operator alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class WantedCertificate:
    """One certificate that is to exist.

    ``path`` is ``<folder>/<name>``; ``common_name`` is the etcd user of its bearer, and ``names``
    are the host names and addresses of a server.
    """

    path: str
    authority: str
    common_name: str = ""
    server: bool = False
    client: bool = False
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """``trust``: by folder, the authorities whose certificates its owner accepts.

    ``secrets``: the folders whose owners seal or open secrets.
    """

    certificates: tuple[WantedCertificate, ...]
    trust: dict[str, tuple[str, ...]]
    secrets: tuple[str, ...] = ()


def cluster(etcd_names: Sequence[str], api_names: Sequence[str]) -> Layout:
    """The certificates of a cluster whose servers have these host names and addresses.

    The names of the loopback address are added.
    """
    etcd = _with_loopback(etcd_names)
    certificates = (
        # A client too, since etcd calls itself. Without a common name it has no rights.
        WantedCertificate("etcd/server", "etcd", server=True, client=True, names=etcd),
        WantedCertificate("etcd/peer", "peers", "etcd-peer", server=True, client=True, names=etcd),
        # For health checks.
        WantedCertificate("etcd/inspector", "etcd", "babygun-inspector", client=True),
        *https_only(api_names).certificates,
        WantedCertificate("api/etcd", "etcd", "babygun-api", client=True),
        WantedCertificate("worker/etcd", "etcd", "babygun-worker", client=True),
        WantedCertificate("bounced/etcd", "etcd", "babygun-bounced", client=True),
        WantedCertificate("bounced/smtp", "api", server=True, names=_with_loopback(("bounced",))),
        WantedCertificate("inspector/etcd", "etcd", "babygun-inspector", client=True),
        WantedCertificate("operator/root", "etcd", "root", client=True),
        WantedCertificate("operator/inspector", "etcd", "babygun-inspector", client=True),
    )
    return Layout(
        certificates,
        {
            "etcd": ("etcd", "peers"),
            "api": ("etcd", "api"),
            "worker": ("etcd",),
            "bounced": ("etcd",),
            "balancer": ("api",),
            "inspector": ("etcd", "api"),
            "operator": ("etcd", "api"),
        },
        secrets=("api", "worker", "operator"),
    )


def https_only(names: Sequence[str]) -> Layout:
    """The certificate of an API on one machine."""
    https = WantedCertificate("api/https", "api", server=True, names=_with_loopback(names))
    return Layout((https,), {"api": ("api",)})


def own_etcd() -> Layout:
    """The certificates of an etcd on this machine that nobody but its user may reach.

    A program that can read ``etcd/client-key.pem`` is root there.
    """
    certificates = (
        WantedCertificate("etcd/server", "etcd", server=True, names=LOOPBACK),
        WantedCertificate(
            "etcd/peer", "peers", "etcd-peer", server=True, client=True, names=LOOPBACK
        ),
        WantedCertificate("etcd/client", "etcd", "root", client=True),
    )
    return Layout(certificates, {"etcd": ("etcd", "peers")})


def _with_loopback(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*names, *LOOPBACK)))
