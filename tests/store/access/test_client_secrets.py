"""The secrets of clients: which ones are taken, and until when. Pure."""

from __future__ import annotations

from datetime import timedelta

from babygun.runtime.clock import utc_now
from babygun.store.access.client_secrets import hash_of, rotated, verify_secret
from babygun.store.records import Client

NOW = utc_now()
LATER = NOW + timedelta(hours=1)
CLIENT = Client("shop", "shop", ("emails:send",), hash_of("one"), NOW)


def test_secret_of_no_client_is_always_wrong() -> None:
    for secret in ("", "0" * 64, "\ud800"):
        assert not verify_secret(None, secret, NOW)


def test_secret_before_the_present_one_is_taken_until_its_end() -> None:
    client = rotated(CLIENT, hash_of("two"), LATER, end_tokens=False)
    assert verify_secret(client, "two", NOW) and verify_secret(client, "one", NOW)
    assert verify_secret(client, "two", LATER) and not verify_secret(client, "one", LATER)
    assert client.series == CLIENT.series


def test_secret_without_a_grace_is_refused_at_once_and_tokens_end_where_asked_for() -> None:
    client = rotated(CLIENT, hash_of("two"), None, end_tokens=True)
    assert not verify_secret(client, "one", NOW) and client.series == CLIENT.series + 1


def test_third_secret_is_never_taken() -> None:
    client = rotated(CLIENT, hash_of("two"), LATER, end_tokens=False)
    client = rotated(client, hash_of("three"), LATER, end_tokens=False)
    assert [verify_secret(client, secret, NOW) for secret in ("one", "two", "three")] == [
        False,
        True,
        True,
    ]


def test_secret_that_is_there_already_changes_nothing() -> None:
    client = rotated(CLIENT, "sha256:00:00", LATER, end_tokens=True)
    assert rotated(client, "sha256:00:00", None, end_tokens=True) is client
