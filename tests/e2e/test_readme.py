"""The commands of the README work as they are pasted, in a folder where ``babygun dev`` runs."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

from babygun.dev.etcd.binary import find_etcd
from tests.support.development import dev_in
from tests.support.needs import needs
from tests.support.paths import ROOT

pytestmark = [
    needs(find_etcd(), "no etcd to test with: run `make install`"),
    needs(shutil.which("curl"), "the README's commands need curl"),
]


def commands(section: str) -> str:
    """The shell commands of a section of the README."""
    text = (ROOT / "README.md").read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    shown = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return "".join(block for block in shown if "make run" not in block)


async def test_commands_of_the_readme_send_an_email_and_show_it(tmp_path: Path) -> None:
    async with dev_in(tmp_path) as dev:
        await dev.start()
        await dev.running()
        programs = dev.folder / ".venv/bin"
        programs.mkdir(parents=True)
        (programs / "babygun").write_text(f'#!/bin/sh\nexec {sys.executable} -m babygun "$@"\n')
        (programs / "babygun").chmod(0o755)
        found = find_etcd()
        etcdctl = found.program("etcdctl") if found else None
        (programs / "etcdctl").symlink_to(etcdctl or shutil.which("true") or "/bin/true")
        text = await dev.paste(commands("Send") + "\n" + commands("See"))
    first = text.splitlines()[0].split()[0]
    second = json.JSONDecoder().raw_decode(text, text.index("{"))[0]["id"]
    assert re.search(rf"^{first} .* complete ", text, re.MULTILINE)
    assert re.search(rf"^{second} ", text, re.MULTILINE)
    assert '"recipients": ["ann@example.org"]' in text
    assert not etcdctl or f"/babygun/emails/{second}" in text
