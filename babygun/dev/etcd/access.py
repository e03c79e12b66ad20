"""Who may use the embedded etcd: the bearer of a client certificate that only its user can read.

Without it every web page could write, by a POST to etcd's HTTP gateway. Every local process could
read the keys that sign tokens.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import Self

from babygun.errors import SettingsError
from babygun.pki.issuance import issue
from babygun.pki.layout import own_etcd
from babygun.runtime.tls import client_context


@dataclass(frozen=True)
class EtcdAccess:
    """The certificates of an embedded etcd. ``folder``: ``<data-dir>/certificates/etcd``."""

    folder: Path

    @classmethod
    def prepare(cls, certificates: Path) -> Self:
        """Makes the certificates that are missing, and renews those that end within months."""
        try:
            for _ in issue(certificates, own_etcd()):
                pass
        except SettingsError as error:
            raise SettingsError(f"can't make certificates for etcd: {error}") from None
        return cls(certificates / "etcd")

    @property
    def ca(self) -> str:
        return str(self.folder / "etcd-ca.pem")

    @property
    def cert(self) -> str:
        return str(self.folder / "client.pem")

    @property
    def key(self) -> str:
        return str(self.folder / "client-key.pem")

    @cached_property
    def context(self) -> ssl.SSLContext:
        """TLS as a client of this etcd."""
        context = client_context(self.ca)
        context.load_cert_chain(self.cert, self.key)
        return context

    def for_clients(self) -> list[str]:
        """etcd's flags: clients need the certificate."""
        return _flags("", self.folder / "server", self.ca)

    def for_peers(self) -> list[str]:
        """etcd's flags: the members need certificates of each other."""
        return _flags("peer-", self.folder / "peer", self.folder / "peers-ca.pem")

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a Babygun that uses this etcd, by their names."""
        return {"etcd_ca": self.ca, "etcd_cert": self.cert, "etcd_key": self.key}

    def etcdctl(self, endpoints: Sequence[str]) -> str:
        """Lines for a shell: with these variables etcdctl reaches this etcd."""
        variables = {
            "ETCDCTL_ENDPOINTS": ",".join(endpoints),
            "ETCDCTL_CACERT": self.ca,
            "ETCDCTL_CERT": self.cert,
            "ETCDCTL_KEY": self.key,
        }
        return "".join(f"export {name}={quote(value)}\n" for name, value in variables.items())


def _flags(prefix: str, pair: Path, ca: Path | str) -> list[str]:
    """``prefix``: of the flags' names. ``pair``: certificate and key, without ``.pem``."""
    return [
        f"--{prefix}cert-file={pair}.pem",
        f"--{prefix}key-file={pair}-key.pem",
        f"--{prefix}trusted-ca-file={ca}",
        f"--{prefix}client-cert-auth",
    ]
