"""What one run of ``babygun dev`` consists of. All of it is known before anything starts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from babygun.dev.certificate import with_tls
from babygun.dev.data_folder import DataFolder
from babygun.dev.etcd.binary import EtcdBinary
from babygun.dev.etcd.build import prepare_etcd, warning
from babygun.dev.etcd.command_line import EmbeddedEtcd
from babygun.dev.etcd.members import EtcdCluster
from babygun.dev.listeners import Listeners
from babygun.dev.options import Options, RelayAddress
from babygun.runtime.settings import Settings, load

MAILBOX_CONNECTIONS = 200  # of one worker; our own mailbox has no limit


@dataclass(frozen=True)
class Installation:
    """``client_id`` and ``client_secret`` are those of the API client that ``dev.json`` names."""

    settings: Settings
    folder: DataFolder
    cluster: EtcdCluster
    etcd: EtcdBinary
    members: Sequence[EmbeddedEtcd]
    listeners: Listeners
    relays: Sequence[RelayAddress]
    workers: int
    client_id: str
    client_secret: str

    @classmethod
    def prepare(
        cls,
        settings: Settings,
        options: Options,
        relays: Sequence[RelayAddress],
        folder: DataFolder,
        say: Callable[[str], None],
    ) -> Installation:
        """Chooses ports, certificate and etcd; builds the etcd if this machine has none.

        Raises SettingsError or another BabygunError.
        """
        settings = with_tls(settings, options.tls, folder.path / "certificates", say)
        cluster = EtcdCluster.of(folder, options.etcd_members)
        # A busy port must be refused before etcd is built, which takes minutes.
        Listeners.choose(options, settings, relays, cluster, lambda line: None)
        etcd = prepare_etcd(say)
        if text := warning(etcd.version):
            say(text)
        listeners = Listeners.choose(options, settings, relays, cluster, say)
        client_id, client_secret = folder.credentials()
        members = cluster.members(listeners.etcd, etcd, settings.etcd_quota)
        return cls(
            settings=settings,
            folder=folder,
            cluster=cluster,
            etcd=etcd,
            members=members,
            listeners=listeners,
            relays=relays,
            workers=options.workers,
            client_id=client_id,
            client_secret=client_secret,
        )

    @property
    def etcd_endpoints(self) -> list[str]:
        return [member.endpoint for member in self.members]

    def child_variables(self) -> dict[str, str]:
        """The environment variables with the addresses that API, workers and mailbox need."""
        # The embedded etcd needs no user and no certificate, whatever the settings hold.
        unset = ("ETCD_USER", "ETCD_PASSWORD", "ETCD_CA", "ETCD_CERT", "ETCD_KEY")
        variables = {
            "BABYGUN_ETCD_ENDPOINTS": ",".join(self.etcd_endpoints),
            "BABYGUN_API_PORT": str(self.listeners.api_port),
            "BABYGUN_PROCESSES": "1",  # each process here is supervised by itself
            "BABYGUN_API_CERT": self.settings.api_cert,
            "BABYGUN_API_KEY": self.settings.api_key,
            **{f"BABYGUN_{name}": "" for name in unset},
        }
        if self.listeners.mailbox_url:
            relay = {
                "url": f"smtp://127.0.0.1:{self.listeners.smtp_port}",
                "tls": "none",
                "max_connections": MAILBOX_CONNECTIONS,
            }
            variables["BABYGUN_RELAYS"] = json.dumps({"mailbox": relay})
        return variables

    def child_settings(self) -> Settings:
        """The settings that API and workers have."""
        return load({**os.environ, **self.child_variables()})
