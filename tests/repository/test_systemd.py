"""The systemd units: that systemd understands them, and that what they name exists."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from babygun.cli.main import build_parser
from babygun.pki.issuance import issue
from babygun.pki.layout import cluster
from babygun.runtime.settings import OTHER_VARIABLES, Settings, load, table
from tests.support.needs import needs
from tests.support.paths import ROOT
from tests.support.unit_files import Unit

FOLDER = ROOT / "deploy" / "systemd"
UNITS = sorted(path for kind in ("service", "target", "timer") for path in FOLDER.glob(f"*.{kind}"))
BACKUP = FOLDER / "babygun-backup.service"  # its timer starts it
DROP_INS = sorted((FOLDER / "tls").glob("*.conf"))
ALL = [*UNITS, *DROP_INS]
NEEDS_ANALYZE = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="there is no systemd-analyze here"
)


def name(path: Path) -> str:
    return path.relative_to(FOLDER).as_posix()


def services() -> list[Path]:
    return [path for path in UNITS if path.suffix == ".service"]


def processes() -> list[Path]:
    """Of those that run all the time, ours."""
    return [path for path in services() if path.name.startswith("babygun") and path != BACKUP]


@pytest.mark.parametrize("path", ALL, ids=name)
def test_unit_has_the_sections_of_one(path: Path) -> None:
    assert set(Unit(path)) <= {"Unit", "Service", "Timer", "Install"}
    assert path in DROP_INS or path == BACKUP or {"Unit", "Install"} <= set(Unit(path))


@pytest.mark.parametrize("path", ALL, ids=name)
def test_settings_that_a_unit_gives_exist_and_can_be_used(path: Path) -> None:
    words = (
        " ".join(Unit(path).get("Service", {}).get("Environment", []))
        .replace("%i", "1")
        .replace("%d", "/run/credentials")
        .split()
    )
    given = dict(word.split("=", 1) for word in words)
    load(
        ours := {
            variable: value for variable, value in given.items() if variable.startswith("BABYGUN_")
        }
    )
    assert set(ours) <= {row.variable for row in table()} | OTHER_VARIABLES


def test_settings_of_the_environment_file_exist_and_can_be_used_commented_out_ones_too() -> None:
    lines = re.findall(
        r"^#?(BABYGUN_[A-Z_]+)=(.*)$", (FOLDER / "babygun.env").read_text(), re.MULTILINE
    )
    assert len(lines) > 5
    assert {variable for variable, _ in lines} <= {row.variable for row in table()}
    for variable, value in lines:
        assert '"' not in value.strip('"') and (
            value.startswith('"') or not re.search(r"[ #']", value)
        ), f"{variable} must be quoted"
        load({variable: value.strip('"')})


def test_workers_and_bounced_of_a_host_have_ports_of_their_own() -> None:
    page = (FOLDER / "README.md").read_text()
    [most] = re.findall(r"Instances have the numbers 1 to (\d)", page)
    [worker] = re.findall(r"BABYGUN_WORKER_PORT=(\d+)%i", read("babygun-worker@.service"))
    [bounced] = re.findall(r"BABYGUN_BOUNCE_PROBE_PORT=(\d+)", read("babygun-bounced.service"))
    ports = [f"{worker}{instance}" for instance in range(1, int(most) + 1)]
    assert bounced not in ports
    operations = (ROOT / "docs/operations.md").read_text()
    assert f"workers | {ports[0]} to {ports[-1]}," in operations
    assert f"`BABYGUN_BOUNCE_PROBE_PORT`, {bounced} |" in operations
    assert f"workers, 1 to {most} a host" in operations


def read(file: str) -> str:
    return (FOLDER / file).read_text()


def test_operator_gets_the_client_of_the_file_that_the_page_writes() -> None:
    [file] = re.findall(r"EnvironmentFile=-(\S+)", read("as-operator"))
    assert read("README.md").count(f">{file}\n") == 2


@pytest.mark.parametrize("path", processes(), ids=name)
def test_command_of_a_unit_is_one_of_the_program(path: Path) -> None:
    [command] = Unit(path)["Service"]["ExecStart"]
    program, *words = command.split()
    assert program == "/opt/babygun/bin/babygun"
    assert build_parser(words[0]).parse_args(words).command == words[0]


@pytest.mark.parametrize("path", processes(), ids=name)
def test_process_that_is_stopped_has_longer_than_it_takes_to_drain(path: Path) -> None:
    service = Unit(path)["Service"]
    assert service["KillSignal"] == ["SIGTERM"]
    assert float(service["TimeoutStopSec"][0]) >= Settings().drain_timeout + 10


@pytest.mark.parametrize("path", processes(), ids=name)
def test_process_that_hangs_says_where_before_systemd_ends_it(path: Path) -> None:
    service = Unit(path)["Service"]
    assert float(service["WatchdogSec"][0]) >= Settings().watchdog + 20
    assert service["NotifyAccess"] == ["main"] and service["Restart"] == ["always"]


def test_etcd_is_ready_when_it_says_so_and_always_comes_back() -> None:
    service = Unit(FOLDER / "etcd.service")["Service"]
    assert (service["Type"], service["Restart"], service["StateDirectory"]) == (
        ["notify"],
        ["always"],
        ["etcd"],
    )
    assert int(service["TimeoutStopSec"][0]) >= 30
    assert int(service["LimitNOFILE"][0]) >= 65536


@pytest.mark.parametrize("path", services(), ids=name)
def test_unit_has_a_limit_of_processes_and_all_but_etcd_one_of_memory(path: Path) -> None:
    service = Unit(path)["Service"]
    assert service["TasksMax"] == ["512"]
    assert ("MemoryMax" in service) == (path.stem != "etcd")


def test_readme_names_every_file_of_the_folder() -> None:
    text = (FOLDER / "README.md").read_text()
    for path in FOLDER.rglob("*"):
        assert (
            path.is_dir()
            or path.name == "README.md"
            or f"`{path.name}`" in text
            or f"`{name(path)}`" in text
            or f"deploy/systemd/{name(path)}" in text
        ), path


def as_installed(folder: Path) -> list[Path]:
    """The units with their drop-ins, and with programs that exist here."""
    drop_ins = {
        "babygun-api.conf": "babygun-api.service.d",
        "etcd.conf": "etcd.service.d",
    }
    for path in ALL:
        target = folder / (drop_ins[path.name] + "/tls.conf" if path in DROP_INS else path.name)
        target.parent.mkdir(exist_ok=True)
        target.write_text(
            path.read_text()
            .replace("/opt/babygun/bin/babygun", sys.executable)
            .replace("=/usr/local/bin/etcd", f"={sys.executable}")
        )
    return [folder / path.name for path in UNITS]


@needs(shutil.which("haproxy"), "no haproxy here")
def test_load_balancer_is_understood_by_haproxy(tmp_path: Path) -> None:
    """With hosts and a CA that exist, and as this user."""
    made = tmp_path / "certificates"
    list(issue(made, cluster(["etcd1"], ["mail.example.net"])))
    ca = made / "balancer" / "api-ca.pem"
    text = re.sub(r"(?m)^( *server \w+ )[^:]+:", r"\g<1>127.0.0.1:", read("haproxy.cfg"))
    text = re.sub(r"(?m)^ +(user|group) .*\n", "", text).replace("/etc/haproxy/api-ca.pem", str(ca))
    (tmp_path / "haproxy.cfg").write_text(text)
    done = subprocess.run(
        ["haproxy", "-c", "-f", tmp_path / "haproxy.cfg"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_load_balancer_names_each_caller_as_the_api_expects_it() -> None:
    text, settings = read("haproxy.cfg"), read("babygun.env")
    assert text.count("default-server send-proxy-v2\n") == 2 == text.count("# HOSTS\n")
    [port] = re.findall(r"^BABYGUN_API_PORT=(\d+)", settings, re.MULTILINE)
    assert set(re.findall(r"server \w+ \S+:(\d+)", text)) == {port}
    assert "#BABYGUN_PROXY_PROTOCOL=" in settings


@NEEDS_ANALYZE
def test_units_are_understood_by_systemd(tmp_path: Path) -> None:
    answer = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *as_installed(tmp_path)],
        capture_output=True,
        text=True,
    )
    ours = [
        line
        for line in (answer.stdout + answer.stderr).splitlines()
        if "babygun" in line or "etcd" in line
    ]
    assert (answer.returncode, ours) == (0, [])


@NEEDS_ANALYZE
def test_units_are_confined(tmp_path: Path) -> None:
    as_installed(tmp_path)
    if (
        "--offline"
        not in subprocess.run(["systemd-analyze", "--help"], capture_output=True, text=True).stdout
    ):
        pytest.skip("this systemd-analyze can't look at units that are not installed")
    for path in services():
        answer = subprocess.run(
            [
                "systemd-analyze",
                "security",
                "--offline=true",
                "--threshold=20",
                tmp_path / path.name,
            ],
            capture_output=True,
            text=True,
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr
