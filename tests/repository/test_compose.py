"""deploy/compose.yml and the Dockerfile: who mounts what, limits, and pinned versions."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT

FILE = yaml.safe_load((ROOT / "deploy/compose.yml").read_text())
SERVICES: dict[str, Any] = FILE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
MEMBERS = {"etcd1", "etcd2", "etcd3"}
MOUNTED_BY = {
    # Makes all certificates, and gives the volumes their owner.
    "authority": {"certificates"},
    "etcd-certificates": {"certificates", *MEMBERS},
    "api-certificates": {"certificates", "api"},
    "worker-certificates": {"certificates", "worker"},
    "bounced-certificates": {"certificates", "bounced"},
    "balancer-certificates": {"certificates", "balancer"},
    "inspector": {"certificates", "bootstrap", "tools", "check"},
    # Has root's key and the first client's secret.
    "operator": {"certificates", "bootstrap", "admin"},
    # Have all that etcd has.
    "backups": {"certificates", "admin", "restore"},
    **{member: {"certificates", "restore", member} for member in MEMBERS},
}


def test_each_volume_is_mounted_by_those_alone_who_need_it() -> None:
    mounted: dict[str, set[str]] = {volume: set() for volume in FILE["volumes"]}
    for name, service in SERVICES.items():
        for volume in service.get("volumes", ()):
            mounted[volume.split(":")[0]].add(name)
    assert mounted == MOUNTED_BY


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_has_limits_of_memory_and_processes(name: str) -> None:
    assert re.fullmatch(r"\d+[mg]", SERVICES[name]["mem_limit"])
    assert 0 < SERVICES[name]["pids_limit"] <= 256


def test_each_image_is_built_by_one_service_alone() -> None:
    """Compose writes the service's name into what it builds, so two builds make two images."""
    built = [service["image"] for service in SERVICES.values() if "build" in service]
    assert sorted(built) == sorted(set(built))
    for service in SERVICES.values():
        if service["image"] in built and "build" not in service:
            assert service["pull_policy"] == "never"


def test_images_and_packages_from_elsewhere_are_of_a_named_version() -> None:
    images = re.findall(r"^ARG \w+_IMAGE=(.*)", DOCKERFILE, re.MULTILINE)
    images += [
        match[1]
        for service in SERVICES.values()
        if (match := re.fullmatch(r"\$\{\w+_IMAGE:-(.*)\}", service["image"]))
    ]
    assert len(images) >= 4
    for image in images:
        assert re.search(r":v?\d+\.\d+", image), image
    for packages in re.findall(r"apt-get install ((?:[^&]|\\\n)*)", DOCKERFILE):
        for package in packages.replace("\\\n", " ").split():
            assert package.startswith("--") or "=" in package, package


def test_own_file_of_the_page_gives_its_relay_to_all_services_that_have_one() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    [example] = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    given = yaml.safe_load(example)["services"]
    have_one = {
        name
        for name, service in SERVICES.items()
        if "BABYGUN_RELAY_URL" in (service.get("environment") or ())
    }
    assert have_one >= {"api", "worker", "check"} and given.keys() == have_one
    assert len({str(service) for service in given.values()}) == 1


def test_port_that_the_balancer_passes_on_has_no_metrics() -> None:
    balancer = (ROOT / "deploy/haproxy.cfg").read_text()
    port = SERVICES["api"]["environment"]["BABYGUN_API_PROCESS_PORT"]
    servers = re.findall(r"server-template .*api:(\d+)", balancer)
    assert servers and str(port) not in servers
    assert "BABYGUN_PROXY_PROTOCOL" in SERVICES["api"]["environment"]
    assert balancer.count("send-proxy-v2") == len(servers)
