"""The manifests for several machines, as far as they can be read without a daemon."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml

from tests.api.conftest import Cli
from tests.api.serve.test_figures import promtool
from toolrunner.api.metrics import families
from toolrunner.runner.settings.database_url import DatabaseUrl
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.limits import Limits

DEPLOY = Path(__file__).parents[2] / "docs/deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
USER = 10001
FOLDERS = {"/tmp", "/var/tmp", "/var/lib/toolrunner"}
KINDS = ("Job", "Deployment")
Document = dict[str, Any]


@functools.cache
def manifests() -> dict[tuple[str, str], Document]:
    """Return what there is for Kubernetes, by kind and name."""
    text = (DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")
    documents = list(yaml.safe_load_all(text))
    found = {(one["kind"], one["metadata"]["name"]): one for one in documents}
    assert len(found) == len(documents)
    return found


def pods() -> dict[str, Document]:
    """Return what each pod is made of, by the name of what makes it."""
    return {
        name: one["spec"]["template"] for (kind, name), one in manifests().items() if kind in KINDS
    }


@functools.cache
def services() -> dict[str, Document]:
    """Return the services of the compose file that are ours."""
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    document: Document = yaml.safe_load(text)
    return {name: one for name, one in document["services"].items() if "build" in one}


def commands() -> dict[str, list[str]]:
    """Return what each container runs."""
    kubernetes = {
        f"pod {name}": pod["spec"]["containers"][0]["args"] for name, pod in pods().items()
    }
    return kubernetes | {f"service {name}": one["command"] for name, one in services().items()}


@pytest.mark.parametrize("name", ["migrate", "server", "worker"])
def test_pods_are_let_in_by_the_restricted_standard(name: str) -> None:
    """What the Pod Security Standard of that name asks of a pod, by its own list; and more."""
    spec = pods()[name]["spec"]
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & spec.keys()
    assert all({"name", "emptyDir"} == volume.keys() for volume in spec["volumes"])
    whole = spec["securityContext"]
    assert whole["runAsNonRoot"] is True
    assert whole["runAsUser"] == whole["runAsGroup"] == USER
    assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
    [container] = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    mounted = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
    assert mounted.keys() == FOLDERS
    assert set(mounted.values()) == {volume["name"] for volume in spec["volumes"]}
    assert f"USER {USER}:{USER}" in DOCKERFILE


def test_what_belongs_together_finds_each_other() -> None:
    """One namespace, which enforces the standard; selectors, targets, secrets and ports."""
    namespace = manifests()["Namespace", "toolrunner"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for (kind, name), one in manifests().items():
        assert kind == "Namespace" or one["metadata"]["namespace"] == "toolrunner", name
    for (kind, _), one in manifests().items():
        if kind == "Deployment":
            labels = one["spec"]["template"]["metadata"]["labels"]
            assert one["spec"]["selector"]["matchLabels"] == labels == one["metadata"]["labels"]
    server = pods()["server"]["metadata"]["labels"]
    assert manifests()["Service", "toolrunner"]["spec"]["selector"] == server
    budget = manifests()["PodDisruptionBudget", "server"]["spec"]
    assert budget["selector"]["matchLabels"] == server
    policy = manifests()["NetworkPolicy", "worker"]["spec"]
    worker = pods()["worker"]
    assert policy["podSelector"]["matchLabels"] == worker["metadata"]["labels"]
    [port] = worker["spec"]["containers"][0]["ports"]
    assert policy["ingress"][0]["ports"] == [{"port": port["name"]}]
    assert worker["metadata"]["annotations"]["prometheus.io/port"] == str(port["containerPort"])
    secret = manifests()["Secret", "toolrunner"]["metadata"]["name"]
    for pod in pods().values():
        [container] = pod["spec"]["containers"]
        assert container["envFrom"] == [{"secretRef": {"name": secret}}]


def test_who_verifies_postgresql_says_by_which_authorities() -> None:
    """By a file: without one it is sought in the home, and "system" is a folder of psycopg's."""
    address = manifests()["Secret", "toolrunner"]["stringData"]["TOOLRUNNER_JOBS"]
    assert DatabaseUrl.parse(address)
    query = dict(parse_qsl(urlsplit(address).query))
    assert query["sslmode"] == "verify-full"
    assert query["sslrootcert"].startswith("/etc/ssl/certs/")


