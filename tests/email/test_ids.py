"""Ids of e-mails: each is its own, and they sort by time."""

from __future__ import annotations

import os

from babygun.email.ids import created_ms, email_id, email_ids, is_email_id


def test_email_ids_of_one_instant_are_each_made_once() -> None:
    ids = [email_id(0, os.urandom(8).hex()) for _ in range(3000)]
    assert len({each[19:] for each in ids}) == 3000
    assert all(map(is_email_id, ids))


def test_email_ids_sort_by_their_time_and_hold_it() -> None:
    start = 1_700_000_000_000_000_000
    ids = [email_id(start + 250 * n, os.urandom(8).hex()) for n in range(4000)]
    assert ids == sorted(ids)
    assert created_ms(ids[0]) == start // 1_000_000


def test_ids_of_a_batch_are_the_same_each_time_and_differ_by_seed() -> None:
    assert email_ids(5, 10**18, b"a" * 16) == email_ids(5, 10**18, b"a" * 16)
    assert not set(email_ids(5, 10**18, b"a" * 16)) & set(email_ids(5, 10**18, b"b" * 16))
