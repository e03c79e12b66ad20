"""The calls that say who may call: tokens, sessions, clients."""

from __future__ import annotations

from babygun.api.access import clients, session, tokens
from babygun.api.http import problem_types as problems
from babygun.api.http.route import READS, WRITES, Answer, Parameter, Route
from babygun.api.openapi import examples

ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/tokens",
        handler=tokens.issue_token,
        operation="issueToken",
        summary="Get a token",
        description="Client id and secret, by HTTP Basic or in the body, for a token. The secret stays out of all other calls.",
        tag="tokens",
        basic=True,
        body=tokens.TokenRequest,
        body_required=False,
        body_examples=examples.TOKEN_REQUESTS,
        answer=Answer(200, "A new token.", tokens.Token, examples.TOKEN),
        problems=(
            problems.INVALID_CREDENTIALS,
            problems.INSUFFICIENT_SCOPE,
            problems.NOT_READY,
            *READS,
        ),
    ),
    Route(
        method="GET",
        path="/tokens",
        handler=tokens.show_token,
        operation="showToken",
        summary="Ask whether the token is valid",
        description="Tells of the token in the Authorization header; one that is not valid gets 401 with the reason.",
        tag="tokens",
        needs="token",
        answer=Answer(200, "The token is valid.", tokens.TokenInfo, examples.TOKEN_INFO),
        problems=READS,
    ),
    Route(
        method="DELETE",
        path="/tokens",
        handler=tokens.revoke_token,
        operation="revokeToken",
        summary="Revoke the token",
        description="The token in the Authorization header is refused from now on, by every API process within a second.",
        tag="tokens",
        needs="token",
        answer=Answer(204, "The token is revoked."),
        problems=WRITES,
    ),
    Route(
        method="POST",
        path="/session",
        handler=session.sign_in,
        operation="signIn",
        summary="Sign in with a cookie",
        description=(
            "For pages of this API's own origin: client id and secret for a token in a cookie, which then counts as the Authorization header where that is absent. "
            "This call, and each that the cookie authorizes and that is no GET, is refused unless `Sec-Fetch-Site` or `Origin` says that it comes from the same origin."
        ),
        tag="tokens",
        body=session.SessionRequest,
        body_examples=examples.SESSION_REQUESTS,
        answer=Answer(200, "Signed in.", session.Session, examples.SESSION, ("Set-Cookie",)),
        problems=(problems.INVALID_CREDENTIALS, problems.CROSS_SITE, problems.NOT_READY, *READS),
    ),
    Route(
        method="GET",
        path="/session",
        handler=session.show_session,
        operation="showSession",
        summary="Ask who is signed in",
        tag="tokens",
        needs="token",
        answer=Answer(200, "Signed in.", session.Session, examples.SESSION),
        problems=READS,
    ),
    Route(
        method="DELETE",
        path="/session",
        handler=session.sign_out,
        operation="signOut",
        summary="Sign out",
        description="Revokes the token, and has the browser forget the cookie.",
        tag="tokens",
        needs="token",
        answer=Answer(204, "Signed out.", headers=("Set-Cookie",)),
        problems=WRITES,
    ),
    Route(
        method="GET",
        path="/clients",
        handler=clients.list_clients,
        operation="listClients",
        summary="List the clients",
        tag="clients",
        needs="admin",
        answer=Answer(200, "All clients.", clients.ClientList, examples.CLIENTS),
        problems=READS,
    ),
    Route(
        method="POST",
        path="/clients",
        handler=clients.create_client,
        operation="createClient",
        summary="Make a client",
        description="The answer holds the client's secret, this once: only a hash of it is kept.",
        tag="clients",
        needs="admin",
        body=clients.ClientRequest,
        body_examples=examples.CLIENT_REQUESTS,
        answer=Answer(
            201, "The new client and its secret.", clients.NewClient, examples.NEW_CLIENT
        ),
        problems=(problems.CONFLICT, *WRITES),
    ),
    Route(
        method="DELETE",
        path="/clients/{id}",
        handler=clients.delete_client,
        operation="deleteClient",
        summary="Delete a client",
        description="Its tokens are refused within a second; its e-mails stay. A client can't delete itself.",
        tag="clients",
        needs="admin",
        parameters=(
            Parameter("id", "path", "The client's id.", {"type": "string"}, examples.CLIENT_ID),
        ),
        answer=Answer(204, "The client is gone."),
        problems=(problems.NOT_FOUND, problems.CONFLICT, *WRITES),
    ),
)
