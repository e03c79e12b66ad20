"""``babygun settings``, and settings that no command takes."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

from babygun.cli.main import COMMANDS
from babygun.runtime.settings import table
from tests.support.commands import Command
from tests.support.rig import changed


async def test_settings_are_listed_without_their_secrets(babygun: Command) -> None:
    settings = changed(babygun.settings, etcd_password="hunter2")
    result = await Command(settings, babygun.folder)("settings")
    assert "BABYGUN_ETCD_PASSWORD" in result.out and "(set)" in result.out
    assert "hunter2" not in result.out


async def test_settings_are_listed_as_a_variable_would_hold_them(babygun: Command) -> None:
    settings = changed(
        babygun.settings,
        etcd_endpoints=("http://a:1", "http://b:2"),
        max_body=3 << 20,
        token_ttl=5400.0,
        retry_intervals=(0.25, 7200.0),
        relays={},
    )
    out = (await Command(settings, babygun.folder)("settings")).out
    shown = {
        line.split()[0]: " ".join(line[out.index("VALUE") : out.index("DEFAULT")].split())
        for line in out.splitlines()
    }
    wanted = {
        "ETCD_ENDPOINTS": "http://a:1, http://b:2",
        "MAX_BODY": "3MiB",
        "MAX_ATTACHMENTS": "20MiB",
        "TOKEN_TTL": "90m",
        "RETRY_INTERVALS": "250ms, 2h",
        "IDEMPOTENCY_RETENTION": "24h",
        "RELAYS": "-",
    }
    assert {name: shown[f"BABYGUN_{name}"] for name in wanted} == wanted


@pytest.mark.parametrize("words", [("api",), ("worker",), ("doctor",), ("settings",)])
async def test_setting_that_cannot_be_used_ends_each_command_with_a_sentence(
    babygun: Command, words: tuple[str, ...]
) -> None:
    command = Command(babygun.settings, babygun.folder, BABYGUN_ETCD_TIMEOUT="soon")
    result = await command(*words)
    assert result.status == 2
    assert result.error.startswith("babygun: BABYGUN_ETCD_TIMEOUT: 'soon' is not a duration")


def test_help_of_the_apis_address_names_every_command_that_calls_it() -> None:
    [row] = [row for row in table() if row.name == "api_url"]
    listed = re.findall(r"these commands call: (.*?)\.", row.help)[0].split(", ")
    calling = [
        command.name
        for command in COMMANDS
        if "call_api("
        in inspect.getsource(importlib.import_module(f"babygun.cli.{command.module}"))
    ]
    assert sorted(listed) == sorted(calling)
