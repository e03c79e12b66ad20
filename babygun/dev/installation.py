"""What one run of ``babygun dev`` consists of. All of it is known before anything starts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from babygun.dev.certificate import with_tls
from babygun.dev.data_folder import DataFolder
from babygun.dev.etcd.access import EtcdAccess
from babygun.dev.etcd.binary import EtcdBinary
from babygun.dev.etcd.build import prepare_etcd, warning
from babygun.dev.etcd.command_line import EmbeddedEtcd
from babygun.dev.etcd.members import EtcdCluster
from babygun.dev.listeners import Listeners
from babygun.dev.options import Options, RelayAddress
from babygun.pki.sealing import new_key
from babygun.runtime.settings import Settings, load

MAILBOX_CONNECTIONS = 200  # of one worker; our own mailbox has no limit
_LOOPBACK = ("127.0.0.0/8", "::1/128")
OPEN_PEERS = (
    "note: the etcd members of this data folder talk to each other without TLS, since an earlier"
    " version made them: any process of this machine could change their data."
    " A new folder (--data-dir) has TLS there too"
)


@dataclass(frozen=True)
class Installation:
    """``client_id`` and ``client_secret`` are those of the API client that ``dev.json`` names."""

    settings: Settings
    folder: DataFolder
    cluster: EtcdCluster
    etcd: EtcdBinary
    access: EtcdAccess
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
        certificates = folder.path / "certificates"
        settings = with_tls(settings, options.tls, certificates, say)
        cluster = EtcdCluster.of(folder, options.etcd_members)
        # A busy port must be refused before etcd is built, which takes minutes.
        Listeners.choose(options, settings, relays, cluster, lambda line: None)
        etcd = prepare_etcd(say)
        if text := warning(etcd.version):
            say(text)
        listeners = Listeners.choose(options, settings, relays, cluster, say)
        client_id, client_secret = folder.credentials()
        access = EtcdAccess.prepare(certificates)
        members = cluster.members(listeners.etcd, etcd, settings.etcd_quota, access)
        if cluster.open_peers:
            say(OPEN_PEERS)
        return cls(
            settings=settings,
            folder=folder,
            cluster=cluster,
            etcd=etcd,
            access=access,
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
        variables = {
            # The embedded etcd has its own certificates and no users, whatever the settings hold.
            "BABYGUN_ETCD_USER": "",
            "BABYGUN_ETCD_PASSWORD": "",
            **{f"BABYGUN_{name.upper()}": path for name, path in self.access.settings.items()},
            "BABYGUN_ETCD_ENDPOINTS": ",".join(self.etcd_endpoints),
            "BABYGUN_API_PORT": str(self.listeners.api_port),
            "BABYGUN_BOUNCE_HOST": "127.0.0.1",
            "BABYGUN_BOUNCE_PORT": str(self.listeners.bounce_port),
            "BABYGUN_BOUNCE_PROBE_PORT": "0",
            "BABYGUN_PROCESSES": "1",  # each process here is supervised by itself
            "BABYGUN_API_CERT": self.settings.api_cert,
            "BABYGUN_API_KEY": self.settings.api_key,
            "BABYGUN_PUBLIC_URL": self.settings.public_url or self.listeners.api_url,
            "BABYGUN_SECRETS_KEY_FILE": self.secrets_key_file,
            # While you develop, send from any domain.
            "BABYGUN_REQUIRE_DOMAINS": os.environ.get("BABYGUN_REQUIRE_DOMAINS", "no"),
            "BABYGUN_WARM_UP": "off",  # the mailbox takes as much as there is
            # The receiver of a webhook that somebody develops is on this machine, without TLS.
            "BABYGUN_WEBHOOK_ALLOW_HTTP": "yes",
            "BABYGUN_WEBHOOK_ALLOW_NETWORKS": ", ".join(
                (*map(str, self.settings.webhook_allow_networks), *_LOOPBACK)
            ),
        }
        if self.listeners.mailbox_url:
            relay = {
                "url": f"smtp://127.0.0.1:{self.listeners.smtp_port}",
                "tls": "none",
                "max_connections": MAILBOX_CONNECTIONS,
            }
            variables |= {
                "BABYGUN_ROUTES": json.dumps({"mailbox": relay}),
                "BABYGUN_RELAYS": "",
                "BABYGUN_DEFAULT": "",  # nothing goes straight to mail hosts from here
            }
        return variables

    @property
    def secrets_key_file(self) -> str:
        """The settings' own, else one of the data folder. Empty if the settings hold the keys."""
        if self.settings.secrets_key_file or self.settings.secrets_keys:
            return self.settings.secrets_key_file
        return str(self.folder.secrets_keys(new_key))

    def child_settings(self) -> Settings:
        """The settings that API and workers have."""
        return load({**os.environ, **self.child_variables()})
