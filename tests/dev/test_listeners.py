"""The ports of babygun dev."""

from __future__ import annotations

from pathlib import Path

from babygun.dev.data_folder import DataFolder
from babygun.dev.etcd.members import EtcdCluster
from babygun.dev.listeners import Listeners
from babygun.dev.mailbox.server import HTTP_PORT
from babygun.dev.options import Options
from babygun.runtime.settings import Settings


def test_mailbox_on_any_port_has_its_view_on_any_port(tmp_path: Path) -> None:
    options = Options(
        api_port=0,
        smtp_port=0,
        etcd_port=0,
        etcd_members=None,
        data_dir=tmp_path,
        tls=None,
        workers=1,
    )
    chosen = [
        Listeners.choose(
            options, Settings(), (), EtcdCluster(DataFolder(tmp_path), 1), lambda line: None
        )
        for _ in range(2)
    ]
    assert all(listeners.view_port != HTTP_PORT for listeners in chosen)
    assert chosen[0].view_port != chosen[1].view_port
