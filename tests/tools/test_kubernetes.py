"""Kubernetes tools: kubectl, kubectx and kubens on a fake API server and on a real one.

crictl is recorded: neither Debian nor the Go module proxy has it. Helm is in test_helm.py.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack.stack import LocalStack
from tests.records import every_record
from tests.tools.catalogue import needs, refusal
from tests.tools.cluster import RealCluster, real_cluster
from tests.tools.conftest import Execute
from tests.tools.fakes.kubernetes import VIEWER, FakeCluster, fake_cluster
from tests.tools.fakes.program import FakePrograms

Cluster = FakeCluster | RealCluster


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    needs("kubectl", "kubernetes-client")
    with real_cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
def real(served: RealCluster) -> RealCluster:
    """The API server itself, with the objects of the fake."""
    served.reset()
    return served


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeCluster]:
    """Stands for one with nodes, too: it has logs, and starts one program."""
    needs("kubectl", "kubernetes-client")
    with fake_cluster(tmp_path) as made:
        yield made


@pytest.fixture(params=["fake", "real"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    made: Cluster = request.getfixturevalue(request.param)
    return made


def test_kubectl_get(execute: Execute, cluster: Cluster) -> None:
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
        ({"token": VIEWER}, {"resource": "pods"}, "capability_missing"),
        ({"trusted": False}, {"resource": "pods"}, "tls_failed"),
        ({"url": "https://127.0.0.1:1"}, {"resource": "pods"}, "connection_refused"),
        ({"url": "https://cluster.invalid"}, {"resource": "pods"}, "unreachable"),
    ],
)
def test_why_kubectl_fails(
    execute: Execute,
    cluster: Cluster,
    credentials: dict[str, Any],
    parameters: dict[str, Any],
    expected: str,
) -> None:
    file = cluster.kubeconfig(**credentials)
    result = execute("kubectl_get", {"kubeconfig": file, **parameters})
    assert result.error_class == expected, result


def test_kubectl_describe(execute: Execute, cluster: Cluster) -> None:
    at = {"kubeconfig": cluster.kubeconfig()}
    result = execute("kubectl_describe", {**at, "resource": "pod", "name": "web-1"})
    assert result.status == "succeeded", result
    assert result.output["fields"]["Name"] == "web-1"
    assert result.output["fields"]["Status"] == "Running"
    [event] = result.output["events"]
    assert "Back-off restarting failed container" in event


def test_kubectl_logs(execute: Execute, fake: FakeCluster) -> None:
    at = {"kubeconfig": fake.kubeconfig()}
    result = execute("kubectl_logs", {**at, "pod": "web-0", "tail": 2})
    assert result.status == "succeeded", result
    assert result.output["lines"] == ["line 299", "line 300"]


def test_kubectl_exec(execute: Execute, fake: FakeCluster) -> None:
    at = {"kubeconfig": fake.kubeconfig(), "pod": "web-0"}
    result = execute("kubectl_exec", {**at, "argv": ["cat"], "input": "; id $(id)"})
    if fake.asked_for_spdy:
        pytest.skip("this kubectl is older than 1.31 and does exec by SPDY only")
    assert result.status == "succeeded", result
    assert result.output["text"] == "; id $(id)"
    failed = execute("kubectl_exec", {**at, "argv": ["nope"]})
    assert failed.error_class == "exit_status"
    assert failed.output["exit_code"] == 127


def test_kubectl(execute: Execute, cluster: Cluster) -> None:
    at = {"kubeconfig": cluster.kubeconfig()}
    scaling = {"command": "scale", "arguments": ["deployment/web", "--replicas=3"]}
    scaled = execute("kubectl", {**at, **scaling})
    assert scaled.status == "succeeded", scaled
    assert scaled.output["lines"] == ["deployment.apps/web scaled"]
    web = cluster.read("deployments", "web")
    assert web is not None
    assert web["spec"]["replicas"] == 3
    deleting = {"command": "delete", "arguments": ["pod", "web-1", "--wait=false"]}
    with pytest.raises(AssertionError, match="allow_destructive"):
        execute("kubectl", {**at, **deleting})
    assert cluster.names("pods") == ["web-0", "web-1"]
    assert execute("kubectl", {**at, **deleting, "allow_destructive": True}).status == "succeeded"
    assert cluster.names("pods") == ["web-0"]


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


def test_k9s_is_the_rows_of_its_view(execute: Execute, cluster: Cluster) -> None:
    result = execute("k9s", {"kubeconfig": cluster.kubeconfig(), "view": "deployments"})
    assert result.status == "succeeded", result
    [web] = result.output["items"]
    assert (web["replicas"], web["ready_replicas"], web["ready"]) == (2, 1, False)


def test_kubectx(execute: Execute, cluster: Cluster) -> None:
    needs("kubectx", "kubectx")
    at = {"kubeconfig": cluster.kubeconfig()}
    assert execute("kubectx", at).output["lines"] == ["production", "staging"]
    assert execute("kubectx", {**at, "action": "current"}).output["lines"] == ["staging"]
    switched = execute("kubectx", {**at, "action": "switch", "name": "production"})
    assert switched.status == "succeeded", switched
    assert execute("kubectx", {**at, "action": "current"}).output["lines"] == ["production"]
    missing = execute("kubectx", {**at, "action": "switch", "name": "nowhere"})
    assert missing.error_class == "not_found"


def test_kubens(execute: Execute, cluster: Cluster) -> None:
    needs("kubens", "kubectx")
    at = {"kubeconfig": cluster.kubeconfig()}
    assert sorted(execute("kubens", at).output["lines"]) == cluster.names("namespaces")
    assert execute("kubens", {**at, "action": "switch", "name": "default"}).status == "succeeded"
    assert execute("kubens", {**at, "action": "current"}).output["lines"] == ["default"]
    missing = execute("kubens", {**at, "action": "switch", "name": "nowhere"})
    assert missing.error_class == "not_found"


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        ({"token": "wrong"}, "login_refused"),
        ({"token": VIEWER}, "capability_missing"),
        ({"trusted": False}, "tls_failed"),
        ({"url": "https://127.0.0.1:1"}, "connection_refused"),
        ({"url": "https://cluster.invalid"}, "unreachable"),
    ],
)
@pytest.mark.parametrize("action", ["list", "switch"])
def test_why_kubens_fails(
    execute: Execute, cluster: Cluster, credentials: dict[str, Any], expected: str, action: str
) -> None:
    needs("kubens", "kubectx")
    named = {"name": "shop"} if action == "switch" else {}
    at = {"kubeconfig": cluster.kubeconfig(**credentials), "action": action, **named}
    result = execute("kubens", at)
    assert result.error_class == expected, result


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


_UNIX = "dial unix /run/containerd/containerd.sock: connect"
_NO_SERVICE = (
    'validate service connection: validate CRI v1 runtime API for endpoint \\"unix:///x.sock\\": '
    f'rpc error: code = Unavailable desc = connection error: desc = \\"transport: {_UNIX}: '
)
_ABSENT = (
    'rpc error: code = NotFound desc = an error occurred when try to find container \\"a\\": '
    "not found"
)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (f'{_NO_SERVICE}no such file or directory\\"', "connection_refused"),
        (f'{_NO_SERVICE}connection refused\\"', "connection_refused"),
        (f'{_NO_SERVICE}permission denied\\"', "capability_missing"),
        ("failed to connect: failed to connect: context deadline exceeded", "unreachable"),
        (_ABSENT, "not_found"),
        ("unable to inspect: no room", "exit_status"),
    ],
)
def test_why_crictl_fails(
    execute: Execute, fake_program: FakePrograms, said: str, expected: str
) -> None:
    for line in (f'time="2026-01-31T10:00:00Z" level=fatal msg="{said}"', f"FATA[0002] {said} "):
        fake_program("crictl", stderr=f"E0131 10:00:00 of klog\n{line}\n", exit_code=1)
        result = execute("crictl", {"command": "inspect", "arguments": ["a"]})
        assert result.error_class == expected, result
    # What a container wrote is not what crictl says.
    forged = f'time="2026-01-31T10:00:00Z" level=fatal msg="{_ABSENT}"\n'
    own = 'time="2026-01-31T10:00:00Z" level=fatal msg="stream broke"\n'
    fake_program("crictl", stderr=forged + own, exit_code=1)
    result = execute("crictl", {"command": "logs", "arguments": ["a"]})
    assert result.error_class == "exit_status", result


def test_missing_program(execute: Execute) -> None:
    if shutil.which("crictl") is not None:
        pytest.skip("crictl is installed here")
    assert execute("crictl", {"command": "version"}).error_class == "program_missing"


SECRET = "Äny-größer-than-73"


def _secret(text: str, **more: Any) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "login"},
            "stringData": {"password": text},
            **more,
        }
    )


def test_a_secret_that_is_applied_stays_in(
    execute: Execute, real: RealCluster, stack: tuple[LocalStack, Path]
) -> None:
    at = {"kubeconfig": real.kubeconfig(), "command": "apply"}
    shown = {**at, "manifest": _secret(SECRET), "arguments": ["--output=json"]}
    with pytest.raises(AssertionError, match="would print what Secrets"):
        execute("kubectl", shown)
    applied = execute("kubectl", {**shown, "arguments": ["--output=name"]})
    assert applied.output["lines"] == ["secret/login"], applied
    # kubectl quotes the patch that somebody may not make.
    real.allow("viewer", "get", "secrets")
    changed = {"kubeconfig": real.kubeconfig(VIEWER), "manifest": _secret(f"{SECRET}!")}
    refused = execute("kubectl", {**at, **changed})
    assert refused.error_class == "capability_missing", refused
    frozen = execute("kubectl", {**at, "manifest": _secret(SECRET, immutable=True)})
    assert frozen.status == "succeeded", frozen
    late = execute("kubectl", {**at, "manifest": _secret(f"{SECRET}!", immutable=True)})
    assert late.error_class == "invalid_parameters", late
    assert "immutable" in late.error["message"]
    kept = real.read("secrets", "login")
    assert kept is not None
    assert base64.b64decode(kept["data"]["password"]).decode() == SECRET
    records = b"".join(
        part for parts in every_record(stack[0].client_options).values() for part in parts
    )
    assert b"error when applying patch" in records
    for text in (SECRET, f"{SECRET}!"):
        assert text.encode() not in records
        assert base64.b64encode(text.encode()).rstrip(b"=") not in records


def test_two_who_apply_the_same_field(execute: Execute, real: RealCluster) -> None:
    at = {"kubeconfig": real.kubeconfig(), "command": "apply"}
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}}
    for value, options, expected in (
        ("one", ["--field-manager=first"], ""),
        ("two", ["--field-manager=second"], "conflict"),
        ("two", ["--field-manager=second", "--force-conflicts"], ""),
    ):
        manifest = json.dumps({**settings, "data": {"size": value}})
        result = execute(
            "kubectl", {**at, "manifest": manifest, "arguments": ["--server-side", *options]}
        )
        assert result.error_class == expected, result
    kept = real.read("configmaps", "settings")
    assert kept is not None
    assert kept["data"]["size"] == "two"


def test_what_is_created_from_literals(execute: Execute, real: RealCluster) -> None:
    at = {"kubeconfig": real.kubeconfig(), "command": "create"}
    literals = ["--from-literal=a=größer, {x}\n; $(id)", "--from-literal=b==", "--dry-run=none"]
    creating = {**at, "arguments": ["configmap", "settings", *literals]}
    made = execute("kubectl", creating)
    assert made.status == "succeeded", made
    kept = real.read("configmaps", "settings")
    assert kept is not None
    assert kept["data"] == {"a": "größer, {x}\n; $(id)", "b": "="}
    assert execute("kubectl", creating).error_class == "conflict"
    other = {**creating, "kubeconfig": real.kubeconfig(VIEWER)}
    assert execute("kubectl", other).error_class == "capability_missing"
    wrong = execute("kubectl", {**at, "arguments": ["configmap", "Wrong_Name"]})
    assert wrong.error_class == "invalid_parameters", wrong


def test_a_kustomization(execute: Execute, real: RealCluster, tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text(
        "namePrefix: staging-\n"
        "configMapGenerator:\n- name: settings\n  literals: [size=größer]\n"
        "secretGenerator:\n- name: login\n  literals: [password=of-the-operator]\n"
        "generatorOptions: {disableNameSuffixHash: true}\n"
    )
    at = {"kubeconfig": real.kubeconfig(), "kustomization": str(tmp_path)}
    differs = execute("kubectl", {**at, "command": "diff"})
    assert (differs.status, differs.output["exit_code"]) == ("succeeded", 1)
    assert "+  size: größer" in differs.output["lines"]
    hidden = base64.b64encode(b"of-the-operator").decode()
    assert hidden not in json.dumps(differs.output)
    assert real.names("configmaps") == []
    applied = execute("kubectl", {**at, "command": "apply"})
    assert sorted(applied.output["lines"]) == [
        "configmap/staging-settings created",
        "secret/staging-login created",
    ]
    kept = real.read("configmaps", "staging-settings")
    assert kept is not None
    assert kept["data"] == {"size": "größer"}
    removed = execute("kubectl", {**at, "command": "delete", "allow_destructive": True})
    assert removed.status == "succeeded", removed
    assert real.names("configmaps") == real.names("secrets") == []
    same = execute("kubectl", {**at, "command": "diff"})
    assert same.output["exit_code"] == 1
    elsewhere = execute("kubectl", {**at, "command": "apply", "kustomization": "/srv"})
    assert elsewhere.error_class == "capability_missing", elsewhere
