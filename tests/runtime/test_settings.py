"""Settings: what is read, what wins, and the message for each mistake."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from babygun.errors import SettingsError
from babygun.runtime.settings import Settings, load, table


def test_each_setting_is_written_as_it_is_read() -> None:
    given = {
        "relays": '{"a": {"url": "smtp://127.0.0.1:26"}}',
        "retry_intervals": "250ms, 2h",
        "resolvers": "127.0.0.1@5353, 2001:db8::53",
        "source_addresses": "192.0.2.1, 2001:db8::1",
        "allow_networks": "10.0.0.0/8",
        "etcd_endpoints": "http://a:1, http://b:2",
        "max_body": "3MiB",
        "token_ttl": "90m",
    }
    for row in table():
        assert row.write(getattr(Settings(), row.name)) == row.default
        if row.name in given:
            assert row.write(row.type.parse(given[row.name])) == given[row.name]


def test_settings_without_anything_are_the_tables_defaults() -> None:
    assert load({}) == Settings()


def test_environment_beats_file_beats_default(tmp_path: Path) -> None:
    file = tmp_path / "babygun.toml"
    file.write_text(
        'api_port = 9000\nretry_intervals = ["1m", "2m", "3m"]\nlease_ttl = "5s"\n'
        '[relays.bulk]\nurl = "smtp://127.0.0.1:26"\n'
    )
    settings = load({"BABYGUN_CONFIG": str(file), "BABYGUN_API_PORT": "9001"})
    assert (
        settings.api_port,
        settings.lease_ttl,
        settings.retry_intervals,
    ) == (9001, 5.0, (60.0, 120.0, 180.0))
    assert settings.relays == {"bulk": {"url": "smtp://127.0.0.1:26"}}


def test_relays_in_a_variable_are_json() -> None:
    settings = load(
        {
            "BABYGUN_RELAYS": '{"a": {"url": "smtp://127.0.0.1:26", "domains": ["a.example"]}}',
            "BABYGUN_RELAY_URL": "smtp://127.0.0.1:25",
        }
    )
    assert settings.relays == {"a": {"url": "smtp://127.0.0.1:26", "domains": ["a.example"]}}
    assert settings.relay_url == "smtp://127.0.0.1:25"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("API_PORT", "http", "BABYGUN_API_PORT: 'http' is not a whole number"),
        ("ETCD_TIMEOUT", "soon", "is not a duration"),
        ("MAX_BODY", "big", "is not a size"),
        ("RETENTION", "7", "BABYGUN_RETENTION: '7' has no unit: write 7s, 7m, …h or …d"),
        ("RETENTON", "7d", "no setting BABYGUN_RETENTON; did you mean BABYGUN_RETENTION?"),
        ("QQQQ", "", "there is no setting BABYGUN_QQQQ$"),
        ("LEASE_TTL", "1s", "below the least allowed"),
        ("API_PORT", "65536", "api_port is 65536; a port is at most 65535"),
        ("WORKER_PORT", "70000", "worker_port is 70000; a port is at most 65535"),
        ("PROCESSES", "65", "processes is 65; the most is 64"),
        ("LEASE_TTL", "2.5s", "whole seconds"),
        ("PREFIX", "babygun", "begin and end with a slash"),
        ("ETCD_ENDPOINTS", "", "names no endpoint"),
        ("ETCD_ENDPOINTS", "localhost:2379", "not of the form"),
        ("MAX_RECIPIENTS", "1001", "the most is 1000"),
        ("RETRY_INTERVALS", "0s", "wait of 0"),
        ("RETRY_INTERVALS", "", "retry_intervals is empty: give one wait"),
        ("MX_RETRY_INTERVALS", "", "mx_retry_intervals is empty: give one wait"),
        ("API_CERT", "/x.pem", "set both or neither"),
        ("LOG_FORMAT", "xml", "none of text, json"),
        ("RELAYS", "{", "not shown"),
        ("ROUTES", "{", "not shown"),
        ("DEFAULT", "relay", "'relay' is none of empty, mx"),
        ("RESOLVERS", "dns.example", "'dns.example' is no address"),
        ("RESOLVERS", "127.0.0.1@0", "not of the form 192.0.2.7 or 127.0.0.1@5353"),
        ("SOURCE_ADDRESSES", "192.0.2.0/24", "is no address"),
        ("MX_PORT", "0", "below the least allowed"),
        ("CONFIG", "/nonexistent.toml", "nonexistent"),
    ],
)
def test_setting_with_a_bad_value_says_which_and_why(
    variable: str, value: str, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        load({f"BABYGUN_{variable}": value})


@pytest.mark.parametrize("name", ["worker_port", "api_process_port"])
def test_ports_of_all_processes_must_exist(name: str) -> None:
    assert getattr(Settings(processes=2, **{name: 65534}), name) == 65534
    with pytest.raises(
        SettingsError, match=f"{name} is 65534, and 3 processes need as many ports from there on"
    ):
        Settings(processes=3, **{name: 65534})
    assert [
        getattr(Settings(processes=2, **{name: 65534}).of_process(number), name)
        for number in (1, 2)
    ] == [65534, 65535]
    assert getattr(Settings(processes=2).of_process(2), name) == 0


def test_processes_of_0_are_as_many_as_cores() -> None:
    assert (
        Settings(processes=0).process_count == min(64, len(os.sched_getaffinity(0)))
        and Settings(processes=3).process_count == 3
    )


def test_file_with_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "babygun.toml"
    file.write_text("api_prot = 1\n")
    with pytest.raises(SettingsError, match="no setting 'api_prot'; did you mean 'api_port'"):
        load({"BABYGUN_CONFIG": str(file)})


def test_variables_of_scripts_and_of_kubernetes_are_no_settings() -> None:
    load(
        {
            "BABYGUN_BACKUPS": "/backups",
            "BABYGUN_SERVICE_HOST": "10.0.0.7",
            "BABYGUN_SERVICE_PORT_HTTP": "8080",
            "BABYGUN_PORT_8080_TCP_ADDR": "10.0.0.7",
            "BABYGUN_WORKERS_PORT": "tcp://10.0.0.7:8080",
        }
    )


def test_secret_in_a_bad_value_is_not_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        load({"BABYGUN_RELAYS": '{"a": "hunter2"'})
    assert "hunter2" not in str(caught.value)


def test_every_setting_has_help_and_a_default_that_parses() -> None:
    for row in table():
        assert row.help and row.type.parse(row.default) == getattr(Settings(), row.name)
