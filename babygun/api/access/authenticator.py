"""Tokens: JWTs (RFC 7519, claims of RFC 9068), signed with HS256.

All API processes find the signing keys in etcd. A verified token is remembered until it expires,
since checking a signature takes longer than the rest of a call's checks. A change of the clients,
keys or revoked tokens makes the process forget all of them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import jwt
import msgspec
from aiohttp import web

from babygun.api.access.sign_in_limits import SignInLimits
from babygun.api.http.problem_types import (
    INSUFFICIENT_SCOPE,
    INVALID_CREDENTIALS,
    INVALID_TOKEN,
    NO_TOKEN,
    NOT_READY,
)
from babygun.api.http.problems import Problem
from babygun.runtime.clock import utc_now
from babygun.runtime.identifiers import new_token
from babygun.store import Store
from babygun.store.access import clients as client_store
from babygun.store.access import tokens as token_store
from babygun.store.access.client_rules import is_client_id
from babygun.store.access.client_secrets import verify_secret
from babygun.store.access.known_clients import KnownClients
from babygun.store.records import SCOPES, Client, Scope

AUDIENCE = "babygun"
ISSUER = "babygun"
# Bytes of remembered tokens. More, and all are forgotten: 4 MiB are the tokens of 4,000 calls.
_REMEMBERED = 4 << 20
_OVERHEAD = 600  # bytes, about, that an entry takes beside its token
_MAX_TOKEN = 4096  # bytes; ours have about 400
_LATEST = 253402300799  # 9999-12-31T23:59:59Z in Unix time, the last second that a datetime holds


@dataclass(frozen=True, slots=True)
class Access:
    """What a valid token allows. ``scopes``: the token's, without those that its client lost since.

    ``jti``: the token's id.
    """

    client: Client
    scopes: tuple[Scope, ...]
    jti: str
    issued_at: datetime
    expires_at: datetime

    def allows(self, scope: Scope) -> bool:
        return scope in self.scopes or "admin" in self.scopes

    @property
    def is_admin(self) -> bool:
        return "admin" in self.scopes


class _Claims(msgspec.Struct, frozen=True):
    """What is read of a token whose signature is right. Times are in Unix time."""

    sub: str
    jti: str
    iat: Annotated[int, msgspec.Meta(ge=0, le=_LATEST)]
    exp: Annotated[int, msgspec.Meta(ge=0, le=_LATEST)]
    scope: str = ""
    serial: str = ""
    series: int = 0


class Authenticator:
    """Issues, verifies and revokes tokens."""

    def __init__(self, store: Store, known_clients: KnownClients) -> None:
        self._store, self._known_clients = store, known_clients
        self._limits = SignInLimits(store.settings.token_rate)
        # By the Authorization header; the number is the end of the token, in Unix time.
        self._verified: dict[str, tuple[Access, float]] = {}
        self._remembered = 0  # bytes
        known_clients.on_change.append(self._forget)

    async def authorize(self, header: str | None, scope: Scope | None) -> Access:
        """What the token in this Authorization header allows.

        Raises the problem that says why it is not valid, or does not allow ``scope``.
        """
        known = self._verified.get(header or "")
        if known is None or time.time() >= known[1]:
            known = await self._remember(header)
        access = known[0]
        if scope is not None and not access.allows(scope):
            raise lacks_scope(scope, f"This call needs the scope {scope}.")
        return access

    def holds(self, access: Access, scope: Scope) -> bool:
        """Whether a long call may go on: its token and its client still allow ``scope``."""
        client = self._known_clients.clients.get(access.client.id)
        alive = (
            access.jti not in self._known_clients.revoked
            and time.time() < access.expires_at.timestamp()
        )
        return (
            alive
            and client is not None
            and client.serial == access.client.serial
            and client.series == access.client.series
            and (scope in client.scopes or "admin" in client.scopes)
            and access.is_admin <= ("admin" in client.scopes)
        )

    def issue(self, client: Client, scopes: Sequence[Scope], seconds: float) -> tuple[str, Access]:
        """A new token, valid for ``seconds``. ``scopes`` must be among the client's."""
        self._check_ready()
        key = self._known_clients.signing_key
        if key is None:
            raise Problem(NOT_READY, "There is no signing key yet; one is being made.")
        now = int(time.time())
        expires = now + max(1, int(seconds))
        jti = new_token()
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": client.id,
            "client_id": client.id,
            "serial": client.serial,
            "series": client.series,
            "iat": now,
            "exp": expires,
            "jti": jti,
            "scope": " ".join(scopes),
        }
        token = jwt.encode(
            claims, key.secret, algorithm="HS256", headers={"kid": key.kid, "typ": "at+jwt"}
        )
        return token, Access(client, tuple(scopes), jti, _at(now), _at(expires))

    async def revoke(self, access: Access) -> None:
        """The token is refused here from now on, and everywhere within a second."""
        await token_store.revoke_token(self._store, access.jti, access.issued_at, access.expires_at)
        self._known_clients.revoked[access.jti] = None
        self._forget()

    async def client_with_secret(
        self, client_id: str, secret: str, *, address: str, challenge: str
    ) -> Client:
        """The client with this id and secret.

        A wrong secret costs what an unknown id does: two hashes, and a look into etcd, since the
        client may have been made this moment. So times say nothing of which ids there are.
        ``address``: the caller's. Raises the 401 problem with ``challenge``, or RateExceeded.
        """
        self._check_ready()
        client = self._known_clients.clients.get(client_id)
        if not verify_secret(client, secret, now := utc_now()):
            self._limits.check_refused(address, client_id)
            client = await self._read(client_id) if self._limits.may_read_etcd() else None
            if not verify_secret(client, secret, now):
                self._limits.refused(address, client_id)
                raise Problem(
                    INVALID_CREDENTIALS,
                    INVALID_CREDENTIALS.example,
                    headers={"WWW-Authenticate": challenge},
                )
        self._limits.granted(client.id)
        return client

    async def _read(self, client_id: str) -> Client | None:
        """The client as etcd has it now."""
        if not is_client_id(client_id):
            return None
        return await client_store.get_client(self._store, client_id)

    async def _remember(self, header: str | None) -> tuple[Access, float]:
        token = _bearer(header)
        access = await self._verify(token)
        known = (access, access.expires_at.timestamp())
        usual = f"Bearer {token}"
        # Another form of the header is verified each time: there are as many as one likes. The
        # deletion of a client that is not known here yet would not make us forget it.
        if header == usual and self._known_clients.clients.get(access.client.id) is access.client:
            self._remembered += len(usual) + _OVERHEAD
            if self._remembered > _REMEMBERED:
                self._forget()
            self._verified[usual] = known
        return known

    def _forget(self) -> None:
        self._verified.clear()
        self._remembered = 0

    async def _verify(self, token: str) -> Access:
        self._check_ready()
        claims = self._claims(token)
        client = self._known_clients.clients.get(claims.sub)
        if client is None or claims.series > client.series:  # a change has not come here yet
            client = await self._read(claims.sub)
        if claims.jti in self._known_clients.revoked:
            raise invalid_token("The token has been revoked.")
        if client is None or client.serial != claims.serial:
            raise invalid_token("The token's client does not exist any more.")
        if claims.series != client.series:
            raise invalid_token("All tokens of this client were ended: get a new one.")
        granted = set(claims.scope.split()) & set(client.scopes)
        scopes = tuple(s for s in SCOPES if s in granted)
        return Access(client, scopes, claims.jti, _at(claims.iat), _at(claims.exp))

    def _claims(self, token: str) -> _Claims:
        if len(token) > _MAX_TOKEN:
            raise invalid_token("The token is too long.")
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") != "HS256":
                raise invalid_token("The token's algorithm is not HS256.")
            key = self._known_clients.signing_keys.get(str(header.get("kid")))
            if key is None:
                raise invalid_token("The token was signed with a key that is not known here.")
            claims = jwt.decode(
                token,
                key.secret,
                algorithms=["HS256"],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={"require": ["exp", "iat", "sub", "jti"], "verify_iat": False},
            )
            return msgspec.convert(claims, _Claims)
        except jwt.ExpiredSignatureError:
            raise invalid_token("The token has expired.") from None
        except jwt.InvalidSignatureError:
            raise invalid_token("The token's signature is wrong.") from None
        except jwt.InvalidIssuerError:
            raise invalid_token("The token was not issued by Babygun.") from None
        except jwt.InvalidAudienceError:
            raise invalid_token("The token is not meant for Babygun.") from None
        except jwt.MissingRequiredClaimError as error:
            raise invalid_token(f"The token has no {error.claim}.") from None
        except (
            jwt.PyJWTError,
            msgspec.MsgspecError,
            ValueError,
            TypeError,
            OverflowError,
            RecursionError,
        ):
            raise invalid_token("The token is malformed.") from None

    def _check_ready(self) -> None:
        if not self._known_clients.ready.is_set():
            raise Problem(NOT_READY, NOT_READY.example)


