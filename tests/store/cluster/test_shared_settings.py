"""Which settings workers compare."""

from __future__ import annotations

from babygun.runtime.settings import Settings, table
from babygun.store.cluster.shared_settings import OWN, shared_settings


def test_settings_are_compared_but_for_the_default_for_secrets_and_for_a_process_its_own() -> None:
    assert shared_settings(Settings()) == {}
    given = Settings(warm_up="off", relay_url="smtp://u:p@a", worker_port=9091, retention=1.0)
    assert list(shared_settings(given)) == ["warm_up", "retention"]
    assert shared_settings(given) == shared_settings(Settings(warm_up="off", retention=1.0))
    assert shared_settings(given) != shared_settings(Settings(warm_up="both", retention=2.0))


def test_own_settings_of_a_process_are_all_in_the_table() -> None:
    assert {row.name for row in table()} >= OWN
