"""Domains that ask for reports by a DNS of the test's own, and an https server that takes them."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from babygun.runtime.settings import Settings
from tests.support.domains import sealing
from tests.support.policy_host import PolicyHost, policy_host
from tests.support.rig import Rig, quick, rig_for
from tests.support.signatures import signing_domain

SENDER = "tls@ours.example"


class Asking:
    """Any domain asks for reports; ``txt`` of ``host`` are its records. ``posted``: what came.

    ``status``: what a POST is answered with.
    """

    def __init__(self, rig: Rig, host: PolicyHost) -> None:
        self.rig, self.host = rig, host
        self.posted: list[dict[str, Any]] = []
        self.status = 201
        host.answer = self._take

    @property
    def url(self) -> str:
        """The certificate is of this name."""
        return f"https://mta-sts.a.example:{self.host.settings.sts_port}/tls"

    def ask(self, *uris: str) -> None:
        self.host.txt = [f"v=TLSRPTv1; rua={','.join(uris)}"] if uris else []

    async def _take(self, request: web.Request) -> web.Response:
        assert request.method == "POST"
        assert request.headers["Content-Type"] == "application/tlsrpt+gzip"
        self.posted.append(json.loads(gzip.decompress(await request.read())))
        return web.Response(status=self.status)


@pytest.fixture
async def asking(settings: Settings, tmp_path: Path) -> AsyncIterator[Asking]:
    async with policy_host(settings, tmp_path) as host:
        given = replace(host.settings, tls_reports=True, tls_report_sender=SENDER)
        async with rig_for(quick(given, {}, **sealing())) as rig:
            await signing_domain(rig.store, "ours.example")
            yield Asking(rig, host)
