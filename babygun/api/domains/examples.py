"""Examples of a sending domain's records and keys, for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

NAME = "example.com"
SELECTOR, NEXT_SELECTOR = "bg5f0c9d2a", "bg81e4a60c"
_NEW = "2026-11-25T09:00:00.120000Z"


def _record(purpose: str, name: str, value: str) -> dict[str, Any]:
    return {
        "purpose": purpose,
        "type": "TXT",
        "name": f"{name}.{NAME}",
        "value": value,
        "status": "unchecked",
        "found": [],
        "sentence": "",
    }


def _dkim(selector: str) -> dict[str, Any]:
    key = "v=DKIM1; k=rsa; p=<the public key>"
    return _record(f"dkim:{selector}", f"{selector}._domainkey", key)


_OTHERS = (
    _record("dmarc", "_dmarc", "v=DMARC1; p=none"),
    _record("tls_rpt", "_smtp._tls", f"v=TLSRPTv1; rua=mailto:postmaster@{NAME}"),
    _record("mta_sts", "_mta-sts", "v=STSv1; id=20261125090000"),
)
RECORDS: Sequence[dict[str, Any]] = [_dkim(SELECTOR), *_OTHERS]
"""Of a domain that was just made."""


def _missing(record: dict[str, Any]) -> dict[str, Any]:
    name = record["name"]
    sentence = f"DNS has no such record at {name} yet. A new one can take an hour to show"
    return record | {"status": "missing", "sentence": sentence}


_HINTS = (
    "for mail to the domain: others send reports there about TLS that failed",
    "for mail to the domain: it needs a policy file that the domain's mail hosts keep to",
)
LOOKED_UP = {
    "checked_at": "2026-11-25T09:10:00.120000Z",
    "records": [
        *map(_missing, RECORDS[:2]),
        *(
            record | {"status": "optional", "sentence": hint}
            for record, hint in zip(RECORDS[2:], _HINTS, strict=True)
        ),
    ],
}
"""After a look before the records are in DNS."""

ROTATED = {
    "status": "verified",
    "checked_at": _NEW,
    "records": [_dkim(SELECTOR), _dkim(NEXT_SELECTOR), *_OTHERS],
    "selectors": [
        {"state": "signing", "seen_at": _NEW, "signing_since": _NEW},
        {"name": NEXT_SELECTOR},
    ],
}
"""After a second key was made beside one that signs."""
