"""Where each part of ``babygun dev`` listens.

All ports are chosen before anything starts, so that a port that is busy ends the command at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from babygun.dev.etcd.members import EtcdCluster, MemberPorts
from babygun.dev.mailbox.server import HTTP_PORT, SMTP_PORT
from babygun.dev.options import Options, RelayAddress
from babygun.dev.ports import Ports
from babygun.runtime.listening import url_of
from babygun.runtime.settings import Settings

API_PORT = 8080
BOUNCE_PORT = 2526


@dataclass(frozen=True)
class Listeners:
    """``smtp_host`` and ``smtp_port`` are the mailbox's, or the default relay's if one is set.

    ``view_port``, the port of the mailbox's pages, is None if there is no mailbox. ``bounce_port``:
    where bounce messages come back.
    """

    api_url: str
    api_port: int
    etcd: MemberPorts
    smtp_host: str
    smtp_port: int
    view_port: int | None
    bounce_port: int

    @property
    def mailbox_url(self) -> str | None:
        return f"http://127.0.0.1:{self.view_port}" if self.view_port else None

    @classmethod
    def choose(
        cls,
        options: Options,
        settings: Settings,
        relays: Sequence[RelayAddress],
        cluster: EtcdCluster,
        say: Callable[[str], None],
    ) -> Listeners:
        """The ports that were asked for, or free ones.

        Raises SettingsError if a port that was asked for can't be had.
        """
        ports = Ports(say)
        asked = options.api_port
        if asked is None and ("BABYGUN_API_PORT" in os.environ or settings.api_port != API_PORT):
            asked = settings.api_port
        # etcd comes first: the ports between its members can't change.
        etcd = cluster.choose_ports(ports, options.etcd_port)
        api_port = ports.choose(
            "the API",
            asked=asked,
            default=API_PORT,
            option="--port",
            host=settings.api_host or "0.0.0.0",  # noqa: S104
        )
        api_url = url_of(settings.api_host, api_port, tls=bool(settings.api_cert))
        # Where any free port will do for the mail, it does for these too. Otherwise several runs on
        # one machine would look for the next free one at the same time, and find the same.
        any_port = 0 if options.smtp_port == 0 else None
        bounce_port = ports.choose("bounced", asked=any_port, default=BOUNCE_PORT, option="")
        if relays:
            if options.smtp_port is not None:
                say("note: --smtp-port has no effect: a relay is set, so there is no mailbox")
            _, host, port = relays[-1]  # the default one comes last
            return cls(api_url, api_port, etcd, host, port, None, bounce_port)
        smtp_port = ports.choose(
            "the mailbox", asked=options.smtp_port, default=SMTP_PORT, option="--smtp-port"
        )
        view_port = ports.choose("the mailbox's view", asked=any_port, default=HTTP_PORT, option="")
        return cls(api_url, api_port, etcd, "127.0.0.1", smtp_port, view_port, bounce_port)
