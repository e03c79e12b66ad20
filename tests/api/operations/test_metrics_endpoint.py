"""GET /metrics of the API: what is counted, what is read from etcd, who may look, and etcd away."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from ipaddress import ip_network

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from babygun import __version__
from babygun.api.operations import cluster_reading as cluster
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from tests.support.api import RunningApi, StartApi
from tests.support.etcd_server import free_ports
from tests.support.processes import PATIENCE
from tests.support.proxy import Proxy


@pytest.fixture(autouse=True)
def always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "FRESH", 0.0)
    monkeypatch.setattr(cluster, "PATIENCE", 20.0)


async def test_accepted_emails_and_their_recipients_are_counted_once(api: RunningApi) -> None:
    before = await api.metrics()
    await api.accepted(to=["ann@example.org", "bob@example.org"], cc="cid@example.org")
    for _ in range(2):
        assert (await api.send(http_headers={"Idempotency-Key": "k"})).status == 202
    assert (await api.send(to="nonsense")).status == 422
    after = await api.metrics()
    assert after.since(before, "babygun_emails_accepted_total") == 2
    assert after.since(before, "babygun_recipients_accepted_total") == 4


async def test_requests_are_counted_by_route_and_never_by_path(api: RunningApi) -> None:
    before = await api.metrics()
    email_id = await api.accepted()
    for path, status in (
        (f"/emails/{email_id}", 200),
        ("/emails/nonsense", 404),
        ("/no/such/path", 404),
        ("/../etc/passwd", 404),
    ):
        assert (await api.call("GET", path)).status == status
    assert (await api.call("DELETE", "/emails")).status == 405
    assert (await api.call("PROPFIND", "/emails")).status == 405
    after = await api.metrics()
    for method, route, status, count in (
        ("POST", "/emails", "202", 1),
        ("GET", "/emails/{id}", "200", 1),
        ("GET", "/emails/{id}", "404", 1),
        ("GET", "_other", "404", 2),
        ("DELETE", "_other", "405", 1),
        ("_other", "_other", "405", 1),
        ("GET", "/metrics", "200", 1),
    ):
        assert (
            after.since(
                before, "babygun_http_requests_total", method=method, route=route, status=status
            )
            == count
        ), (method, route, status)
    assert (
        after.since(before, "babygun_http_request_seconds_count", method="POST", route="/emails")
        == 1
    )
    assert not any(
        email_id in str(labels) for labels in after.labels("babygun_http_requests_total")
    )


async def test_cancelled_email_is_counted_as_ended(api: RunningApi) -> None:
    before = await api.metrics()
    assert (await api.call("POST", f"/emails/{await api.accepted()}/cancel")).status == 200
    after = await api.metrics()
    assert after.since(before, "babygun_emails_ended_total", status="cancelled") == 1


async def test_depths_members_and_build_are_read_from_etcd(
    api: RunningApi, settings: Settings
) -> None:
    await api.accepted()
    await api.accepted(send_at=(utc_now() + timedelta(hours=1)).isoformat())
    seen = await api.metrics()
    assert seen.get("babygun_queue_jobs", queue="default", state="ready") == 1
    assert seen.get("babygun_queue_jobs", queue="default", state="waiting") == 1
    age = seen.get("babygun_oldest_job_seconds", queue="default", state="ready")
    assert age is not None and 0 < age < 60
    assert seen.get("babygun_oldest_job_seconds", queue="default", state="waiting") == 0
    assert (seen.get("babygun_owned_jobs"), seen.get("babygun_workers")) == (0, 0)
    [endpoint] = settings.etcd_endpoints
    assert seen.get("babygun_etcd_member_up", endpoint=endpoint) == 1
    assert (
        0
        < (seen.get("babygun_etcd_db_in_use_bytes", endpoint=endpoint) or 0)
        <= (seen.get("babygun_etcd_db_bytes", endpoint=endpoint) or 0)
    )
    assert (seen.get("babygun_etcd_quota_bytes", endpoint=endpoint) or 0) >= 2 << 30
    assert [labels["version"] for labels in seen.labels("babygun_build_info")] == [__version__]
    assert (seen.get("babygun_etcd_batch_transactions_count") or 0) > 0 and (
        seen.get("babygun_etcd_rpc_seconds_count", rpc="txn") or 0
    ) > 0
    assert seen.get("babygun_claims_total", outcome="claimed") is None, "that is the worker's"
    assert seen.get("process_start_time_seconds")


async def test_etcd_is_asked_once_for_all_who_scrape_within_some_seconds(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "FRESH", 3600.0)
    await asyncio.gather(*(api.metrics() for _ in range(10)))
    await api.accepted()
    assert (await api.metrics()).get("babygun_queue_jobs", queue="default", state="ready") == 0
    monkeypatch.setattr(cluster, "FRESH", 0.0)
    assert (await api.metrics()).get("babygun_queue_jobs", queue="default", state="ready") == 1


@pytest.mark.parametrize("how", ["cut", "swallow_answers"])
async def test_etcd_that_is_away_takes_its_numbers_along_and_nothing_else(
    start_api: StartApi, proxy: Proxy, how: str
) -> None:
    far = await start_api(etcd_endpoints=(proxy.url,), etcd_timeout=6.0)
    await far.accepted()
    assert (await far.metrics()).get("babygun_queue_jobs", queue="default", state="ready") == 1
    getattr(proxy, how)()
    seen = await far.metrics()
    assert seen.get("babygun_etcd_member_up", endpoint=proxy.url) == 0
    for name in (
        "queue_jobs",
        "oldest_job_seconds",
        "owned_jobs",
        "workers",
        "etcd_db_bytes",
        "etcd_db_in_use_bytes",
        "etcd_quota_bytes",
    ):
        assert not list(seen.labels(f"babygun_{name}")), name
    assert (seen.get("babygun_emails_accepted_total") or 0) >= 1
    proxy.mend()
    async with asyncio.timeout(PATIENCE):
        while (seen := await far.metrics()).get(
            "babygun_queue_jobs", queue="default", state="ready"
        ) != 1:
            pass
    assert seen.get("babygun_etcd_member_up", endpoint=proxy.url) == 1


async def test_member_that_is_down_does_not_hide_the_others(
    start_api: StartApi, settings: Settings
) -> None:
    gone = "http://127.0.0.1:9"
    api = await start_api(etcd_endpoints=(*settings.etcd_endpoints, gone), etcd_timeout=6.0)
    seen = await api.metrics()
    assert seen.get("babygun_etcd_member_up", endpoint=gone) == 0
    assert seen.get("babygun_etcd_member_up", endpoint=settings.etcd_endpoints[0]) == 1
    assert seen.get("babygun_workers") == 0


async def test_metrics_token_is_asked_for_where_it_is_set(start_api: StartApi) -> None:
    api = await start_api(metrics_token="a secret ü")
    (await api.call("GET", "/metrics", token="")).problem(401, "no-token")
    wrong = await api.call("GET", "/metrics", token="a secret")
    wrong.problem(401, "invalid-token")
    assert wrong.headers["WWW-Authenticate"].startswith("Bearer")
    (await api.call("GET", "/metrics")).problem(
        401, "invalid-token"
    )  # a client's token is none for this
    (
        await api.call("GET", "/metrics", headers={"Authorization": "Basic a secret ü"}, token="")
    ).problem(401, "invalid-token")
    assert (await api.call("GET", "/metrics", token="a secret ü")).status == 200


async def test_metrics_without_a_token_are_closed_to_callers_behind_a_proxy(
    start_api: StartApi,
) -> None:
    for trusted in ((), (ip_network("127.0.0.1"),)):
        api = await start_api(trusted_proxies=trusted)
        for mark in ("X-Forwarded-For", "Forwarded", "Via"):
            closed = await api.call("GET", "/metrics", token="", headers={mark: "192.0.2.7"})
            problem = closed.problem(404, "not-found")
            assert "metrics_token" in problem["detail"] and "api_process_port" in problem["detail"]
        assert (await api.call("GET", "/metrics", token="")).status == 200


async def test_metrics_without_a_token_are_open_at_the_own_port_and_with_one_at_every_port(
    start_api: StartApi,
) -> None:
    far = {"X-Forwarded-For": "192.0.2.7"}
    [port] = free_ports(1)
    api = await start_api(api_process_port=port)
    usual, api.url = api.url, f"http://127.0.0.1:{port}"
    assert (await api.call("GET", "/metrics", token="", headers=far)).status == 200
    api.url = usual
    closed = await start_api(metrics_token="s3cret")
    assert (await closed.call("GET", "/metrics", token="s3cret", headers=far)).status == 200


async def test_openmetrics_goes_to_those_who_accept_it(api: RunningApi) -> None:
    answer = await api.call(
        "GET",
        "/metrics",
        headers={
            "Accept": "application/openmetrics-text;version=1.0.0;q=0.5,"
            "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        },
    )
    assert (
        answer.headers["Content-Type"]
        == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    )
    assert answer.text.endswith("# EOF\n") and "babygun_workers" in {
        family.name for family in parse_openmetrics(answer.text)
    }
    for accept in ("application/openmetrics-text;q=0", "text/html", "nonsense;;=,", "*/*"):
        assert (
            (await api.call("GET", "/metrics", headers={"Accept": accept}))
            .headers["Content-Type"]
            .startswith("text/plain")
        )


async def test_head_of_metrics_has_the_headers_and_no_body(api: RunningApi) -> None:
    answer = await api.call("HEAD", "/metrics", token="")
    assert (
        answer.status == 200
        and answer.headers["Content-Type"].startswith("text/plain")
        and not answer.text
    )
    assert (
        answer.headers["Cache-Control"] == "no-store"
        and int(answer.headers["Content-Length"]) > 1000
    )


async def test_malformed_request_is_counted(api: RunningApi) -> None:
    before = await api.metrics()
    host, port = api.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"nonsense\r\n\r\n")
    assert b" 400 " in await reader.readline()
    writer.close()
    assert (await api.metrics()).since(
        before, "babygun_http_requests_total", method="_other", route="_other", status="400"
    ) == 1
