"""The calls on warm-ups: the curve of each source, and what an operator does about one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from babygun.email.sending_domains import SendingDomain
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.warm_ups.counts import change, take
from babygun.store.warm_ups.sources import begin
from tests.support.api import RunningApi, StartApi
from tests.support.rig import quick
from tests.support.signatures import write_domain

ADDRESS, NEW = "192.0.2.7", "2001:db8::8"


@pytest.fixture
def api_settings(settings: Settings) -> Settings:
    return quick(
        settings,
        {},
        api_port=0,
        default="mx",
        warm_up="both",
        warm_up_table=(50, 100, 200),
        source_addresses=(ADDRESS, NEW),
    )


@pytest.fixture
async def admin(api: RunningApi) -> RunningApi:
    api.token = await api.token_for("admin")
    return api


@pytest.mark.usefixtures("one_day")
async def test_curve_of_each_source_is_shown_those_first_that_warm_up(
    admin: RunningApi, store: Store
) -> None:
    now = utc_now()
    first, second = now.date() - timedelta(days=1), now.date()
    kept = await begin(store, ADDRESS, now - timedelta(days=1))
    await begin(store, "example.com", now - timedelta(days=40))
    for day, ceiling in ((first, 50), (second, 100)):
        for site in ("mx:google", "mx:mx.a.example"):
            wanted = ceiling if site == "mx:google" else 7
            await take(store, kept, site, day, ceiling=ceiling, wanted=wanted, workers=9)
    await change(store, ADDRESS, "mx:google", second, put_off=30)
    answer = (await admin.call("GET", "/warm-ups")).json
    assert (answer["on"], answer["ceilings"]) == (True, [50, 100, 200])
    names = [source["source"] for source in answer["sources"]]
    assert names == [ADDRESS, NEW, "example.com"]
    one, unused, warm = answer["sources"]
    assert (one["kind"], one["began"], one["day"], one["ceiling"]) == (
        "address",
        str(first),
        2,
        100,
    )
    assert one == (await admin.call("GET", f"/warm-ups/{ADDRESS}")).json
    google, other = one["sites"]
    assert google["days"] == [
        {"date": str(first), "day": 1, "ceiling": 50, "sent": 50, "put_off": 0},
        {"date": str(second), "day": 2, "ceiling": 100, "sent": 100, "put_off": 30},
    ]
    assert google["waits"] == "warm-up of 192.0.2.7: day 2, 100 of 100 to google today"
    assert (other["site"], other["waits"]) == ("mx:mx.a.example", None)
    assert (unused["began"], unused["sites"]) == (None, [])
    assert (warm["kind"], warm["warm"], warm["ceiling"]) == ("domain", True, None)


@pytest.mark.usefixtures("one_day")
async def test_operator_skips_a_warm_up_and_begins_it_again(
    admin: RunningApi, store: Store
) -> None:
    now = utc_now()
    await write_domain(store, SendingDomain("example.com", ("shop",), now, now))
    for source in (NEW, "example.com"):  # also before the first use
        skipped = (await admin.call("POST", f"/warm-ups/{source}/skip")).json
        assert (skipped["warm"], skipped["skipped"]) == (True, True)
        again = (await admin.call("POST", f"/warm-ups/{source}/restart")).json
        assert (again["warm"], again["began"], again["day"]) == (False, str(now.date()), 1)
        assert again["set_by"].startswith("operator ")


async def test_calls_on_warm_ups_refuse_what_nobody_would_see(
    admin: RunningApi, start_api: StartApi
) -> None:
    for method, path in (
        ("GET", "/warm-ups/192.0.2.99"),
        ("POST", "/warm-ups/192.0.2.99/skip"),
        ("POST", "/warm-ups/example.org/restart"),
    ):
        (await admin.call(method, path)).problem(404, "not-found")
    fixed = await start_api(warm_up_began={ADDRESS: utc_now().date()})
    fixed.token = admin.token
    refused = await fixed.call("POST", f"/warm-ups/{ADDRESS}/skip")
    assert "setting warm_up_began" in refused.problem(409, "conflict")["detail"]
    off = await start_api(warm_up="off")
    off.token = admin.token
    assert (await off.call("GET", "/warm-ups")).json == {"on": False, "ceilings": [], "sources": []}
    (await off.call("POST", f"/warm-ups/{ADDRESS}/skip")).problem(409, "conflict")


async def test_warm_ups_are_for_operators_alone(api: RunningApi) -> None:
    (await api.call("GET", "/warm-ups")).problem(403, "insufficient-scope")
    api.token = await api.token_for("workers:read")
    assert (await api.call("GET", "/warm-ups")).status == 200
    (await api.call("POST", f"/warm-ups/{ADDRESS}/skip")).problem(403, "insufficient-scope")
