"""``babygun health`` where it speaks to the API in the wrong way."""

from __future__ import annotations

from pathlib import Path

import pytest

from babygun.pki.issuance import issue
from babygun.pki.layout import https_only
from babygun.runtime.settings import Settings
from tests.support.api import running
from tests.support.commands import Command
from tests.support.rig import Rig, changed


@pytest.mark.parametrize("api_speaks", ["https", "http"])
async def test_health_says_so_where_the_port_speaks_otherwise(
    rig: Rig, tmp_path: Path, api_speaks: str
) -> None:
    list(issue(tmp_path, https_only(())))
    pair = {
        "api_cert": str(tmp_path / "api/https.pem"),
        "api_key": str(tmp_path / "api/https-key.pem"),
    }
    ca = {"api_ca": str(tmp_path / "api/api-ca.pem")}
    of_api, of_health = (pair | ca, {}) if api_speaks == "https" else ({}, pair)
    served = changed(rig.settings, api_host="127.0.0.1", api_port=0, **of_api)
    async with running(served, rig.store) as api:
        port = int(api.url.rpartition(":")[2])
        asks: Settings = changed(rig.settings, api_host="127.0.0.1", api_port=port, **of_health)
        result = await Command(asks, tmp_path)("health", "--live", "--timeout", "60", "api")
        assert result.status == 1
        assert f"the port speaks {api_speaks}. Set BABYGUN_API_CERT" in result.error
