"""The certificates of the settings. Each problem is one sentence that names the file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from babygun.errors import SettingsError
from babygun.pki import certificates
from babygun.pki.certificates import (
    API,
    ETCD,
    Use,
    check,
    check_pair,
    expiries,
    read_certificate,
    require,
)
from babygun.runtime.settings import Settings
from tests.support.certificates import Authority, Pem

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


def settings_for(use: Use, authority: Authority, pem: Pem) -> Settings:
    if use == "api_cert":
        return Settings(api_cert=str(pem.cert), api_key=str(pem.key))
    return Settings(etcd_ca=str(authority.ca), etcd_cert=str(pem.cert), etcd_key=str(pem.key))


def test_certificate_is_read_with_its_names_and_times(authority: Authority) -> None:
    found = read_certificate(authority.sign("babygun-worker", ends=3 * DAY).cert)
    assert (found.subject, found.names) == ("babygun-worker", ("127.0.0.1",))
    now = datetime.now(UTC)
    assert found.not_before < now < found.not_after and abs(
        found.not_after - now - 3 * DAY
    ) < timedelta(minutes=1)


def _missing(pem: Pem, authority: Authority) -> None:
    pem.cert.unlink()


def _no_pem(pem: Pem, authority: Authority) -> None:
    pem.cert.write_text("rubbish")


def _broken(pem: Pem, authority: Authority) -> None:
    pem.cert.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


def _folder(pem: Pem, authority: Authority) -> None:
    pem.cert.unlink()
    pem.cert.mkdir()


def _key_missing(pem: Pem, authority: Authority) -> None:
    pem.key.unlink()


def _key_no_pem(pem: Pem, authority: Authority) -> None:
    pem.key.write_text("rubbish")


def _other_key(pem: Pem, authority: Authority) -> None:
    pem.key.write_bytes(authority.sign("other").key.read_bytes())


def _encrypted(pem: Pem, authority: Authority) -> None:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(pem.key.read_bytes(), None)
    pem.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"x"),
        )
    )


UNUSABLE: list[tuple[Callable[[Pem, Authority], None], str]] = [
    (_missing, "{cert} can't be read: No such file or directory"),
    (_no_pem, "{cert} holds no certificate in PEM"),
    (_broken, "{cert} holds no certificate in PEM"),
    (_folder, "{cert} can't be read: Is a directory"),
    (_key_missing, "{key} can't be read: No such file or directory"),
    (_key_no_pem, "{key} holds no private key in PEM"),
    (_other_key, "{key} is not the private key of the certificate {cert}"),
    (_encrypted, "{key} is encrypted with a passphrase; it must be a private key without one"),
]


@pytest.mark.parametrize(
    ("harm", "sentence"), UNUSABLE, ids=[harm.__name__.strip("_") for harm, _ in UNUSABLE]
)
@pytest.mark.parametrize("use", ["etcd_cert", "api_cert"])
def test_pair_that_can_not_be_used_ends_the_start_with_a_sentence(
    authority: Authority, use: Use, harm: Callable[[Pem, Authority], None], sentence: str
) -> None:
    pem = authority.sign("client")
    harm(pem, authority)
    sentence = sentence.format(cert=pem.cert, key=pem.key)
    assert check_pair(pem.cert, pem.key, now=NOW) == [sentence]
    with pytest.raises(SettingsError) as raised:
        require(settings_for(use, authority, pem), API)
    assert str(raised.value) == f"{use}: {sentence}"


@pytest.mark.parametrize(
    ("begins", "ends", "words"),
    [(-2 * DAY, -DAY, "has expired on 20"), (DAY, 2 * DAY, "is not valid before 20")],
)
def test_certificate_out_of_its_time_ends_the_start_of_a_client_and_warns_a_server(
    authority: Authority, begins: timedelta, ends: timedelta, words: str
) -> None:
    pem = authority.sign("client", begins=begins, ends=ends)
    assert words in check_pair(pem.cert, pem.key, now=NOW)[0]
    with pytest.raises(SettingsError, match=words):
        require(settings_for("etcd_cert", authority, pem), ETCD)
    [warning] = require(settings_for("api_cert", authority, pem), API)
    assert warning.startswith(f"api_cert: the certificate {pem.cert}") and words in warning


@pytest.mark.parametrize("use", ["etcd_cert", "api_cert"])
@pytest.mark.parametrize(("days", "warned"), [(13, True), (15, False)])
def test_certificate_that_ends_within_two_weeks_is_a_warning(
    authority: Authority, use: Use, days: int, warned: bool
) -> None:
    pem = authority.sign("soon", ends=days * DAY)
    warnings = require(settings_for(use, authority, pem), API)
    assert [sentence.partition(" expires on")[0] for sentence in warnings] == (
        [f"{use}: the certificate {pem.cert}"] if warned else []
    )


def test_authority_that_can_not_be_used_ends_the_start(
    authority: Authority, tmp_path: Path
) -> None:
    for path, words in (
        (tmp_path / "none.pem", "can't be read: No such file"),
        (tmp_path / "rubbish.pem", "holds no certificate in PEM"),
    ):
        if "rubbish" in path.name:
            path.write_text("rubbish")
        with pytest.raises(SettingsError, match=f"etcd_ca: {path} {words}"):
            require(Settings(etcd_ca=str(path)), ETCD)
    old = authority.sign("old", begins=-2 * DAY, ends=-DAY)
    with pytest.raises(SettingsError, match=r"etcd_ca: the certificate .*old\.pem has expired"):
        require(Settings(etcd_ca=str(old.cert)), ETCD)


def test_one_good_authority_of_two_is_enough(authority: Authority, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(
        authority.sign("old", begins=-2 * DAY, ends=-DAY).cert.read_bytes()
        + authority.ca.read_bytes()
    )
    assert require(Settings(etcd_ca=str(bundle)), ETCD) == []


def test_files_that_a_process_does_not_use_are_none_of_its_business(authority: Authority) -> None:
    assert require(Settings(api_cert="/nowhere", api_key="/nowhere"), ETCD) == []


def test_expiries_have_the_end_of_each_certificate_in_use(authority: Authority) -> None:
    pem = authority.sign("client", ends=5 * DAY)
    found = expiries(settings_for("etcd_cert", authority, pem), API)
    assert (
        set(found) == {"etcd_ca", "etcd_cert"}
        and found["etcd_cert"] == read_certificate(pem.cert).not_after
    )
    assert expiries(Settings(api_cert="/nowhere", api_key="/nowhere"), API) == {}


def test_check_takes_the_time_that_it_is_given(authority: Authority) -> None:
    pem = authority.sign("client")
    settings = settings_for("etcd_cert", authority, pem)
    assert check(settings, ETCD, now=NOW) == ([], [])
    assert len(check(settings, ETCD, now=NOW + 200 * DAY).errors) == 2
    assert certificates.SOON == 14 * DAY


def test_certificate_that_python_313_refuses_gets_a_warning(tmp_path: Path) -> None:
    bare = Authority(tmp_path / "bare", bare=True)
    pem = bare.sign("api")
    pem.cert.write_bytes(pem.cert.read_bytes() + bare.ca.read_bytes())
    errors, warnings = check(settings_for("api_cert", bare, pem), API)
    assert errors == [] and warnings == [
        f"api_cert: the certificate {pem.cert} lacks {name}: clients on Python 3.13 and newer"
        " refuse it"
        for name in (
            "an Authority Key Identifier",
            "a Subject Key Identifier",
            "a Key Usage",
            "Basic Constraints that are critical",
        )
    ]
