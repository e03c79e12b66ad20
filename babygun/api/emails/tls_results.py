"""How answers show what a try's connection got of TLS."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from babygun.api.emails.fields import QueueName
from babygun.email.model import Email, TlsDemand, TlsResult, TlsVerified


class TlsDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What the last connection of a try got of TLS."""

    policy: Annotated[
        TlsDemand,
        Meta(
            description="What the recipient's domain demanded: sts (MTA-STS), sts_testing (failures"
            " are only reported), dane, or none.",
            examples=["none"],
        ),
    ]
    connected: Annotated[
        bool,
        Meta(
            description="False: TLS failed, and so nothing was sent over the connection.",
            examples=[True],
        ),
    ]
    version: Annotated[
        str | None,
        Meta(description="The version of TLS. Null: plain text.", examples=["1.3"]),
    ]
    cipher: Annotated[
        str | None,
        Meta(description="The cipher suite's name.", examples=["TLS_AES_256_GCM_SHA384"]),
    ]
    verified: Annotated[
        TlsVerified | None,
        Meta(
            description="What vouched for the server: pkix (an authority), dane_ee (a TLSA record"
            " for its certificate), dane_ta (one for an authority). Null: nothing did.",
            examples=["pkix"],
        ),
    ]
    failure: Annotated[
        str | None,
        Meta(
            description="How TLS failed, by a name of RFC 8460, 4.3. The reason of each recipient"
            " says it in words.",
            examples=[None],
        ),
    ]


class QueueTls(TlsDocument, frozen=True, kw_only=True):
    """What the last try of a queue got of TLS."""

    queue: QueueName


def tls_document(result: TlsResult | None) -> TlsDocument | None:
    return None if result is None else TlsDocument(**_fields(result))


def tls_of_queues(email: Email) -> list[QueueTls]:
    """Of all queues that had a connection."""
    return [
        QueueTls(queue=queue, **_fields(state.tls))
        for queue, state in email.queues.items()
        if state.tls is not None
    ]


def _fields(result: TlsResult) -> dict[str, Any]:
    return {
        "policy": result.policy,
        "connected": result.connected,
        "version": result.version or None,
        "cipher": result.cipher or None,
        "verified": result.verified,
        "failure": result.failure or None,
    }
