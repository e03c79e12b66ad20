"""The certificate of ``babygun dev --tls``, signed by an authority in the data folder."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from babygun.errors import SettingsError
from babygun.pki.issuance import issue
from babygun.pki.layout import https_only
from babygun.runtime.listening import EVERYWHERE, is_loopback
from babygun.runtime.settings import Settings


def with_tls(
    settings: Settings, wanted: bool | None, folder: Path, say: Callable[[str], None]
) -> Settings:
    """The settings with a certificate in them if TLS is wanted and the operator has set none.

    The certificate is made once and renewed in time. ``wanted`` None means: only if other
    machines can reach the API, so that no secret crosses a network unencrypted.
    """
    if wanted is None:
        wanted = not is_loopback(settings.api_host)
    if settings.api_cert or not wanted:
        return settings
    names = [name for name in (settings.api_host, socket.gethostname()) if name not in EVERYWHERE]
    try:
        for line in issue(folder, https_only(names)):
            say(f"certificate {line}")
    except SettingsError as error:
        raise SettingsError(f"can't make a certificate for the API: {error}") from None
    api = folder / "api"
    return replace(
        settings,
        api_cert=str(api / "https.pem"),
        api_key=str(api / "https-key.pem"),
        api_ca=str(api / "api-ca.pem"),
    )