AUTHENTICATOR = web.AppKey("authenticator", Authenticator)
KNOWN_CLIENTS = web.AppKey("known clients", KnownClients)
ACCESS = web.RequestKey("access", Access)


def access_of(request: web.Request) -> Access:
    """What the caller's token allows; only for calls that need a token."""
    return request[ACCESS]


def invalid_token(reason: str) -> Problem:
    challenge = f'Bearer realm="babygun", error="invalid_token", error_description="{reason}"'
    return Problem(INVALID_TOKEN, reason, headers={"WWW-Authenticate": challenge})


def lacks_scope(scope: Scope, detail: str) -> Problem:
    challenge = f'Bearer realm="babygun", error="insufficient_scope", scope="{scope}"'
    return Problem(INSUFFICIENT_SCOPE, detail, headers={"WWW-Authenticate": challenge})


def _bearer(header: str | None) -> str:
    """The token in an Authorization header. Raises the 401 problem."""
    scheme, _, token = (header or "").partition(" ")
    if header is None or scheme.lower() != "bearer":
        detail = (
            NO_TOKEN.example
            if header is None
            else "The Authorization header must be of the form Bearer <token>."
        )
        raise Problem(NO_TOKEN, detail, headers={"WWW-Authenticate": 'Bearer realm="babygun"'})
    return token.strip()


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
