"""What a running ``babygun dev`` tells of itself in ``.babygun/dev.json``: so the commands work beside it without any setting."""

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
START_IT = "start it with `make run` or `babygun dev`"


def dev_json() -> dict[str, Any]:
    """What it says; empty where none runs here, also where one was killed and has left its file."""
    try:
        value = json.loads(DEV_JSON.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) and process_runs(str(value.get("pid"))) else {}


def load_settings() -> Settings:
    """The settings; where they say nothing of etcd and of relays, those of the ``babygun dev`` that runs in this folder."""
    loaded, found = settings.load(), dev_json()
    own: dict[str, Any] = {}
    if found and loaded.etcd_endpoints == Settings().etcd_endpoints:
        own["etcd_endpoints"] = tuple(found.get("etcd_endpoints", ())) or loaded.etcd_endpoints
    if found.get("smtp_host") and not loaded.relay_url and not loaded.relays:
        own["relays"] = {"mailbox": {"url": f"smtp://{found['smtp_host']}:{found['smtp_port']}"}}
    return dataclasses.replace(loaded, **own)


def nothing_runs() -> str:
    """A hint for who finds no etcd and may have meant a ``babygun dev`` that doesn't run, since none is set; else empty."""
    if dev_json() or "BABYGUN_ETCD_ENDPOINTS" in os.environ or "BABYGUN_CONFIG" in os.environ:
        return ""
    return f"no babygun dev runs in this folder, and no etcd is set: {START_IT}; for another etcd, set BABYGUN_ETCD_ENDPOINTS"
