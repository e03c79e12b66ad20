"""The operator's own demands, in place of those of a domain."""

from __future__ import annotations

from typing import Any

import pytest

from babygun.errors import SettingsError
from babygun.routing.routes import load_routes
from babygun.routing.sts import StsPolicy
from babygun.routing.tls_overrides import Override, read_overrides
from babygun.runtime.settings import Settings, load

PINNED = StsPolicy("enforce", ("mx1.a.example", "*.b.example"), 0)


@pytest.mark.parametrize(
    ("value", "override"),
    [
        ("none", Override()),
        ("encrypted", Override(encrypted=True)),
        ("dane", Override(dane=True)),
        (
            ["MX1.a.example", "*.b.example"],
            Override(sts=StsPolicy("enforce", ("mx1.a.example", "*.b.example"), 0)),
        ),
    ],
)
def test_override_of_a_domain_is_read(value: Any, override: Override) -> None:
    settings = Settings(tls_policies={"Bücher.Example": value}, dane_resolver="127.0.0.1")
    assert read_overrides(settings) == {"xn--bcher-kva.example": override}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("strict", "'none', 'encrypted', 'dane', or a list"),
        (True, "or a list"),
        ({"mx": []}, "or a list"),
        ([], "names of mail hosts"),
        (["192.0.2.1"], "names of mail hosts"),
        (["mx.a.example", 7], "names of mail hosts"),
        ("dane", "dane_resolver"),
    ],
)
def test_override_that_can_not_be_meant_is_refused(value: Any, why: str) -> None:
    with pytest.raises(SettingsError, match=f"tls_policies.a.example.*{why}"):
        load_routes(Settings(default="mx", tls_policies={"a.example": value}))


@pytest.mark.parametrize("resolver", ["192.0.2.53", "dns.example", "127.0.0.1@0"])
def test_resolver_of_dane_is_on_this_machine(resolver: str) -> None:
    with pytest.raises(SettingsError, match="BABYGUN_DANE_RESOLVER"):
        load({"BABYGUN_DANE_RESOLVER": resolver})
