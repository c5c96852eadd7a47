"""Figures of a real server: each that is documented, alerted on or drawn, as promtool has it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.api.serve.conftest import Serve
from tests.conftest import WritePlugin
from tests.sandbox.boxes import wait_until
from toolrunner.api.metrics import families
from toolrunner.api.metrics.families import Kind
from toolrunner.runner.errors import ErrorType

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "docs/deploy"
ALERTS, DASHBOARD = DEPLOY / "alerts.yml", DEPLOY / "dashboard.json"
BREAKER = 5  # the failures in a row that a server allows where nobody has set it
QUICK_AND_SLOW = """
    import time

    def run(payload):
        time.sleep(payload.get("seconds", 0))
        return {}
"""
CRASHES = """
    import os

    def run(payload):
        os._exit(3)
"""
NAME = re.compile(r"\btoolrunner_\w+")


def promtool(*arguments: str | Path, text: str = "", fails: bool = False) -> str:
    """Run it, and return what it has said; it has to be content, unless it ``fails``."""
    program = shutil.which("promtool")
    if program is None:
        pytest.fail("promtool is missing (on Debian: apt-get install prometheus)")
    done = subprocess.run(
        [program, *map(str, arguments)], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


def expressions() -> Iterator[str]:
    """Yield what the dashboard asks for, as Grafana would ask it."""
    document = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    for panel in document["panels"]:
        for target in panel["targets"]:
            asked = re.sub(r"\$__(rate_interval|range)", "5m", target["expr"])
            yield re.sub(r"\$(instance|plugin)", ".*", asked)


def alerts() -> list[dict[str, Any]]:
    """Return the alert rules."""
    document = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))
    rules: list[dict[str, Any]] = document["groups"][0]["rules"]
    return rules


def names_in(text: str) -> set[str]:
    """Return the metrics of a scrape, with those that a histogram has."""
    return set(re.findall(r"(?m)^(toolrunner_\w+)[ {]", text))


def test_every_figure_is_there(serve: Serve, write_plugin: WritePlugin) -> None:
    """By its name, with the values of what happened, also after a worker has been killed."""
    plugin = write_plugin(QUICK_AND_SLOW, limits="{ wall_seconds = 2 }")
    fails = "def run(payload):\n    return 1 // 0\n"
    failing = write_plugin(fails, name="kept", start='"resident"')
    crashing = write_plugin(CRASHES, name="crashes")
    broken = write_plugin(CRASHES, name="broken", limits="{ memry_mb = 64 }")
    lacking = write_plugin(CRASHES, name="lacking", dependencies='["no-such-package"]')
    paths = [
        word
        for path in (plugin, failing, crashing, broken, lacking)
        for word in ("--plugins", path)
    ]
    server = serve("--workers", "2", *paths, TOOLRUNNER_ALLOW_RESIDENT="kept")
    address = server.ready()

    def call(name: str, **payload: Any) -> httpx.Response:
        return httpx.post(f"{address}/v1/analyze", json={"plugin": name, "payload": payload})

    def scrape() -> str:
        return httpx.get(f"{address}/metrics").text

    for seconds in (0, 0, 30):
        call("sample", seconds=seconds)
    call("kept")
    for _ in range(BREAKER):
        assert call("crashes").json()["detail"]["type"] == "PluginCrashed"
    refused = call("crashes")
    assert refused.json()["detail"]["details"]["suspended_by"] == "breaker"
    assert int(refused.headers["retry-after"]) > 0
    call("unheard-of")
    httpx.get(f"{address}/v1/jobs/{'a' * 32}")
    httpx.get(f"{address}/some/where?else=1")
    httpx.request("BREW", f"{address}/some/where")
    httpx.post(f"{address}/v1/jobs", json={"plugin": "sample", "payload": {}})
    replaced = 'toolrunner_residents_replaced_total{plugin="kept",reason="failed"} 1.0'
    wait_until(lambda: replaced in scrape(), "it is noted")
    ended = 'toolrunner_jobs{status="SUCCESS"} 1.0'
    wait_until(lambda: ended in scrape(), "the job has ended")

    there = names_in(scrape())
    [victim, _] = server.workers()
    os.kill(victim, signal.SIGKILL)
    server.wait_for(r"was ended by SIGKILL")
    server.wait_for(r"worker \d \(process \d+\) is ready")
    text = scrape()
    for line in (
        'toolrunner_calls_total{outcome="success",plugin="sample"} 3.0',
        'toolrunner_kills_total{plugin="sample",reason="TimeLimitExceeded"} 1.0',
        'toolrunner_call_seconds_count{plugin="sample"} 4.0',
        'toolrunner_in_flight{plugin="sample"} 0.0',
        'toolrunner_residents_calls_total{plugin="kept"} 1.0',
        'toolrunner_isolation_layer{layer="seccomp"} 1.0',
        "toolrunner_waiting 0.0",
        "toolrunner_worker_restarts_total 1.0",
        'toolrunner_plugin_suspended{by="breaker",plugin="crashes"} 1.0',
        'toolrunner_plugin_suspended{by="operator",plugin="crashes"} 0.0',
        f'toolrunner_plugin_failures_in_row{{plugin="crashes"}} {BREAKER}.0',
        'toolrunner_plugin_state{plugin="crashes",state="FAILED"} 1.0',
        'toolrunner_plugin_info{environment="runner",plugin="crashes",version="1.0.0"} 1.0',
        'toolrunner_plugin_unavailable{lacks="manifest",plugin="broken"} 1.0',
        'toolrunner_plugin_unavailable{lacks="environment",plugin="lacking"} 1.0',
        'toolrunner_plugin_unavailable{lacks="extra",plugin="lacking"} 0.0',
        'toolrunner_plugin_unavailable{lacks="manifest",plugin="sample"} 0.0',
        'toolrunner_refusals_total{reason="PluginUnavailable"} 1.0',
        'toolrunner_refusals_total{reason="PluginNotFound"} 1.0',
        'toolrunner_refusals_total{reason="NotFound"} 3.0',
        'toolrunner_http_requests_total{method="POST",route="/v1/jobs",status="202"} 1.0',
        'toolrunner_http_requests_total{method="GET",route="/v1/jobs/{job_id}",status="404"} 1.0',
        'toolrunner_http_requests_total{method="GET",route="none",status="404"} 1.0',
        'toolrunner_http_requests_total{method="other",route="none",status="404"} 1.0',
        'toolrunner_problem{part="counts"} 0.0',
        "toolrunner_environments 0.0",
    ):
        assert f"\n{line}\n" in text, f"{line}\n{text}"
    # What callers choose is nowhere.
    assert "some/where" not in text
    assert "unheard-of" not in text
    assert "aaaa" not in text

    guide = (ROOT / "docs/http.md").read_text(encoding="utf-8")
    documented = re.findall(r"(?m)^\| `(toolrunner_\w+)` \|", guide)
    told = {f"{one.name}{'_total' * (one.kind is Kind.COUNTER)}" for one in ALL}
    assert set(documented) == told
    for name in told:
        assert {name, f"{name}_count"} & there, name
    for rule in alerts():
        assert set(NAME.findall(rule["expr"])) <= there, rule
    for asked in expressions():
        assert set(NAME.findall(asked)) <= there, asked
    promtool("check", "metrics", text=text)


ALL = (*families.COUNTED, *families.SEEN)


def test_the_rules_are_rules_and_say_what_to_do() -> None:
    """Prometheus takes them, each has what a pager shows, and none counts on a missing type."""
    assert f"{len(alerts())} rules found" in promtool("check", "rules", ALERTS)
    kinds = {str(kind) for kind in ErrorType}
    for rule in alerts():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"].keys() == {"summary", "description"}
        for wanted in re.findall(r'(?:outcome|reason)=~?"([^"]+)"', rule["expr"]):
            for one in wanted.split("|"):
                if "Resident" not in rule["alert"] and one != "Unauthorized":
                    assert any(re.fullmatch(one, kind) for kind in kinds), (rule["alert"], one)


def test_the_dashboard_asks_what_prometheus_understands(tmp_path: Path) -> None:
    """Each of its expressions is a rule that promtool accepts; its numbers are unique."""
    asked = list(expressions())
    rules = [{"record": f"a:{number}", "expr": one} for number, one in enumerate(asked)]
    file = tmp_path / "asked.yml"
    file.write_text(json.dumps({"groups": [{"name": "asked", "rules": rules}]}))
    assert f"{len(asked)} rules found" in promtool("check", "rules", file)
    ids = [panel["id"] for panel in json.loads(DASHBOARD.read_text())["panels"]]
    assert len(ids) == len(set(ids))


def test_the_guides_configuration_is_one(tmp_path: Path) -> None:
    """As it stands there, beside the rules; the job is called as the rules call it."""
    text = (DEPLOY / "README.md").read_text(encoding="utf-8")
    [written] = re.findall(r"(?ms)^```yaml\n(.*?)^```$", text)
    key = tmp_path / "key"
    key.write_text("secret")
    shutil.copy(ALERTS, tmp_path)
    file = tmp_path / "prometheus.yml"
    file.write_text(written.replace("/etc/prometheus/toolrunner.key", str(key)))
    assert f"{len(alerts())} rules found" in promtool("check", "config", file)
    assert "job_name: toolrunner\n" in written


@pytest.mark.parametrize("when", ["a night", "a day"])
def test_each_rule_fires_and_only_when_it_should(when: str, tmp_path: Path) -> None:
    """By promtool's own trial, of an hour in which everything is wrong, and of one like others."""
    is_night = when == "a night"
    series = [
        {"series": name, "values": f"{values}x60"}
        for name, values in (NIGHT if is_night else DAY).items()
    ]
    names = [rule["alert"] for rule in alerts()]
    # None is expected, so each that fires is told.
    expected = [{"eval_time": "55m", "alertname": name, "exp_alerts": []} for name in names]
    trial = {"interval": "1m", "input_series": series, "alert_rule_test": expected}
    file = tmp_path / "trial.yml"
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "tests": [trial]}))
    said = promtool("test", "rules", file, fails=is_night)
    assert set(re.findall(r"alertname: (\w+),", said)) == (set(names) if is_night else set()), said


