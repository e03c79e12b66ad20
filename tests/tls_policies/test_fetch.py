"""A policy is fetched, or it is said why not. Real https, with an authority of the tests' own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web

from babygun.dns import Resolver
from babygun.errors import OutOfResources
from babygun.routing.sts import StsPolicy
from babygun.runtime.settings import Settings
from babygun.tls_policies import fetch
from babygun.tls_policies.fetch import FetchFailed, PolicyFetcher
from tests.support.certificates import Authority
from tests.support.policy_host import PolicyHost, policy_host
from tests.support.processes import no_more_descriptors

POLICY = StsPolicy("enforce", ("mx.a.example",), 86400)


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[PolicyHost]:
    async with policy_host(Settings(), tmp_path) as host:
        yield host


async def fetched(host: PolicyHost, settings: Settings | None = None) -> StsPolicy:
    settings = settings or host.settings
    fetcher = PolicyFetcher(settings, Resolver(settings.resolvers))
    try:
        return await fetcher.fetch("a.example")
    finally:
        await fetcher.close()


async def failure(host: PolicyHost, settings: Settings | None = None) -> tuple[str, str]:
    with pytest.raises(FetchFailed) as failed:
        await fetched(host, settings)
    return failed.value.violation.result_type, failed.value.violation.text


async def test_policy_is_fetched_from_the_domains_policy_host(host: PolicyHost) -> None:
    assert await fetched(host) == POLICY
    assert host.asked == 1


async def test_request_says_nothing_that_it_need_not(host: PolicyHost) -> None:
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request)
        response = web.Response(text=host.policy)
        response.set_cookie("who", "me")
        return response

    host.answer = answer
    for _ in range(2):
        await fetched(host)
    for request in seen:
        assert request.method == "GET" and request.path == "/.well-known/mta-sts.txt"
        assert "Cookie" not in request.headers


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (web.Response(status=404), "answered 404"),
        (web.Response(status=500, text="version: STSv1"), "answered 500"),
        (web.Response(status=302, headers={"Location": "/elsewhere"}), "answered 302"),
        (web.Response(status=204), "answered 204"),
        (web.Response(text="<p>", content_type="text/html"), "text/html"),
    ],
)
async def test_answer_that_is_no_policy_is_a_failure(
    host: PolicyHost, response: web.Response, why: str
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return response

    host.answer = answer
    result, text = await failure(host)
    assert result == "sts-policy-fetch-error" and why in text
    assert host.asked == 1  # no redirect is followed


@pytest.mark.parametrize(
    ("policy", "why"),
    [("version: STSv1\nmode: strict\n", "mode"), ("x" * (64 * 1024 + 1), "64 KiB")],
)
async def test_policy_that_can_not_be_used_is_invalid(
    host: PolicyHost, policy: str, why: str
) -> None:
    host.policy = policy
    result, text = await failure(host)
    assert result == "sts-policy-invalid" and why in text


async def test_compressed_answer_is_not_unpacked(host: PolicyHost) -> None:
    async def bomb(request: web.Request) -> web.Response:
        response = web.Response(text="0" * 10_000_000)
        response.enable_compression(web.ContentCoding.gzip)
        return response

    host.answer = bomb
    assert (await failure(host))[0] == "sts-policy-invalid"


async def test_answer_that_does_not_end_is_given_up(
    host: PolicyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_LONGEST", 0.3)

    async def never(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    host.answer = never
    result, text = await failure(host)
    assert result == "sts-policy-fetch-error" and "in time" in text


@pytest.mark.parametrize(
    ("sign", "why"),
    [
        (lambda ca: ca.sign("other", hosts=("a.example",)), "mta-sts.a.example"),
        (
            lambda ca: ca.sign(
                "old",
                hosts=("mta-sts.a.example",),
                begins=timedelta(days=-9),
                ends=timedelta(days=-1),
            ),
            "expired",
        ),
    ],
)
async def test_certificate_that_is_not_valid_for_the_policy_host_is_refused(
    tmp_path: Path, sign: object, why: str
) -> None:
    async with policy_host(Settings(), tmp_path, certificate=sign) as host:  # type: ignore[arg-type]
        result, text = await failure(host)
    assert result == "sts-webpki-invalid" and why in text
    assert host.asked == 0


async def test_certificate_of_an_unknown_authority_is_refused(
    host: PolicyHost, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other").ca
    result, text = await failure(host, replace(host.settings, sts_ca=str(other)))
    assert result == "sts-webpki-invalid" and "issuer" in text


async def test_policy_host_in_our_own_network_is_not_asked(host: PolicyHost) -> None:
    result, text = await failure(host, replace(host.settings, allow_networks=()))
    assert result == "sts-policy-fetch-error" and "not public" in text
    host.address = "169.254.169.254"
    assert "not public" in (await failure(host))[1]
    assert host.asked == 0


async def test_policy_host_that_nobody_answers_at_is_a_failure(host: PolicyHost) -> None:
    result, text = await failure(host, replace(host.settings, sts_port=1))
    assert result == "sts-policy-fetch-error" and "mta-sts.a.example" in text


async def test_lack_of_descriptors_is_no_failure_of_the_domain(host: PolicyHost) -> None:
    resolver = Resolver(host.settings.resolvers)
    fetcher = PolicyFetcher(host.settings, resolver)
    await fetcher.https.open()
    await resolver.lookup("mta-sts.a.example", "A")
    await resolver.lookup("mta-sts.a.example", "AAAA")
    with no_more_descriptors(), pytest.raises(OutOfResources):
        await fetcher.fetch("a.example")
    await fetcher.close()
