"""Tokens: JWTs (RFC 7519, with the claims of RFC 9068) signed with HS256 by a key that all API processes find in etcd.

A verified token is remembered until it expires, for checking a signature costs more than the rest of a call's
bookkeeping. Whenever the clients, the keys or the revoked tokens change, all that was remembered is forgotten.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt
from aiohttp import web

from babygun.api.http.problem_types import INSUFFICIENT_SCOPE, INVALID_TOKEN, NO_TOKEN, NOT_READY
from babygun.api.http.problems import Problem
from babygun.runtime.identifiers import new_token
from babygun.store import Store
from babygun.store.access import clients as client_store
from babygun.store.access.known_clients import KnownClients
from babygun.store.records import SCOPES, Client, Scope

AUDIENCE = "babygun"
ISSUER = "babygun"
_REMEMBERED = 10_000  # tokens; bounds the memory, and all are verified anew then
_MAX_TOKEN = 4096  # bytes; ours have about 400


@dataclass(frozen=True, slots=True)
class Access:
    """What a valid token lets its bearer do."""

    client: Client
    scopes: tuple[Scope, ...]  # the token's, less those that the client has lost since
    jti: str
    issued_at: datetime
    expires_at: datetime

    def allows(self, scope: Scope) -> bool:
        return scope in self.scopes or "admin" in self.scopes

    @property
    def is_admin(self) -> bool:
        return "admin" in self.scopes


class Authenticator:
    """Issues and verifies tokens."""

    def __init__(self, store: Store, known_clients: KnownClients) -> None:
        self._store, self._known_clients = store, known_clients
        self._verified: dict[
            str, tuple[Access, float]
        ] = {}  # by the Authorization header; the float is its end
        known_clients.on_change.append(self._verified.clear)

    async def authorize(self, header: str | None, scope: Scope | None) -> Access:
        """Who sends this Authorization header, who must have ``scope``. Raises the problem that says why not."""
        known = self._verified.get(header or "")
        if known is None or time.time() >= known[1]:
            known = await self._remember(header)
        access = known[0]
        if scope is not None and scope not in access.scopes and "admin" not in access.scopes:
            challenge = f'Bearer realm="babygun", error="insufficient_scope", scope="{scope}"'
            raise Problem(
                INSUFFICIENT_SCOPE,
                f"This call needs the scope {scope}.",
                headers={"WWW-Authenticate": challenge},
            )
        return access

    def holds(self, access: Access, scope: Scope) -> bool:
        """Whether what was granted when a long call began still is: the token neither expired nor revoked, its client there with the scope."""
        client = self._known_clients.clients.get(access.client.id)
        alive = (
            access.jti not in self._known_clients.revoked
            and time.time() < access.expires_at.timestamp()
        )
        return (
            alive
            and client is not None
            and (scope in client.scopes or "admin" in client.scopes)
            and access.is_admin <= ("admin" in client.scopes)
        )

    def issue(self, client: Client, scopes: Sequence[Scope], seconds: float) -> tuple[str, Access]:
        """A new token. ``scopes`` must be among the client's."""
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
            "iat": now,
            "exp": expires,
            "jti": jti,
            "scope": " ".join(scopes),
        }
        token = jwt.encode(
            claims, key.secret, algorithm="HS256", headers={"kid": key.kid, "typ": "at+jwt"}
        )
        return token, Access(
            client,
            tuple(scopes),
            jti,
            datetime.fromtimestamp(now, UTC),
            datetime.fromtimestamp(expires, UTC),
        )

    async def revoke(self, access: Access) -> None:
        """The token is refused from now on here, and within a second everywhere."""
        await client_store.revoke_token(self._store, access.jti, access.expires_at)
        self._known_clients.revoked[access.jti] = None
        self._verified.clear()

    async def client(self, client_id: str) -> Client | None:
        """A client; asks etcd for one that is not known here yet."""
        self._check_ready()
        found = self._known_clients.clients.get(client_id)
        if (
            found is None
            and 0 < len(client_id) <= 128
            and client_id.isprintable()
            and client_id.isascii()
            and "/" not in client_id
        ):
            found = await client_store.get_client(self._store, client_id)
        return found

    async def _remember(self, header: str | None) -> tuple[Access, float]:
        access = await self._verify(_bearer(header))
        if len(self._verified) >= _REMEMBERED:
            self._verified.clear()
        known = (access, access.expires_at.timestamp())
        if (
            self._known_clients.clients.get(access.client.id) is access.client
        ):  # else its deletion could not make us forget
            self._verified[header or ""] = known
        return known

    async def _verify(self, token: str) -> Access:
        self._check_ready()
        claims = self._claims(token)
        jti, scope = claims["jti"], claims.get("scope", "")
        client = await self.client(claims["sub"])
        if jti in self._known_clients.revoked:
            raise invalid_token("The token has been revoked.")
        if client is None:
            raise invalid_token("The token's client does not exist any more.")
        granted = set(scope.split()) & set(client.scopes)
        scopes = tuple(s for s in SCOPES if s in granted)
        return Access(
            client,
            scopes,
            jti,
            datetime.fromtimestamp(claims["iat"], UTC),
            datetime.fromtimestamp(claims["exp"], UTC),
        )

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > _MAX_TOKEN:
            raise invalid_token("The token is too long.")
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") != "HS256":
                raise invalid_token("The token's algorithm is not HS256.")
            key = self._known_clients.signing_keys.get(str(header.get("kid")))
            if key is None:
                raise invalid_token("The token was signed with a key that is not known here.")
            claims: dict[str, Any] = jwt.decode(
                token,
                key.secret,
                algorithms=["HS256"],
                audience=AUDIENCE,
                options={"require": ["exp", "iat", "sub", "jti"], "verify_iat": False},
            )
        except jwt.ExpiredSignatureError:
            raise invalid_token("The token has expired.") from None
        except jwt.InvalidSignatureError:
            raise invalid_token("The token's signature is wrong.") from None
        except jwt.InvalidAudienceError:
            raise invalid_token("The token is not meant for Babygun.") from None
        except jwt.MissingRequiredClaimError as error:
            raise invalid_token(f"The token has no {error.claim}.") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise invalid_token("The token is malformed.") from None
        return claims

    def _check_ready(self) -> None:
        if not self._known_clients.ready.is_set():
            raise Problem(NOT_READY, "The API has not read its clients and keys from etcd yet.")


AUTHENTICATOR = web.AppKey("authenticator", Authenticator)
KNOWN_CLIENTS = web.AppKey("known clients", KnownClients)
ACCESS = web.RequestKey("access", Access)


def access_of(request: web.Request) -> Access:
    """Who calls; only for calls that need a token."""
    return request[ACCESS]


def invalid_token(reason: str) -> Problem:
    challenge = f'Bearer realm="babygun", error="invalid_token", error_description="{reason}"'
    return Problem(INVALID_TOKEN, reason, headers={"WWW-Authenticate": challenge})


def _bearer(header: str | None) -> str:
    if header is None:
        raise Problem(
            NO_TOKEN,
            "Send a token from POST /tokens as Authorization: Bearer <token>.",
            headers={"WWW-Authenticate": 'Bearer realm="babygun"'},
        )
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        raise Problem(
            NO_TOKEN,
            "The Authorization header must be of the form Bearer <token>.",
            headers={"WWW-Authenticate": 'Bearer realm="babygun"'},
        )
    return token.strip()
