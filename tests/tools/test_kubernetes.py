"""Kubernetes tools.

kubectl, kubectx and kubens act on a fake API server; helm and crictl are recorded.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tools.catalogue import needs, refusal
from tests.tools.conftest import Execute
from tests.tools.fakes.kubernetes import FakeCluster, fake_cluster
from tests.tools.fakes.program import FakePrograms


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    needs("kubectl", "kubernetes-client")
    with fake_cluster(tmp_path) as made:
        yield made


def test_kubectl_get(execute: Execute, cluster: FakeCluster) -> None:
    at = {"kubeconfig": cluster.kubeconfig(), "resource": "pods"}
    result = execute("kubectl_get", {**at, "selector": "app=web"})
    assert result.status == "succeeded", result
    assert (result.output["count"], result.output["not_ready"]) == (2, 1)
    failing = result.output["items"][1]
    assert (failing["name"], failing["restarts"]) == ("web-1", 7)
    assert failing["reason"] == "CrashLoopBackOff"
    one = execute("kubectl_get", {**at, "name": "web-0"})
    assert one.output["items"][0]["ready"] is True
    assert one.output["object"]["spec"]["nodeName"] == "node-1"
    for resource in ("secrets", "Secret", "secrets.v1."):
        assert "must match" in refusal("kubectl_get", {"resource": resource})


@pytest.mark.parametrize(
    ("credentials", "parameters", "expected"),
    [
        ({}, {"resource": "pods", "name": "nobody"}, "not_found"),
        ({}, {"resource": "widgets"}, "not_found"),
        ({}, {"resource": "pods", "context": "nowhere"}, "not_configured"),
        ({"token": "wrong"}, {"resource": "pods"}, "login_refused"),
        ({"trusted": False}, {"resource": "pods"}, "tls_failed"),
        ({"url": "https://127.0.0.1:1"}, {"resource": "pods"}, "connection_refused"),
        ({"url": "https://cluster.invalid"}, {"resource": "pods"}, "unreachable"),
    ],
)
def test_why_kubectl_fails(
    execute: Execute,
    cluster: FakeCluster,
    credentials: dict[str, Any],
    parameters: dict[str, Any],
    expected: str,
) -> None:
    file = cluster.kubeconfig(**credentials)
    result = execute("kubectl_get", {"kubeconfig": file, **parameters})
    assert result.error_class == expected, result


def test_kubectl_describe(execute: Execute, cluster: FakeCluster) -> None:
    at = {"kubeconfig": cluster.kubeconfig()}
    result = execute("kubectl_describe", {**at, "resource": "pod", "name": "web-1"})
    assert result.status == "succeeded", result
    assert result.output["fields"]["Name"] == "web-1"
    assert result.output["fields"]["Status"] == "Running"
    [event] = result.output["events"]
    assert "Back-off restarting failed container" in event


def test_kubectl_logs(execute: Execute, cluster: FakeCluster) -> None:
    at = {"kubeconfig": cluster.kubeconfig()}
    result = execute("kubectl_logs", {**at, "pod": "web-0", "tail": 2})
    assert result.status == "succeeded", result
    assert result.output["lines"] == ["line 299", "line 300"]


def test_kubectl_exec(execute: Execute, cluster: FakeCluster) -> None:
    at = {"kubeconfig": cluster.kubeconfig(), "pod": "web-0"}
    result = execute("kubectl_exec", {**at, "argv": ["cat"], "input": "; id $(id)"})
    if cluster.asked_for_spdy:
        pytest.skip("this kubectl is older than 1.31 and does exec by SPDY only")
    assert result.status == "succeeded", result
    assert result.output["text"] == "; id $(id)"
    failed = execute("kubectl_exec", {**at, "argv": ["nope"]})
    assert failed.error_class == "exit_status"
    assert failed.output["exit_code"] == 127


def test_kubectl(execute: Execute, cluster: FakeCluster) -> None:
    at = {"kubeconfig": cluster.kubeconfig()}
    scaling = {"command": "scale", "arguments": ["deployment/web", "--replicas=3"]}
    scaled = execute("kubectl", {**at, **scaling})
    assert scaled.status == "succeeded", scaled
    assert scaled.output["lines"] == ["deployment.apps/web scaled"]
    assert cluster.objects["deployments"][0]["spec"]["replicas"] == 3
    deleting = {"command": "delete", "arguments": ["pod", "web-1", "--wait=false"]}
    with pytest.raises(AssertionError, match="allow_destructive"):
        execute("kubectl", {**at, **deleting})
    assert len(cluster.objects["pods"]) == 2
    assert execute("kubectl", {**at, **deleting, "allow_destructive": True}).status == "succeeded"
    assert [pod["metadata"]["name"] for pod in cluster.objects["pods"]] == ["web-0"]


@pytest.mark.parametrize(
    "argument",
    [
        "secrets",
        "pods,Secrets",
        "secret/db",
        "token",
        "--raw=/api/v1/secrets",
        "--kubeconfig=/x",
        "--server=https://other",
        "--token=x",
        "--as=admin",
        "-oyaml",
        "--filename=https://other/x.yaml",
        "--output=custom-columns-file=/etc/shadow",
        "--watch",
    ],
)
def test_what_kubectl_may_not_do(argument: str) -> None:
    parameters = {"command": "get", "arguments": ["pods", argument]}
    assert "must match" in refusal("kubectl", parameters)


def test_k9s_is_the_rows_of_its_view(execute: Execute, cluster: FakeCluster) -> None:
    result = execute("k9s", {"kubeconfig": cluster.kubeconfig(), "view": "deployments"})
    assert result.status == "succeeded", result
    [web] = result.output["items"]
    assert (web["replicas"], web["ready_replicas"], web["ready"]) == (2, 1, False)


def test_kubectx(execute: Execute, cluster: FakeCluster) -> None:
    needs("kubectx", "kubectx")
    at = {"kubeconfig": cluster.kubeconfig()}
    assert execute("kubectx", at).output["lines"] == ["production", "staging"]
    assert execute("kubectx", {**at, "action": "current"}).output["lines"] == ["staging"]
    switched = execute("kubectx", {**at, "action": "switch", "name": "production"})
    assert switched.status == "succeeded", switched
    assert execute("kubectx", {**at, "action": "current"}).output["lines"] == ["production"]
    missing = execute("kubectx", {**at, "action": "switch", "name": "nowhere"})
    assert missing.error_class == "not_found"


def test_kubens(execute: Execute, cluster: FakeCluster) -> None:
    needs("kubens", "kubectx")
    at = {"kubeconfig": cluster.kubeconfig()}
    assert execute("kubens", at).output["lines"] == ["default", "shop"]
    assert execute("kubens", {**at, "action": "switch", "name": "default"}).status == "succeeded"
    assert execute("kubens", {**at, "action": "current"}).output["lines"] == ["default"]
    missing = execute("kubens", {**at, "action": "switch", "name": "nowhere"})
    assert missing.error_class == "not_found"


def test_helm(execute: Execute, fake_program: FakePrograms) -> None:
    rows = [{"name": "web", "namespace": "shop", "revision": "3", "status": "deployed"}]
    helm = fake_program("helm", stdout=json.dumps(rows))
    result = execute("helm", {"namespace": "shop", "kubeconfig": "/etc/kube"})
    assert result.status == "succeeded", result
    assert helm.argv == ["helm", "--namespace=shop", "list", "--output=json"]
    assert helm.environment["KUBECONFIG"] == "/etc/kube"
    assert result.output["items"] == rows
    removing = {"command": "uninstall", "arguments": ["web"]}
    assert "allow_destructive" in refusal("helm", removing)
    rendering = {"command": "template", "arguments": ["--post-renderer=/bin/sh", "x"]}
    assert "must match" in refusal("helm", rendering)
    template = {"command": "template", "arguments": ["web", "/srv/charts/web"]}
    helm = fake_program("helm", stdout="kind: Service\n")
    rendered = execute("helm", {**template, "values": {"password": "hunter2"}})
    assert rendered.status == "succeeded", rendered
    assert helm.argv == ["helm", "template", "--values=-", "web", "/srv/charts/web"]
    assert json.loads(helm.stdin) == {"password": "hunter2"}
    assert "only" in refusal("helm", {"command": "list", "values": {"a": 1}})
    fake_program("helm", stderr="Error: release: not found\n", exit_code=1)
    missing = execute("helm", {"command": "status", "arguments": ["nobody"]})
    assert missing.error_class == "not_found"


_RELEASED = """NAME: web
LAST DEPLOYED: Sat Jan 31 10:00:00 2026
NAMESPACE: shop
STATUS: deployed
REVISION: {revision}
NOTES:
STATUS: not this one
"""


def test_helm_install_keeps_values_out_of_argv(
    execute: Execute, fake_program: FakePrograms
) -> None:
    helm = fake_program("helm", stdout=_RELEASED.format(revision=1))
    values = {"replicas": 3, "password": "hunter2"}
    parameters = {"release": "web", "chart": "shop/web", "namespace": "shop", "values": values}
    result = execute("helm_install", parameters)
    assert result.status == "succeeded", result
    assert helm.argv == [
        "helm", "--namespace=shop", "install", "--output=table", "--values=-", "--wait",
        "--timeout=300s", "--", "web", "shop/web",
    ]  # fmt: skip
    assert json.loads(helm.stdin) == values
    assert (result.output["release"], result.output["revision"]) == ("web", 1)
    assert result.output["status"] == "deployed"
    fake_program("helm", stderr="Error: INSTALLATION FAILED: cannot re-use a name\n", exit_code=1)
    assert execute("helm_install", parameters).error_class == "conflict"


def test_helm_upgrade(execute: Execute, fake_program: FakePrograms) -> None:
    helm = fake_program("helm", stdout=_RELEASED.format(revision=4))
    parameters = {"release": "web", "chart": "shop/web", "install": True, "atomic": True}
    result = execute("helm_upgrade", parameters)
    assert result.status == "succeeded", result
    assert helm.argv == [
        "helm", "upgrade", "--install", "--output=table", "--values=-", "--wait", "--atomic",
        "--timeout=300s", "--", "web", "shop/web",
    ]  # fmt: skip
    assert helm.stdin == ""
    assert result.output["revision"] == 4
    execute("helm_upgrade", {**parameters, "create_namespace": True})
    assert helm.argv[:4] == ["helm", "upgrade", "--install", "--create-namespace"]
    alone = {"release": "web", "chart": "shop/web", "create_namespace": True}
    assert "install" in refusal("helm_upgrade", alone)


def test_crictl(execute: Execute, fake_program: FakePrograms) -> None:
    pods = {"items": [{"id": "9d1e", "state": "SANDBOX_READY"}]}
    crictl = fake_program("crictl", stdout=json.dumps(pods))
    endpoint = "unix:///run/containerd/containerd.sock"
    result = execute("crictl", {"command": "pods", "runtime_endpoint": endpoint})
    assert result.status == "succeeded", result
    assert crictl.argv == [
        "crictl", "--timeout=10s", f"--runtime-endpoint={endpoint}", "pods", "--output=json",
    ]  # fmt: skip
    assert result.output["data"] == pods
    removing = {"command": "rmp", "arguments": ["9d1e"]}
    assert "allow_destructive" in refusal("crictl", removing)


def test_missing_program(execute: Execute) -> None:
    if shutil.which("crictl") is not None:
        pytest.skip("crictl is installed here")
    assert execute("crictl", {"command": "version"}).error_class == "program_missing"
