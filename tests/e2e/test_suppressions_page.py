"""The commands of docs/suppressions.md work as they are pasted, where ``babygun dev`` runs."""

from __future__ import annotations

import csv
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import aiohttp

from babygun.dev.etcd.binary import find_etcd
from tests.support.development import answered, dev_in
from tests.support.needs import needs
from tests.support.paths import ROOT

pytestmark = [
    needs(find_etcd(), "no etcd to test with: run `make install`"),
    needs(shutil.which("curl"), "the page's commands need curl"),
]

PAGE = (ROOT / "docs/suppressions.md").read_text()


async def test_commands_of_the_page_of_suppressions_work(tmp_path: Path) -> None:
    async with dev_in(tmp_path) as dev:
        await dev.start()
        state = await dev.running()
        script = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
        script = script.replace("http://127.0.0.1:8080", state["api_url"])
        babygun = f'babygun() {{ {sys.executable} -m babygun "$@"; }}\n'
        text = await dev.paste(babygun + script)
        async with aiohttp.ClientSession() as session:

            async def caught() -> Any:
                async with session.get(f"{state['mailbox_url']}/messages") as answer:
                    return (await answer.json())["messages"]

            (message,) = await answered(caught, bool)
    assert message["recipients"] == ["bob@example.org"]
    assert "taken off 1 list: *\n" in text and "taken off 1 list: news\n" in text
    assert '"by":' in text and "2 added, 0 there already, 0 bad" in text
    assert '"added":0,"kept":2' in text and "0 added, 2 there already, 0 bad" in text
    rows = list(csv.reader((dev.folder / "all.csv").read_text().splitlines()))
    assert [row[:3] for row in rows[1:]] == [
        ["dora@example.org", "*", "hard_bounce"],
        ["bob@example.org", "news", "unsubscribe"],
    ]
    assert "bob@example.org" in (dev.folder / "news.ndjson").read_text()