def test_a_cluster_has_one_alert_for_its_jobs(tmp_path: Path) -> None:
    """Each of its processes tells the same; a pager is told once."""
    series = [
        {"series": f'{name}job="toolrunner",pod="{pod}",instance="{pod}:8001"}}', "values": values}
        for name, values in (
            ("toolrunner_jobs_oldest_pending_seconds{", "0+60x60"),
            ("toolrunner_jobs_oldest_stranded_seconds{", "0+60x60"),
            ('toolrunner_jobs_ended_total{status="FAILED",', "0+5x60"),
            ('toolrunner_jobs_ended_total{status="SUCCESS",', "0+5x60"),
        )
        for pod in ("a", "b", "c")
    ]
    rules = {rule["alert"]: rule for rule in alerts()}
    expected = []
    for name in ("ToolrunnerJobsWait", "ToolrunnerJobsStranded", "ToolrunnerJobsFail"):
        one = {
            "exp_labels": {"severity": "warning", "job": "toolrunner"},
            "exp_annotations": rules[name]["annotations"],
        }
        expected.append({"eval_time": "55m", "alertname": name, "exp_alerts": [one]})
    trial = {"interval": "1m", "input_series": series, "alert_rule_test": expected}
    file = tmp_path / "trial.yml"
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "tests": [trial]}))
    promtool("test", "rules", file)


