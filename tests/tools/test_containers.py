"""Container and Kubernetes tools.

Docker's programs and Podman act on a real engine (Podman's service with runc and a busybox image),
kubectl, kubectx and kubens on a fake API server; helm and crictl are recorded.
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
from tests.tools.engine import IMAGE, Engine, engine
from tests.tools.fakes.kubernetes import FakeCluster, fake_cluster
from tests.tools.fakes.program import FakePrograms


@pytest.fixture(scope="module")
def podman_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with engine(tmp_path_factory.mktemp("engine")) as made:
        yield made


@pytest.fixture
def web(podman_engine: Engine) -> Iterator[Engine]:
    """An engine with one container `web` that has written to both streams."""
    podman_engine.run("web", "/bin/sh", "-c", "echo ready; echo careful >&2; exec sleep 600")
    yield podman_engine
    podman_engine.remove("web", "made", "other")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    needs("kubectl", "kubernetes-client")
    with fake_cluster(tmp_path) as made:
        yield made


def test_docker_ps(execute: Execute, web: Engine) -> None:
    needs("docker", "docker.io")
    result = execute("docker_ps", {"engine": web.address})
    assert result.status == "succeeded", result
    assert (result.output["count"], result.output["running"]) == (1, 1)
    [container] = result.output["containers"]
    assert (container["name"], container["image"], container["state"]) == ("web", IMAGE, "running")
    none = execute("docker_ps", {"engine": web.address, "all": True, "filters": "status=exited"})
    assert none.output["containers"] == []


def test_docker_inspect_leaves_the_environment_out(execute: Execute, web: Engine) -> None:
    needs("docker", "docker.io")
    result = execute("docker_inspect", {"engine": web.address, "names": "web"})
    assert result.status == "succeeded", result
    assert result.output["running"] is True
    assert result.output["status"] == "running"
    assert result.output["restart_count"] == 0
    assert "Env" not in json.dumps(result.output)
    missing = execute("docker_inspect", {"engine": web.address, "names": "nobody"})
    assert missing.error_class == "not_found"


def test_docker_logs(execute: Execute, web: Engine) -> None:
    needs("docker", "docker.io")
    result = execute("docker_logs", {"engine": web.address, "container": "web"})
    assert result.status == "succeeded", result
    assert sorted(result.output["lines"]) == ["careful", "ready"]


def test_docker_stats(execute: Execute, web: Engine) -> None:
    needs("docker", "docker.io")
    result = execute("docker_stats", {"engine": web.address, "containers": "web"})
    assert result.status == "succeeded", result
    [measured] = result.output["containers"]
    assert measured["memory_bytes"] > 0
    assert measured["memory_limit_bytes"] > measured["memory_bytes"]
    assert measured["processes"] == 1


def test_docker_exec(execute: Execute, web: Engine) -> None:
    needs("docker", "docker.io")
    target = {"engine": web.address, "container": "web"}
    result = execute("docker_exec", {**target, "argv": ["/bin/cat"], "input": "; id $(id)"})
    assert result.status == "succeeded", result
    assert result.output["text"] == "; id $(id)"
    failed = execute("docker_exec", {**target, "argv": ["/bin/cat", "/nothing"]})
    assert failed.error_class == "exit_status"
    assert "No such file" in failed.error["message"]
    # What the program says is not what docker says: it has run, and must not run again.
    words = "echo 'dial tcp: connect: connection refused' >&2; exit 1"
    own = execute("docker_exec", {**target, "argv": ["/bin/sh", "-c", words]})
    assert own.error_class == "exit_status"


def test_docker(execute: Execute, web: Engine) -> None:
    needs("docker", "docker.io")
    at = {"engine": web.address}
    listed = execute("docker", at)
    assert [item["Names"] for item in listed.output["items"]] == ["web"]
    modest = ["--network=none", "--ulimit=nofile=256:256", "--ulimit=nproc=256:256"]
    arguments = ["--detach", "--name=made", *modest, IMAGE, "/bin/sleep", "600"]
    made = execute("docker", {**at, "command": "run", "arguments": arguments})
    assert made.status == "succeeded", made
    assert b"made" in web.podman("ps", "--format={{.Names}}").stdout
    permitted = {"command": "rm", "arguments": ["--force", "made"], "allow_destructive": True}
    assert execute("docker", {**at, **permitted}).status == "succeeded"
    assert b"made" not in web.podman("ps", "--all", "--format={{.Names}}").stdout


@pytest.mark.parametrize("tool", ["docker", "podman"])
@pytest.mark.parametrize(
    ("command", "arguments", "reason"),
    [
        ("rm", ["web"], "allow_destructive"),
        ("prune", [], "allow_destructive"),
        ("run", ["--privileged", "x"], "must match"),
        ("run", ["--volume=/:/host", "x"], "must match"),
        ("run", ["-v", "/:/host", "x"], "must match"),
        ("run", ["--network=host", "x"], "must match"),
        ("run", ["--env-file=/etc/shadow", "x"], "must match"),
    ],
)
def test_what_a_wide_tool_may_not_do(
    tool: str, command: str, arguments: list[str], reason: str
) -> None:
    assert reason in refusal(tool, {"command": command, "arguments": arguments})


def test_no_engine(execute: Execute, tmp_path: Path) -> None:
    needs("docker", "docker.io")
    result = execute("docker_ps", {"engine": f"unix://{tmp_path}/nobody.sock"})
    assert result.error_class == "connection_refused", result
    file = tmp_path / "compose.yaml"
    file.write_text(json.dumps({"version": "2.4", "services": {"shop": {"image": IMAGE}}}))
    composed = execute("docker_compose", {"files": str(file), "engine": f"unix://{tmp_path}/no"})
    assert composed.error_class == "connection_refused", composed
    podman = execute("podman_ps", {"engine": f"unix://{tmp_path}/nobody.sock"})
    assert podman.error_class == "connection_refused", podman


def test_podman(execute: Execute, web: Engine) -> None:
    at = {"engine": web.address}
    listed = execute("podman_ps", at)
    assert listed.status == "succeeded", listed
    assert listed.output["running"] == 1
    assert listed.output["containers"][0]["command"].startswith("/bin/sh -c")
    images = execute("podman", {**at, "object": "image"})
    assert images.status == "succeeded", images
    assert IMAGE in images.output["items"][0]["Names"]
    stopped = execute("podman", {**at, "command": "stop", "arguments": ["--time=0", "web"]})
    assert stopped.status == "succeeded", stopped
    gone = execute("podman_ps", {**at, "all": True})
    assert gone.output["running"] == 0
    assert gone.output["containers"][0]["exit_code"] == 137
    missing = execute("podman", {**at, "command": "start", "arguments": ["nobody"]})
    assert missing.error_class == "not_found"


def test_docker_compose(execute: Execute, podman_engine: Engine, tmp_path: Path) -> None:
    needs("docker-compose", "docker-compose")
    file = tmp_path / "compose.yaml"
    limits = {name: {"soft": 256, "hard": 256} for name in ("nofile", "nproc")}
    service = {
        "image": IMAGE,
        "command": ["/bin/sh", "-c", "echo composed; exec sleep 600"],
        "network_mode": "none",
        "ulimits": limits,
    }
    file.write_text(json.dumps({"version": "2.4", "services": {"shop": service}}))
    at = {"files": str(file), "project_name": "tests", "engine": podman_engine.address}
    config = execute("docker_compose", {**at, "command": "config"})
    assert config.status == "succeeded", config
    assert config.output["lines"] == ["shop"]
    started = execute("docker_compose", {**at, "command": "up"})
    assert started.status == "succeeded", started
    shown = execute("docker_compose", at)
    [container] = shown.output["containers"]
    assert container["name"] == "tests_shop_1"
    assert container["state"].startswith("Up")
    with pytest.raises(AssertionError, match="allow_destructive"):
        execute("docker_compose", {**at, "command": "down"})
    ended = {**at, "command": "down", "allow_destructive": True}
    assert execute("docker_compose", ended).status == "succeeded"
    assert b"tests_shop" not in podman_engine.podman("ps", "--all").stdout
    file.write_text("services: [")
    assert execute("docker_compose", {**at, "command": "config"}).error_class == "exit_status"


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
