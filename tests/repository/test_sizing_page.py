"""The arithmetic of docs/sizing.md, on a real etcd."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from babygun.store.keys import range_end
from tests.support.paths import ROOT
from tests.support.rig import Rig

PAGE = (ROOT / "docs/sizing.md").read_text()


def figure(words: str) -> float:
    """The number behind these words in a table of the page."""
    found = re.search(rf"^\| {re.escape(words)}[^|]*\| ([\d,]+)", PAGE, re.MULTILINE)
    assert found, words
    return float(found[1].replace(",", ""))


async def test_email_takes_in_etcd_what_the_page_says(rig: Rig) -> None:
    prefix = rig.settings.prefix.encode()
    taken: dict[int, Counter[str]] = {}
    async with rig.worker():
        for recipients in (1, 101):
            addresses = [f"someone-{number}@mail.example.org" for number in range(recipients)]
            email_id = await rig.send(*addresses, body="x" * 20_000)
            await rig.ended(email_id)
            kvs = (await rig.store.client.range(prefix, range_end(prefix))).kvs
            taken[recipients] = Counter()
            for kv in kvs:
                if email_id.encode() in kv.key:
                    kind = kv.key.removeprefix(prefix).split(b"/")[0].decode()
                    taken[recipients][kind] += len(kv.key) + len(kv.value)
    assert taken[1]["contents"] == pytest.approx(20_000 + figure("beside the content"), abs=60)
    further = (taken[101].total() - taken[1].total()) / 100
    assert further == pytest.approx(figure("each further recipient"), rel=0.15)


def test_other_pages_say_how_many_emails_a_quota_holds_as_this_one_has_it() -> None:
    """Up to where the oldest contents go early: 70 % of the quota."""
    in_file = re.search(r"([\d,]+) bytes of etcd's file in use for each", PAGE)
    assert in_file
    each = float(in_file[1].replace(",", ""))
    assert each == 1000 + figure("beside the content") + figure("record, log, marks")
    for path in ("etcd/README.md", "docs/operations.md"):
        text = " ".join((ROOT / path).read_text().split())
        [(quota, millions)] = re.findall(r"(\d+) GiB holds ([\d.]+) million final e-mails", text)
        holds = 0.7 * float(quota) * 2**30 / each
        assert float(millions) * 1e6 == pytest.approx(holds, rel=0.02)


def test_table_of_installations_follows_from_the_arithmetic() -> None:
    record, further = figure("record, log, marks"), figure("each further recipient")
    assert further < record
    rows = re.findall(
        r"^\| ([\d,]+) \| ([\d,]+) KB \| ([\d.]+) GB \| ([\d.]+) GiB \| ([\d.]+) GiB \|$",
        PAGE,
        re.MULTILINE,
    )
    assert len(rows) >= 4
    for row in rows:
        a_day, content, in_use, quota, disk = (float(each.replace(",", "")) for each in row)
        needed = 1.15 * a_day * (1 * (content * 1000 + figure("beside the content")) + 7 * record)
        assert in_use == pytest.approx(needed / 1e9, rel=0.1, abs=0.06)
        assert quota == pytest.approx(needed / 0.7 / 2**30, rel=0.1, abs=0.06)
        assert disk == pytest.approx(2 * quota, rel=0.1, abs=0.06)
