"""Where a ``babygun dev`` in this folder listens, from ``.babygun/dev.json``.

So the commands work beside it without any setting.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from babygun.dev.data_folder import process_runs
from babygun.runtime import settings
from babygun.runtime.settings import Settings

DEV_JSON = Path(".babygun/dev.json")
_ETCD = ("etcd_ca", "etcd_cert", "etcd_key")
_NO_USER = {"etcd_user": "", "etcd_password": ""}
START_ONE = "start one in this folder with `make run` or `babygun dev`"


def dev_json(path: Path = DEV_JSON) -> dict[str, Any]:
    """The members of dev.json (docs/development.md).

    Empty if no ``babygun dev`` runs here. One that was killed may have left its file behind.
    """
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) and process_runs(str(value.get("pid"))) else {}


def load_settings() -> Settings:
    """The settings. If they name no etcd, no relay or no sealing key, dev.json's is used."""
    loaded, found = settings.load(), dev_json()
    own: dict[str, Any] = {}
    if found.get("etcd_endpoints") and loaded.etcd_endpoints == Settings().etcd_endpoints:
        own = {name: found[name] for name in _ETCD if name in found}
        own |= {"etcd_endpoints": tuple(found["etcd_endpoints"]), **_NO_USER}
        if not loaded.secrets_key_file and not loaded.secrets_keys:
            own["secrets_key_file"] = found.get("secrets_key_file", "")
    if found.get("smtp_host") and not _names_a_relay(loaded):
        mailbox = {"url": f"smtp://{found['smtp_host']}:{found['smtp_port']}"}
        own |= {"routes": {"mailbox": mailbox}, "relays": {}, "default": ""}
    return dataclasses.replace(loaded, **own)


def _names_a_relay(loaded: Settings) -> bool:
    """As ``babygun dev`` asks. It has a mailbox otherwise."""
    routes = (*loaded.routes.values(), *loaded.relays.values())
    return bool(loaded.relay_url) or any("url" in route for route in routes)


def hint_to_start_etcd() -> str:
    """What to do if no etcd answers, none is set and no ``babygun dev`` runs here; else empty."""
    if dev_json() or "BABYGUN_ETCD_ENDPOINTS" in os.environ or "BABYGUN_CONFIG" in os.environ:
        return ""
    return f"no etcd is set: {START_ONE}, or set BABYGUN_ETCD_ENDPOINTS"
