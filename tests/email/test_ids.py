"""Ids: each is its own, in order, whichever process makes it."""

from __future__ import annotations

import subprocess
import sys

from babygun.email.ids import email_ids, is_email_id
from babygun.intake.ids import new_email_id
from babygun.runtime.identifiers import new_short_id

FORKING = """
import os
from babygun.ids import new_short_id
new_short_id()
if not os.fork():
    print(new_short_id(), flush=True)
    os._exit(0)
os.wait()
print(new_short_id())
"""


def test_new_ids_are_each_made_once() -> None:
    ids = [new_email_id(0) for _ in range(3000)]
    assert len({email_id[19:] for email_id in ids} | {new_short_id() for _ in range(3000)}) == 6000
    assert all(map(is_email_id, ids))


def test_new_email_ids_sort_by_their_time_and_hold_it() -> None:
    ids = [new_email_id(1_700_000_000_000_000_000 + 250 * n) for n in range(4000)]
    assert ids == sorted(ids)


def test_new_short_id_has_16_hex_digits() -> None:
    assert {
        (len(request_id), *set(request_id) - set("0123456789abcdef"))
        for request_id in (new_short_id() for _ in range(600))
    } == {(16,)}


def test_forked_process_makes_other_ids_than_its_parent() -> None:
    said = subprocess.run(
        [sys.executable, "-c", FORKING], capture_output=True, text=True, check=True, timeout=30
    ).stdout.split()
    assert len(set(said)) == 2


def test_ids_of_a_batch_are_the_same_each_time_and_differ_by_seed() -> None:
    assert email_ids(5, 10**18, b"a" * 16) == email_ids(5, 10**18, b"a" * 16)
    assert not set(email_ids(5, 10**18, b"a" * 16)) & set(email_ids(5, 10**18, b"b" * 16))