ON = 'instance="one:8000"'
PLUGIN = f'{ON},plugin="a"'
NIGHT = {
    'up{job="toolrunner",instance="one:8000"}': "0+0",
    f'toolrunner_problem{{{ON},part="keys"}}': "1+0",
    f'toolrunner_http_requests_total{{{ON},method="POST",route="/v1/analyze",status="500"}}': "0+9",
    f'toolrunner_calls_total{{{PLUGIN},outcome="SandboxError"}}': "0+1",
    f'toolrunner_calls_total{{{PLUGIN},outcome="PluginCrashed"}}': "0+5",
    f'toolrunner_calls_total{{{PLUGIN},outcome="success"}}': "0+5",
    f"toolrunner_worker_restarts_total{{{ON}}}": "0+1",
    f'toolrunner_refusals_total{{{ON},reason="Overloaded"}}': "0+5",
    f'toolrunner_refusals_total{{{ON},reason="Unauthorized"}}': "0+200",
    f"toolrunner_waiting{{{ON}}}": "3+0",
    f'toolrunner_plugin_suspended{{{PLUGIN},by="breaker"}}': "1+0",
    f'toolrunner_plugin_unavailable{{{PLUGIN},lacks="manifest"}}': "1+0",
    f"toolrunner_boxes_started_total{{{PLUGIN}}}": "0+5",
    f'toolrunner_residents_replaced_total{{{PLUGIN},reason="failed"}}': "0+5",
    f'toolrunner_call_seconds_bucket{{{PLUGIN},le="10"}}': "0+5",
    f'toolrunner_call_seconds_bucket{{{PLUGIN},le="30"}}': "0+10",
    f'toolrunner_call_seconds_bucket{{{PLUGIN},le="+Inf"}}': "0+10",
    f"toolrunner_jobs_oldest_pending_seconds{{{ON}}}": "0+60",
    f"toolrunner_jobs_oldest_stranded_seconds{{{ON}}}": "0+60",
    f'toolrunner_jobs_ended_total{{{ON},status="FAILED"}}': "0+5",
    f'toolrunner_jobs_ended_total{{{ON},status="SUCCESS"}}': "0+5",
}
DAY = {
    'up{job="toolrunner",instance="one:8000"}': "1+0",
    f'toolrunner_problem{{{ON},part="keys"}}': "0+0",
    f'toolrunner_http_requests_total{{{ON},method="POST",route="/v1/analyze",status="200"}}': (
        "0+100"
    ),
    f'toolrunner_http_requests_total{{{ON},method="POST",route="/v1/analyze",status="500"}}': "1+0",
    f'toolrunner_calls_total{{{PLUGIN},outcome="SandboxError"}}': "2+0",
    f'toolrunner_calls_total{{{PLUGIN},outcome="ExecutionError"}}': "0+5",
    f'toolrunner_calls_total{{{PLUGIN},outcome="ValidationError"}}': "0+50",
    f'toolrunner_calls_total{{{PLUGIN},outcome="success"}}': "0+50",
    f"toolrunner_worker_restarts_total{{{ON}}}": "4+0",
    f'toolrunner_refusals_total{{{ON},reason="Overloaded"}}': "0+1",
    f'toolrunner_refusals_total{{{ON},reason="Unauthorized"}}': "0+2",
    f"toolrunner_waiting{{{ON}}}": "0+0",
    f'toolrunner_plugin_suspended{{{PLUGIN},by="operator"}}': "1+0",
    f'toolrunner_plugin_suspended{{{PLUGIN},by="breaker"}}': "0+0",
    # A bundled plugin without its extra, as in each default installation.
    f'toolrunner_plugin_state{{{PLUGIN},state="UNAVAILABLE"}}': "1+0",
    f'toolrunner_plugin_unavailable{{{PLUGIN},lacks="extra"}}': "1+0",
    f'toolrunner_plugin_unavailable{{{PLUGIN},lacks="environment"}}': "0+0",
    f'toolrunner_plugin_unavailable{{{PLUGIN},lacks="manifest"}}': "0+0",
    f"toolrunner_boxes_started_total{{{PLUGIN}}}": "0+1",
    f'toolrunner_residents_replaced_total{{{PLUGIN},reason="calls"}}': "0+50",
    f'toolrunner_call_seconds_bucket{{{PLUGIN},le="5"}}': "0+99",
    f'toolrunner_call_seconds_bucket{{{PLUGIN},le="10"}}': "0+100",
    f'toolrunner_call_seconds_bucket{{{PLUGIN},le="+Inf"}}': "0+100",
    f"toolrunner_jobs_oldest_pending_seconds{{{ON}}}": "30+0",
    f"toolrunner_jobs_oldest_stranded_seconds{{{ON}}}": "30+0",
    f'toolrunner_jobs_ended_total{{{ON},status="FAILED"}}': "0+1",
    f'toolrunner_jobs_ended_total{{{ON},status="SUCCESS"}}': "0+50",
}
