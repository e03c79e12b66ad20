"""The certificate of ``babygun dev --tls``: of an authority of its own, in the data folder."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from babygun.errors import SettingsError
from babygun.pki import authority
from babygun.runtime.listening import EVERYWHERE, is_loopback
from babygun.runtime.settings import Settings


def with_tls(
    loaded: Settings, wanted: bool | None, folder: Path, say: Callable[[str], None]
) -> Settings:
    """The settings with a certificate in them, made once and renewed in time, where TLS is wanted and the operator has set none.

    ``wanted`` None: only where others than this machine can reach the API, so that no secret crosses a network in the clear.
    """
    if loaded.api_cert or not (wanted if wanted is not None else not is_loopback(loaded.api_host)):
        return loaded
    names = [name for name in (loaded.api_host, socket.gethostname()) if name not in EVERYWHERE]
    try:
        for line in authority.issue(folder, authority.https_only(names)):
            say(f"certificate {line}")
    except SettingsError as error:
        raise SettingsError(f"no certificate for the API could be made: {error}") from None
    api = folder / "api"
    return replace(
        loaded,
        api_cert=str(api / "https.pem"),
        api_key=str(api / "https-key.pem"),
        api_ca=str(api / "api-ca.pem"),
    )