def test_workers_are_as_many_as_the_oldest_job_asks_for() -> None:
    """By a figure that there is; and no replicas stand beside the one who scales them."""
    scaler = manifests()["HorizontalPodAutoscaler", "worker"]["spec"]
    assert ("Deployment", scaler["scaleTargetRef"]["name"]) in manifests()
    assert "replicas" not in manifests()["Deployment", "worker"]["spec"]
    [metric] = scaler["metrics"]
    name = metric["external"]["metric"]["name"]
    assert name == families.JOBS_OLDEST.name
    assert name in (DEPLOY / "cluster.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "port"), [("server", "--port"), ("worker", "--health")])
def test_probes_ask_where_somebody_answers(name: str, port: str) -> None:
    """At the port of the command, which the container names; a restart only for /healthz."""
    [container] = pods()[name]["spec"]["containers"]
    args = container["args"]
    [named] = container["ports"]
    assert args[args.index(port) + 1].rpartition(":")[2] == str(named["containerPort"])
    for probe, path in (("liveness", "healthz"), ("readiness", "readyz"), ("startup", "healthz")):
        asked = container[f"{probe}Probe"]["httpGet"]
        assert asked == {"path": f"/{path}", "port": named["name"]}


def test_there_is_time_to_end() -> None:
    """More than jobs and requests get by the settings."""
    drain = Settings.model_fields["drain_seconds"].default
    for name in ("server", "worker"):
        [container] = pods()[name]["spec"]["containers"]
        own = {one["name"]: one["value"] for one in container.get("env", [])}
        delay = float(own.get("TOOLRUNNER_DRAIN_DELAY_SECONDS", 0))
        assert pods()[name]["spec"]["terminationGracePeriodSeconds"] >= drain + delay + 10
        assert float(services()[name]["stop_grace_period"].rstrip("s")) >= drain + 10


def value_after(option: str, words: list[str]) -> int:
    """Return the number that a command line gives to an option."""
    return int(words[words.index(option) + 1])


def test_what_runs_has_room() -> None:
    """Not by the processors of the host: what runs and is kept warm is within a pod's memory."""
    of_pods = {
        name: {one["name"]: one["value"] for one in pods()[name]["spec"]["containers"][0]["env"]}
        for name in ("server", "worker")
    }
    for name, pod in of_pods.items():
        compose = services()[name]["environment"]
        if name == "server":  # of a worker it is 1 where nobody says more
            assert value_after("--workers", commands()["pod server"]) == 1
        for own in (pod, compose):
            calls = (
                int(own["TOOLRUNNER_MAX_CONCURRENT"])
                if name == "server"
                else value_after("--jobs", commands()[f"pod {name}"])
            )
            kept = max(int(own[f"TOOLRUNNER_{kind}_MEMORY_MB"]) for kind in ("BOXES", "RESIDENTS"))
            assert calls * Limits().memory_mb + kept <= 3 * 1024
        [container] = pods()[name]["spec"]["containers"]
        memory = container["resources"]
        assert (memory["requests"]["memory"], memory["limits"]["memory"]) == ("3Gi", "4Gi")
        assert services()[name]["mem_limit"] == "4g"


def test_postgresql_has_connections_for_all() -> None:
    """As many as the documents say for each process."""
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    document = yaml.safe_load(text)["services"]
    count = sum(document[name]["deploy"]["replicas"] for name in ("server", "worker"))
    [most] = re.findall(r"max_connections=(\d+)", " ".join(document["postgres"]["command"]))
    assert int(most) >= 13 * count
    assert "up to 13 in each process" in (DEPLOY / "cluster.md").read_text(encoding="utf-8")


def test_the_guides_scrapes_find_the_pods(tmp_path: Path) -> None:
    """As Prometheus takes them, by labels that pods have, under the name that alerts go by."""
    text = (DEPLOY / "cluster.md").read_text(encoding="utf-8")
    [written] = re.findall(r"(?ms)^```yaml\n(scrape_configs:.*?)^```$", text)
    file = tmp_path / "prometheus.yml"
    # Debian's promtool is built without what finds pods.
    known = re.sub(r"kubernetes_sd_configs: .*", "static_configs: []", written)
    file.write_text(known.replace("/etc/prometheus/toolrunner.key", str(file)))
    assert "SUCCESS" in promtool("check", "config", file)
    for scrape in yaml.safe_load(written)["scrape_configs"]:
        component = scrape["relabel_configs"][0]["regex"]
        assert pods()[component]["metadata"]["labels"]["app.kubernetes.io/component"] == component
        assert scrape["relabel_configs"][-1]["replacement"] == "toolrunner"


def test_each_setting_is_one() -> None:
    """A name that is none would change nothing, and nobody would notice."""
    text = "".join(
        (DEPLOY / name).read_text(encoding="utf-8") for name in ("kubernetes.yaml", "compose.yaml")
    )
    named = set(re.findall(r"TOOLRUNNER_([A-Z_]+)", text))
    assert {"JOBS", "BLOBS", "JOB_THREADS"} <= named
    assert {name.lower() for name in named} <= Settings.model_fields.keys()


@pytest.mark.parametrize("who", ["pod server", "pod worker", "pod migrate", "service server"])
def test_commands_have_these_options(cli: Cli, who: str) -> None:
    """As the command line knows them; compose says the same as Kubernetes, but for ports."""
    name, *arguments = commands()[who]
    shown = cli(name, "--help").out
    for option in (word for word in arguments if word.startswith("--")):
        assert option in shown
    other = who.replace("pod", "service")
    assert [one.split(":")[0] for one in commands()[other]] == [
        one.split(":")[0] for one in commands()[who]
    ]


def test_containers_of_compose_have_no_rights() -> None:
    """As docs/deploy/README.md runs one; on what the Dockerfile makes."""
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    volumes = yaml.safe_load(text)["volumes"]
    assert services().keys() == {"migrate", "server", "worker"}
    for name, one in services().items():
        assert (one["read_only"], one["cap_drop"], one["init"]) == (True, ["ALL"], True)
        assert one["security_opt"] == ["no-new-privileges:true"]
        assert set(one["tmpfs"]) == FOLDERS - {"/var/lib/toolrunner"}
        assert "privileged" not in one
        assert (DEPLOY / one["build"]["context"] / one["build"]["dockerfile"]).exists()
        for argument, value in one["build"]["args"].items():
            assert f"ARG {argument}=" in DOCKERFILE
            assert value in DOCKERFILE
            assert (DEPLOY.parents[1] / value).exists()
        for mount in one["volumes"]:
            volume, _, folder = mount.partition(":")
            assert volume in volumes
            assert folder in DOCKERFILE  # so a new volume there is the user's
            assert one["environment"]["TOOLRUNNER_BLOBS"] == f"file://{folder}"
        waits_for = one["depends_on"].keys()
        assert waits_for == ({"postgres"} if name == "migrate" else {"migrate"})
    health = value_after("--port", services()["server"]["command"])
    probes = services()["worker"]["command"]
    ports = [health, probes[probes.index("--health") + 1].split(":")[1]]
    assert all(f"http://127.0.0.1:{port}/healthz" in DOCKERFILE for port in ports)
