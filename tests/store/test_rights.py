"""The rights of each role: the table, and that a real etcd lets the roles do their work with exactly these."""

from __future__ import annotations

from typing import get_args

import pytest

from babygun.keys import Keys
from babygun.store.rights import RIGHTS, Grant, Role, grants

KINDS = {name for name, value in vars(Keys()).items() if isinstance(value, bytes) and name != "prefix"}


def test_every_kind_of_key_is_given_to_some_role_and_every_role_names_kinds_that_exist() -> None:
    assert set(RIGHTS) == set(get_args(Role))
    assert {kind for kinds in RIGHTS.values() for kind in kinds} == KINDS


@pytest.mark.parametrize(
    ("role", "kept_from_it"),
    [
        ("worker", {"clients", "signing_keys", "revocations", "idempotencies"}),
        ("inspector", {"clients", "signing_keys", "contents"}),
        ("api", set()),
    ],
)
def test_role_has_no_access_to_what_is_none_of_its_business(role: Role, kept_from_it: set[str]) -> None:
    assert KINDS - set(RIGHTS[role]) == kept_from_it


def test_inspector_may_write_nothing() -> None:
    assert set(RIGHTS["inspector"].values()) == {"read"}


def test_grants_are_ranges_below_the_prefix_and_one_key() -> None:
    found = grants(Keys("/x/"), "worker")
    assert Grant(b"/x/owners/", b"/x/owners0", "readwrite") in found and Grant(b"/x/cluster", b"", "readwrite") in found
    assert all(grant.start.startswith(b"/x/") for grant in found)
