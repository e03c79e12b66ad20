"""Files of ``babygun suppressions import`` and ``export``."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import sys
from contextlib import suppress
from io import BytesIO

import pytest

from babygun.cli.suppression_files import parts
from babygun.store.access.clients import list_clients
from tests.support.commands import Command
from tests.support.paths import ROOT
from tests.support.processes import PATIENCE, environment
from tests.support.proxy import proxy_to
from tests.support.rig import Rig, changed


def test_file_is_cut_between_rows_and_each_part_has_the_head() -> None:
    lines = [b"email,reply\r\n"] + [b'u%d@example.org,"a\nb"\n' % number for number in range(900)]
    cut = list(parts(BytesIO(b"".join(lines)), 1))
    assert len(cut) == 2 and all(part.head == lines[0] for part in cut)
    assert b"".join(line for part in cut for line in part.lines) == b"".join(lines[1:])
    assert cut[0].first == 2 and cut[0].lines[-1] == b'b"\n'
    first = len(cut[0].lines)
    assert cut[1].first == 2 + first
    assert cut[1].body.splitlines()[1].startswith(b"u")
    assert cut[1].line(2) == cut[1].first


def test_file_without_a_head_is_cut_by_lines() -> None:
    lines = [b"u%d@example.org\n" % number for number in range(2500)]
    cut = list(parts(BytesIO(b"".join(lines)), 1001))
    assert [part.first for part in cut] == [1001, 2001]
    assert [part.line(1) for part in cut] == [1001, 2001]
    assert sum(len(part.lines) for part in cut) == 1500
    assert not any(part.head for part in cut)


def test_quotation_mark_that_nobody_closes_keeps_no_more_together_than_the_api_would() -> None:
    lines = [b"u%d@example.org\n" % number for number in range(5000)]
    lines[10] = b'"u@example.org\n'
    assert max(len(part.lines) for part in parts(BytesIO(b"".join(lines)), 1)) < 1100


async def test_import_says_what_became_of_each_bad_row_and_goes_on_from_a_line(
    rig: Rig, with_api: Command
) -> None:
    rows = [f"u{number:04}@example.org,complaint" for number in range(2500)]
    rows[1] = "nobody,complaint"
    rows[2200] = "u2200@example.org,soon"
    file = with_api.folder / "list.csv"
    file.write_text("\n".join(["email,reason", *rows]))
    done = await with_api("suppressions", "import", "list.csv", "--list", "news")
    assert (done.status, done.out) == (1, "2498 added, 0 there already, 2 bad\n")
    first, second = done.error.splitlines()
    assert first == "line 3: The address has no @."
    assert second.startswith("line 2202: The reason must be one of")
    again = await with_api(
        "suppressions", "import", "list.csv", "--list", "news", "--from-line", "2001"
    )
    assert again.out == "0 added, 500 there already, 1 bad\n"
    taken = await with_api(
        "suppressions", "import", "-", "--reason", "manual", stdin=b'{"email": "ann@example.org"}'
    )
    assert (taken.status, taken.out) == (0, "1 added, 0 there already, 0 bad\n")
    missing = await with_api("suppressions", "import", "missing.csv")
    assert (missing.status, missing.error) == (
        2,
        "babygun: missing.csv: No such file or directory\n",
    )


@pytest.mark.parametrize("form", ["csv", "ndjson"])
async def test_export_is_imported_again(with_api: Command, form: str) -> None:
    rows = "".join(f"u{number:04}@example.org\n" for number in range(1001)).encode()
    await with_api("suppressions", "import", "-", stdin=rows)
    out = await with_api("suppressions", "export", "all", "--format", form)
    assert (out.status, out.error) == (0, "addresses written: 1001\n")
    back = await with_api("suppressions", "import", "all")
    assert back.out == "0 added, 1001 there already, 0 bad\n"
    some = await with_api("suppressions", "export", "--prefix", "u000", "--format", form)
    assert len(some.out.splitlines()) == 10 + (form == "csv")


async def test_import_goes_on_when_the_api_is_away_for_a_moment(with_api: Command) -> None:
    rows = "".join(f"u{number:04}@example.org\n" for number in range(6000)).encode()
    async with proxy_to(with_api.settings.api_url) as proxy:
        settings = changed(with_api.settings, api_url=proxy.url)
        proxy.cut_after(1500)  # the token and an answer or two
        done = await Command(settings, with_api.folder)("suppressions", "import", "-", stdin=rows)
        await proxy.was_cut()
    assert done.status == 0
    added, kept = (int(done.out.split()[place]) for place in (0, 2))
    assert added + kept == 6000


async def test_interrupted_import_says_where_to_go_on(rig: Rig, with_api: Command) -> None:
    file = with_api.folder / "many.csv"
    file.write_text("".join(f"u{number:06}@example.org\n" for number in range(30_000)))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "babygun", "suppressions", "import", "many.csv"),
        env=environment(with_api.settings) | {"PYTHONPATH": str(ROOT)},
        cwd=with_api.folder,
        stderr=asyncio.subprocess.PIPE,
    )
    client = rig.store.client
    identity = (await list_clients(rig.store))[0].identity
    first = rig.store.keys.suppression(identity, "*", "u000000@example.org")
    async with asyncio.timeout(PATIENCE):
        while not await client.get(first):  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, error = await process.communicate()
    assert process.returncode == 130
    found = re.fullmatch(
        r"the lines before (\d+) are done: go on with --from-line (\d+)\n", error.decode()
    )
    assert found and found[1] == found[2], error
    rest = await with_api("suppressions", "import", "many.csv", "--from-line", found[1])
    assert rest.status == 0
    added, kept = (int(rest.out.split()[place]) for place in (0, 2))
    assert added + kept == 30_001 - int(found[1]) and kept <= 1000


def all_of(terminal: int) -> bytes:
    """What was written to a terminal, up to its end. The kernel may hand it on in pieces."""
    said = b""
    with suppress(OSError), open(terminal, "rb", buffering=0) as file:  # EIO is the end
        while part := file.read(4096):
            said += part
    return said


async def test_progress_is_shown_on_a_terminal_and_gone_at_the_end(with_api: Command) -> None:
    rows = "".join(f"u{number:04}@example.org\n" for number in range(2500))
    (with_api.folder / "list").write_text(rows)
    here, terminal = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "babygun", "suppressions", "import", "list"),
        env=environment(with_api.settings) | {"PYTHONPATH": str(ROOT)},
        cwd=with_api.folder,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=terminal,
    )
    async with asyncio.timeout(PATIENCE):
        assert await process.wait() == 0
    os.close(terminal)
    said = all_of(here).decode()
    assert "40 %, 1,000 lines, 1,000 added, 0 kept, 0 refused" in said
    assert said.endswith("\r\x1b[K")
