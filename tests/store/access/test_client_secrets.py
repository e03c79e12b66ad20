"""The secrets of clients: which ones are taken, and until when. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import pytest

from babygun.errors import Conflict
from babygun.runtime.clock import utc_now
from babygun.store import codec
from babygun.store.access.client_secrets import MOST_REPLACED, hash_of, rotated, verify_secret
from babygun.store.records import Client

NOW = utc_now()
HOUR = 3600.0  # s
LATER = NOW + timedelta(hours=1)
CLIENT = Client("shop", "shop", ("emails:send",), hash_of("one"), NOW)
SECRETS = ["one", "two", "three", *(f"secret {number}" for number in range(MOST_REPLACED))]


def test_secret_of_no_client_is_always_wrong() -> None:
    for secret in ("", "0" * 64, "\ud800"):
        assert not verify_secret(None, secret, NOW)


def given(client: Client, secret: str, now: datetime, grace: float, **options: bool) -> Client:
    return rotated(client, hash_of(secret), now, grace, **{"end_tokens": False, **options})


def taken(client: Client, now: datetime) -> list[str]:
    return [secret for secret in SECRETS if verify_secret(client, secret, now)]


def test_secret_before_the_present_one_is_taken_until_its_end() -> None:
    client = given(CLIENT, "two", NOW, HOUR)
    assert taken(client, NOW) == ["one", "two"] and taken(client, LATER) == ["two"]
    assert client.series == CLIENT.series


def test_secret_without_a_grace_is_refused_at_once_and_tokens_end_where_asked_for() -> None:
    client = given(CLIENT, "two", NOW, 0, end_tokens=True)
    assert taken(client, NOW) == ["two"] and client.series == CLIENT.series + 1


def test_each_secret_is_taken_until_its_own_end() -> None:
    """The second one may be one that nobody has seen: its answer was lost."""
    client = given(CLIENT, "two", NOW, HOUR)
    client = given(client, "three", NOW + timedelta(minutes=1), 60)
    assert taken(client, NOW + timedelta(minutes=1)) == ["one", "two", "three"]
    assert taken(client, NOW + timedelta(minutes=2)) == ["one", "three"]
    assert taken(client, LATER) == ["three"]
    later = given(client, SECRETS[3], LATER, HOUR)
    assert taken(later, LATER) == ["three", SECRETS[3]] and later.earlier == ()


def test_all_secrets_before_end_with_a_rotation_without_a_grace() -> None:
    client = given(given(CLIENT, "two", NOW, HOUR), "three", NOW, HOUR)
    assert taken(given(client, SECRETS[3], NOW, 0), NOW) == [SECRETS[3]]


def test_secret_before_beyond_the_most_is_refused_until_one_has_ended() -> None:
    client, all_taken, newest = CLIENT, SECRETS[: 1 + MOST_REPLACED], SECRETS[1 + MOST_REPLACED]
    for number, secret in enumerate(all_taken[1:]):
        client = given(client, secret, NOW, HOUR + number)
    assert taken(client, NOW) == all_taken
    with pytest.raises(Conflict, match=f"ends at {LATER:%Y-%m-%d %H:%M:%S} UTC"):
        given(client, newest, NOW, HOUR)
    assert taken(given(client, newest, LATER, HOUR), LATER) == [*all_taken[1:], newest]
    assert taken(given(client, newest, NOW, 0), NOW) == [newest]


def test_secret_that_is_there_already_changes_nothing() -> None:
    """Not even once the next one has taken its place."""
    client = rotated(CLIENT, "sha256:00:00", NOW, HOUR, end_tokens=True)
    assert rotated(client, "sha256:00:00", NOW, 0, end_tokens=True) is client
    client = given(client, "three", NOW, HOUR)
    assert rotated(client, "sha256:00:00", NOW, 0, end_tokens=True) is client


def test_version_without_earlier_secrets_reads_the_one_before() -> None:
    """Its record of a client has the field `previous` alone."""
    client = given(given(CLIENT, "two", NOW, HOUR), "three", NOW, HOUR)
    value = msgspec.json.decode(codec.encode_state(client))
    del value["earlier"]
    older = codec.decode_state(msgspec.json.encode(value), Client)
    assert taken(older, NOW) == ["two", "three"]
