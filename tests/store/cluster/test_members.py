"""What the members of etcd say of themselves."""

from __future__ import annotations

from babygun.etcd import Status
from babygun.store.cluster.members import MemberState, Sizes, _state, read_members
from tests.support.rig import Rig, changed, rig_for

FINE = Status("http://a", "3.6.1", 300, 200, 1000, 7, [], False, 7, 1)


async def test_member_that_does_not_answer_says_so_beside_one_that_does(rig: Rig) -> None:
    [up] = rig.settings.etcd_endpoints
    settings = changed(rig.settings, etcd_endpoints=(up, "http://127.0.0.1:1"))
    async with rig_for(settings) as own:
        there, gone = await read_members(own.store, timeout=8.0)  # one takes all of it
    assert (there.endpoint, there.problem, there.leads) == (up, None, True)
    assert there.sizes is not None and 0 < there.sizes.in_use <= there.sizes.file
    assert gone == MemberState("http://127.0.0.1:1", "no connection to etcd at http://127.0.0.1:1")


def test_member_that_leads_and_is_well_has_no_problem() -> None:
    assert _state(FINE, 5) == MemberState("http://a", None, True, "3.6.1", Sizes(300, 200, 1000))


def test_member_with_several_problems_says_each_once() -> None:
    ill = FINE._replace(errors=["NOSPACE", "NOSPACE"], leader=0, member=0, is_learner=True)
    found = _state(ill, 5)
    assert found.problem == ("NOSPACE; it knows of no leader; it is a learner, and has no vote yet")
    assert not found.leads


def test_member_that_does_not_say_its_quota_has_that_of_the_settings() -> None:
    assert _state(FINE._replace(quota=0), 5).sizes == Sizes(300, 200, 5)
