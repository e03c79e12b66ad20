"""Random identifiers: each is made once, whichever process makes it."""

from __future__ import annotations

import subprocess
import sys

from babygun.runtime.identifiers import new_short_id

FORKING = """
import os
from babygun.runtime.identifiers import new_short_id
new_short_id()
if not os.fork():
    print(new_short_id(), flush=True)
    os._exit(0)
os.wait()
print(new_short_id())
"""


def test_new_short_ids_are_each_made_once_and_have_16_hex_digits() -> None:
    ids = [new_short_id() for _ in range(3000)]
    assert len(set(ids)) == 3000
    assert {(len(each), *set(each) - set("0123456789abcdef")) for each in ids} == {(16,)}


def test_forked_process_makes_other_ids_than_its_parent() -> None:
    said = subprocess.run(
        [sys.executable, "-c", FORKING], capture_output=True, text=True, check=True, timeout=30
    ).stdout.split()
    assert len(set(said)) == 2
