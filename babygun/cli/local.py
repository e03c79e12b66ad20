"""What a running ``babygun dev`` tells of itself in ``.babygun/dev.json``: so the commands work beside it without any setting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from babygun import settings
from babygun.settings import Settings

DEV_JSON = Path(".babygun/dev.json")


def dev_json() -> dict[str, Any]:
    """What it says; empty where none runs here."""
    try:
        value = json.loads(DEV_JSON.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def load_settings() -> Settings:
    """The settings; where they say nothing of etcd and of relays, those of the ``babygun dev`` that runs in this folder."""
    loaded, found = settings.load(), dev_json()
    own: dict[str, Any] = {}
    if found and loaded.etcd_endpoints == Settings().etcd_endpoints:
        own["etcd_endpoints"] = tuple(found.get("etcd_endpoints", ())) or loaded.etcd_endpoints
    if found.get("smtp_host") and not loaded.relay_url and not loaded.relays:
        own["relays"] = {"mailbox": {"url": f"smtp://{found['smtp_host']}:{found['smtp_port']}"}}
    return settings.load(**own)
