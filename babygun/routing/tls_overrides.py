"""Reads from the settings what the operator demands of domains, in place of what they say."""

from __future__ import annotations

from typing import NamedTuple

from babygun.email.domains import ascii_domain
from babygun.errors import SettingsError
from babygun.routing.sts import StsPolicy, host_patterns
from babygun.runtime.settings import Settings


class Override(NamedTuple):
    """What the operator demands of a domain, in place of what the domain says.

    With no field: nothing is demanded.
    """

    encrypted: bool = False
    dane: bool = False
    sts: StsPolicy | None = None


_WORDS = {"none": Override(), "encrypted": Override(encrypted=True), "dane": Override(dane=True)}


def read_overrides(settings: Settings) -> dict[str, Override]:
    """The setting ``tls_policies``, by domain in ASCII. Raises SettingsError."""
    found: dict[str, Override] = {}
    for domain, value in settings.tls_policies.items():
        where = f"tls_policies.{domain}"
        try:
            name = ascii_domain(domain).lower().removesuffix(".")
        except ValueError as error:
            raise SettingsError(f"{where}: {error}") from None
        if isinstance(value, list):
            mx = host_patterns(each for each in value if isinstance(each, str))
            if not mx or len(mx) != len(value):
                raise SettingsError(
                    f"{where}: the list must have names of mail hosts only, such as"
                    " ['mx1.example.com', '*.mail.example.com']"
                )
            found[name] = Override(sts=StsPolicy("enforce", mx, 0))
        elif isinstance(value, str) and value in _WORDS:
            found[name] = _WORDS[value]
        else:
            raise SettingsError(
                f"{where}: must be {', '.join(map(repr, _WORDS))}, or a list of mail hosts"
            )
        if value == "dane" and not settings.dane_resolver:
            raise SettingsError(f"{where}: 'dane' needs the setting dane_resolver")
    return found
