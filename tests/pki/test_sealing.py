"""Secrets at rest: what is sealed can be opened with its key and under its name only."""

from __future__ import annotations

from pathlib import Path

import pytest

from babygun.errors import SettingsError
from babygun.pki.sealing import CannotOpen, Sealer, key_id, load_sealer, new_key
from babygun.runtime.settings import Settings, load

FIRST, SECOND = bytes(range(32)), bytes(range(1, 33))
NAME, OTHER = b"DKIM key example.com/a", b"DKIM key example.com/b"


def test_sealed_secret_does_not_show_and_opens_again() -> None:
    sealer = Sealer([FIRST])
    sealed = sealer.seal(b"the secret", NAME)
    assert b"secret" not in sealed
    assert sealer.open(sealed, sealer.key_id, NAME) == b"the secret"
    assert sealer.seal(b"the secret", NAME) != sealed, "each has a nonce of its own"


def test_first_key_seals_and_all_of_them_open() -> None:
    before = Sealer([FIRST])
    sealed = before.seal(b"the secret", NAME)
    after = Sealer([SECOND, FIRST])
    assert after.key_id == key_id(SECOND) != before.key_id == key_id(FIRST)
    assert after.open(sealed, before.key_id, NAME) == b"the secret"


def test_secret_of_another_key_names_the_missing_one() -> None:
    sealed = Sealer([FIRST]).seal(b"the secret", NAME)
    with pytest.raises(CannotOpen, match=f"{key_id(FIRST)}.* add it to secrets_key_file"):
        Sealer([SECOND]).open(sealed, key_id(FIRST), NAME)


@pytest.mark.parametrize("change", ["name", "bit", "cut", "empty"])
def test_secret_that_was_changed_does_not_open(change: str) -> None:
    sealer = Sealer([FIRST])
    sealed = sealer.seal(b"the secret", NAME)
    changed = {
        "name": sealed,
        "bit": sealed[:-1] + bytes([sealed[-1] ^ 1]),
        "cut": sealed[:20],
        "empty": b"",
    }[change]
    with pytest.raises(CannotOpen, match="changed"):
        sealer.open(changed, sealer.key_id, OTHER if change == "name" else NAME)


def test_settings_give_keys_by_variable_or_by_file(tmp_path: Path) -> None:
    keys = [new_key(), new_key()]
    path = tmp_path / "keys"
    path.write_text(f"# about\n\n{keys[0]}\n  {keys[1]}  \n")
    by_file = load_sealer(Settings(secrets_key_file=str(path)))
    by_variable = load_sealer(load({"BABYGUN_SECRETS_KEYS": ", ".join(keys)}))
    assert by_file and by_variable and by_file.key_id == by_variable.key_id
    sealed = by_file.seal(b"x", NAME)
    assert by_variable.open(sealed, by_file.key_id, NAME) == b"x"
    assert load_sealer(Settings()) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no key"),
        ("# only this\n", "has no key"),
        ("c2hvcnQ=\n", "can't be read; a key is 32 random bytes"),
        ("not base64!\n", "can't be read; a key is 32 random bytes"),
        ("ключ\n", "secrets_key_file"),
    ],
)
def test_key_file_that_has_no_key_is_refused_without_showing_it(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(SettingsError, match=said) as refused:
        load_sealer(Settings(secrets_key_file=str(path)))
    assert not text.strip() or text.strip() not in str(refused.value)


def test_missing_key_file_and_two_sources_are_refused(tmp_path: Path) -> None:
    missing = str(tmp_path / "none")
    with pytest.raises(SettingsError, match="none"):
        load_sealer(Settings(secrets_key_file=missing))
    with pytest.raises(SettingsError, match="both"):
        load_sealer(Settings(secrets_key_file=missing, secrets_keys=(new_key(),)))
