"""Where each part of one ``babygun dev`` listens: chosen before anything starts, so that a port that can't be had is told first."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass

from babygun.dev.etcd.members import EtcdCluster, MemberPorts
from babygun.dev.mailbox.server import HTTP_PORT, SMTP_PORT
from babygun.dev.ports import Ports
from babygun.routing.routes import load_routes
from babygun.runtime.listening import EVERYWHERE
from babygun.runtime.settings import Settings

API_PORT = 8080


@dataclass(frozen=True)
class Listeners:
    """``smtp_host`` and ``smtp_port`` are the mailbox's or, where a relay is set and so there is none (``view_port`` is None), that relay's."""

    api_url: str
    api_port: int
    etcd: MemberPorts
    smtp_host: str
    smtp_port: int
    view_port: int | None

    @property
    def mailbox_url(self) -> str | None:
        return f"http://127.0.0.1:{self.view_port}" if self.view_port else None

    @classmethod
    def choose(
        cls,
        arguments: argparse.Namespace,
        loaded: Settings,
        cluster: EtcdCluster,
        say: Callable[[str], None],
    ) -> Listeners:
        """Free ports, those that were asked for where some were. Raises SettingsError where one of these can't be had."""
        ports = Ports(say)
        asked = arguments.port
        if asked is None and ("BABYGUN_API_PORT" in os.environ or loaded.api_port != API_PORT):
            asked = loaded.api_port
        etcd = cluster.choose_ports(
            ports, arguments.etcd_port
        )  # first: its peer ports can't be others
        api_port = ports.choose(
            "the API",
            asked=asked,
            default=API_PORT,
            option="--port",
            host=loaded.api_host or "0.0.0.0",  # noqa: S104
        )
        shown = (
            "127.0.0.1"
            if loaded.api_host in EVERYWHERE
            else f"[{loaded.api_host}]"
            if ":" in loaded.api_host
            else loaded.api_host
        )
        api_url = f"{'https' if loaded.api_cert else 'http'}://{shown}:{api_port}"
        if not loaded.relay_url and not loaded.relays:
            smtp_port = ports.choose(
                "the mailbox", asked=arguments.smtp_port, default=SMTP_PORT, option="--smtp-port"
            )
            return cls(
                api_url,
                api_port,
                etcd,
                "127.0.0.1",
                smtp_port,
                ports.choose("the mailbox's view", asked=None, default=HTTP_PORT, option=""),
            )
        relay = list(load_routes(loaded).destinations.values())[-1]  # the default one, or the last
        if arguments.smtp_port is not None:
            say("note: --smtp-port has no effect, since a relay is set and so there is no mailbox")
        return cls(api_url, api_port, etcd, relay.host, relay.port, None)
