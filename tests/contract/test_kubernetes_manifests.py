"""The manifests of deploy/kubernetes, against the schemas that Kubernetes publishes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from devstack.processes import processes
from streams.topics import DOMAINS, TEST_DOMAIN
from tests.contract.test_compose import MODELS, variables

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
#: The oldest that is still looked after, and the newest that the schemas know.
VERSIONS = ("1.32.0", "1.34.0")


def documents() -> list[tuple[str, dict[str, Any]]]:
    """Every object with `file: kind name`."""
    found = []
    for path in sorted(FOLDER.glob("*.yaml")):
        if path.name != "kustomization.yaml":
            for one in yaml.safe_load_all(path.read_text("utf-8")):
                found.append((f"{path.name}: {one['kind']} {one['metadata']['name']}", one))
    return found


ALL = documents()
PODS = [
    (name, one["spec"]["template"]["spec"])
    for name, one in ALL
    if "template" in one.get("spec", {})
]
PROCESSES = [(name, pod) for name, pod in PODS if "Job" not in name]


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_understands_every_object(version: str) -> None:
    for name, one in ALL:
        try:
            kubernetes_validate.validate(one, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            pytest.fail(f"{name}: {error.path}: {error.message}")


def test_the_kustomization_names_every_file() -> None:
    named = yaml.safe_load((FOLDER / "kustomization.yaml").read_text("utf-8"))["resources"]
    files = {path.name for path in FOLDER.glob("*.yaml")}
    assert set(named) == files - {"kustomization.yaml"}


def test_every_process_is_there() -> None:
    kinds = {spec.argv[3] for spec in processes()}
    arguments = [pod["containers"][0]["args"] for _, pod in PROCESSES]
    assert {words[0] for words in arguments} == kinds
    served = {words[2] for words in arguments if words[0] == "executor"}
    assert served == set(DOMAINS) - {TEST_DOMAIN}


@pytest.mark.parametrize(("name", "pod"), PODS, ids=[name for name, _ in PODS])
def test_a_pod_may_do_little(name: str, pod: dict[str, Any]) -> None:
    assert pod["automountServiceAccountToken"] is False
    # Else the Service runstream-api becomes variables that stop every process.
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*pod["containers"], *pod.get("initContainers", [])):
        may = container["securityContext"]
        assert may["allowPrivilegeEscalation"] is False
        assert may["readOnlyRootFilesystem"] is True
        assert may["capabilities"] == {"drop": ["ALL"]}
        assert set(container["resources"]) == {"requests", "limits"}
        assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize(("name", "pod"), PROCESSES, ids=[name for name, _ in PROCESSES])
def test_a_process_is_probed_and_told_what_it_needs(name: str, pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert pod["terminationGracePeriodSeconds"] > 25
    given = {one["name"]: one for one in container["env"]}
    kind = container["args"][0]
    assert set(given) <= variables(MODELS[kind])
    assert given["RUNSTREAM_INSTANCE"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    signs = kind not in ("sink", "projector")
    assert ("RUNSTREAM_SIGNING_KEY" in given) is signs
    # What is mounted is declared, and what is declared is mounted somewhere.
    containers = (container, *pod.get("initContainers", []))
    mounted = {mount["name"] for one in containers for mount in one["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_secrets_are_named_and_not_contained() -> None:
    assert [name for name, one in ALL if one["kind"] == "Secret"] == []
    for path in FOLDER.glob("*.yaml"):
        assert not re.search(r"postgresql://|sasl\.password", path.read_text("utf-8")), path
    # Each process has a Secret of its own, so that none can be given that of another.
    named = [
        {
            source["valueFrom"]["secretKeyRef"]["name"]
            for source in pod["containers"][0]["env"]
            if "secretKeyRef" in source.get("valueFrom", {})
        }
        for _, pod in PROCESSES
    ]
    assert all(len(names) == 1 for names in named)
    assert len({name for names in named for name in names}) == len(PROCESSES)


def test_a_drain_of_a_node_leaves_one_of_each() -> None:
    sets = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"]
        for _, one in ALL
        if one["kind"] in ("Deployment", "StatefulSet")
    }
    budgets = {
        one["metadata"]["name"]: one["spec"]["selector"]["matchLabels"]
        for _, one in ALL
        if one["kind"] == "PodDisruptionBudget"
    }
    assert budgets == sets
    for name, one in ALL:
        if one["kind"] in ("Deployment", "StatefulSet"):
            assert one["spec"]["replicas"] >= 2, name


def test_stable_names_where_transactions_need_them() -> None:
    found = {
        pod_spec["containers"][0]["args"][0]
        for name, pod_spec in PROCESSES
        if "StatefulSet" in name
    }
    assert found == {"router", "executor", "matcher"}
