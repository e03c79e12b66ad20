"""The dashboard and the alert rules name metrics and labels that exist.

They have the form that Grafana and Prometheus want.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from babygun.runtime.exposition import render
from babygun.runtime.metric_types import TABLE
from tests.support.paths import ROOT

DEPLOY = ROOT / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "babygun.json").read_text())
RULES = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
PROMETHEUS = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())

# Metrics that are not in our table.
OTHERS = {
    "up",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "etcd_server_has_leader",
}
TARGET_LABELS = {"job", "instance"}  # Prometheus sets them itself
KNOWN = {row.name: row for row in TABLE}
PROCESS = render("api")[0].decode()


def panels(level: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for panel in level:
        yield panel
        yield from panels(panel.get("panels", []))


PANELS = list(panels(DASHBOARD["panels"]))
SHOWN = [panel for panel in PANELS if panel["type"] != "row"]
EXPRESSIONS = [(panel["title"], target["expr"]) for panel in SHOWN for target in panel["targets"]]
EXPRESSIONS += [
    (variable["name"], variable["definition"])
    for variable in DASHBOARD["templating"]["list"]
    if variable["type"] == "query"
]
EXPRESSIONS += [(rule["alert"], rule["expr"]) for rule in RULES]


def selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """The metrics that a PromQL expression reads, each with the labels that it is selected by.

    Metrics' names have an underscore (but ``up``). A function has a bracket behind its name.
    """
    for name, braces in re.findall(
        r"(?<![\w$\"/])(up|[a-z]+_[a-z_0-9]+)\b(?!\s*\()(\{[^}]*\})?",
        re.sub(r"\bby \([^)]*\)", "", expression),
    ):
        yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', '""', braces)))


def grouped(expression: str) -> set[str]:
    return {
        label.strip()
        for labels in re.findall(r"\bby \(([^)]*)\)", expression)
        for label in labels.split(",")
    }


def test_selectors_finds_names_and_labels() -> None:
    expression = (
        'sum by (le) (rate(babygun_a_total{x="y",z=~"b|c_d"}[5m]))'
        " / max_over_time(up[1m]) > label_values(babygun_b, queue)"
    )
    assert list(selectors(expression)) == [
        ("babygun_a_total", {"x", "z"}),
        ("up", set()),
        ("babygun_b", set()),
    ]


def mistakes(expression: str) -> Iterator[str]:
    """What an expression reads that is not there, or reads in the wrong way."""
    labels = set(TARGET_LABELS)
    found = list(selectors(expression))
    if not found:
        yield "it reads no metric"
    for name, selected in found:
        row = KNOWN.get(name) or KNOWN.get(re.sub(r"_(bucket|sum|count)$", "", name))
        if row is None:
            if name not in OTHERS:
                yield f"there is no metric {name}"
            if not (name == "up" or name.startswith("etcd_") or f"\n{name} " in PROCESS):
                yield f"a process does not expose {name}"
            own = TARGET_LABELS
        else:
            own = {*row.labels, *TARGET_LABELS, *(("le",) if row.type == "histogram" else ())}
            if (row.type == "histogram") != (name != row.name):
                yield f"{name} is a {row.type}"
            if row.type != "gauge" and not re.search(rf"(rate|increase)\({name}\b", expression):
                yield f"{name} only grows: show its rate"
        if selected - own:
            yield f"{name} has no label {selected - own}"
        labels |= own
    if grouped(expression) - labels:
        yield f"nothing there has the label {grouped(expression) - labels}"


def test_expressions_name_metrics_and_labels_that_exist() -> None:
    wrong = [(where, mistake) for where, text in EXPRESSIONS for mistake in mistakes(text)]
    assert not wrong


def test_mistakes_finds_what_is_not_there() -> None:
    for expression, mistake in {
        "1": "it reads no metric",
        "no_such_metric": "there is no metric no_such_metric",
        'up{queue="x"}': "up has no label {'queue'}",
        "sum by (colour) (up)": "nothing there has the label {'colour'}",
        "babygun_emails_accepted_total": "babygun_emails_accepted_total only grows: show its rate",
        "babygun_claim_to_reply_seconds": "babygun_claim_to_reply_seconds is a histogram",
    }.items():
        assert mistake in mistakes(expression)


def test_rules_say_how_bad_it_is_and_what_to_do() -> None:
    for rule in RULES:
        name, labels, notes = rule["alert"], rule["labels"], rule["annotations"]
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}, name
        assert re.fullmatch(r"Babygun[A-Z]\w+", name)
        assert re.fullmatch(r"\d+[sm]", rule.get("for", "1m")), name
        assert labels in ({"severity": "warning"}, {"severity": "critical"}), name
        assert notes.keys() == {"summary", "description"}, name
        assert len(notes["description"]) > 80, name
        assert not notes["summary"].endswith("."), name
        for label in re.findall(r"\$labels\.(\w+)", str(notes)):
            assert label in grouped(rule["expr"]) or "by (" not in rule["expr"], (name, label)
        for metric in re.findall(r"\bbabygun_\w+", notes["description"]):
            assert metric in KNOWN, (name, metric)


def test_rules_and_panels_are_each_there_once() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_dashboard_takes_its_source_from_the_variable_everywhere() -> None:
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == [
        "datasource",
        "queue",
        "site",
    ]
    for panel in SHOWN:
        for holder in (panel, *panel["targets"]):
            assert holder["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["description"]


def test_dashboard_panels_do_not_overlap_and_fit() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells


def test_dashboard_shows_every_metric_that_alerts_go_by() -> None:
    """A person who gets an alert finds it there."""
    shown = {
        name for _, expression in EXPRESSIONS[: -len(RULES)] for name, _ in selectors(expression)
    }
    assert {name for rule in RULES for name, _ in selectors(rule["expr"])} - {"up"} <= shown


def test_prometheus_scrapes_the_jobs_that_the_rules_name() -> None:
    jobs = {config["job_name"] for config in PROMETHEUS["scrape_configs"]}
    for _, expression in EXPRESSIONS:
        for pattern in re.findall(r'job=~?"([^"]*)"', expression):
            assert any(re.fullmatch(pattern, job) for job in jobs), pattern
    assert all((DEPLOY / "prometheus" / name).exists() for name in PROMETHEUS["rule_files"])


def test_prometheus_finds_the_services_of_the_cluster_at_their_ports() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yml").read_text())["services"]
    exposed = set(
        re.findall(r"^EXPOSE (\d+)", (DEPLOY.parent / "Dockerfile").read_text(), re.MULTILINE)
    )
    found = [
        (sd["names"][0], str(sd["port"]))
        for config in PROMETHEUS["scrape_configs"]
        for sd in config.get("dns_sd_configs", ())
    ]
    assert {name for name, _ in found} == {"api", "worker", "bounced"} <= services.keys() and {
        port for _, port in found
    } <= exposed
    targets = [
        target.split(":")[0]
        for config in PROMETHEUS["scrape_configs"]
        for static in config.get("static_configs", ())
        for target in static["targets"]
    ]
    assert set(targets) <= services.keys()


def test_prometheus_of_hosts_has_the_jobs_and_the_ports_of_their_units() -> None:
    units = "\n".join(
        path.read_text().replace("%i", "1") for path in (DEPLOY / "systemd").glob("babygun[-.]*")
    )
    set_there = dict(re.findall(r"(BABYGUN_[A-Z_]+PORT)=(\d+)", units))
    ports = {
        "babygun-api": set_there["BABYGUN_API_PROCESS_PORT"],
        "babygun-worker": set_there["BABYGUN_WORKER_PORT"],
        "babygun-bounced": set_there["BABYGUN_BOUNCE_PROBE_PORT"],
        "etcd": "2381",
        "balancer": "8405",
    }
    hosts = yaml.safe_load((DEPLOY / "prometheus" / "hosts.yml").read_text())
    found = {
        config["job_name"]: {
            target.rpartition(":")[2]
            for static in config["static_configs"]
            for target in static["targets"]
        }
        for config in hosts["scrape_configs"]
    }
    assert found == {job: {port} for job, port in ports.items()}
    assert found.keys() == {config["job_name"] for config in PROMETHEUS["scrape_configs"]}
    assert hosts["rule_files"] == PROMETHEUS["rule_files"]


def test_provisioning_files_are_of_grafanas_first_version() -> None:
    files = sorted(DEPLOY.glob("grafana/provisioning/*/*.yml"))
    assert files
    for path in files:
        assert yaml.safe_load(path.read_text())["apiVersion"] == 1, path.name
