"""Helm on a real API server, compared with what the server keeps; `make programs` builds both."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack.stack import LocalStack
from tests.records import every_record
from tests.tools.built import built
from tests.tools.catalogue import refusal
from tests.tools.cluster import RealCluster, real_cluster, release
from tests.tools.conftest import Execute
from tests.tools.fakes.kubernetes import VIEWER
from tests.tools.fakes.program import FakePrograms

_TEMPLATE = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-settings}
data:
  greeting: {{ .Values.greeting | quote }}
  {{- if .Values.broken }}
  reason: {{ required "a reason is needed" .Values.reason }}
  {{- end }}
---
apiVersion: v1
kind: Secret
metadata: {name: {{ .Release.Name }}-login}
stringData:
  password: {{ .Values.password | quote }}
"""
PASSWORD = "73-größer & 'better'"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    built("helm")
    with real_cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
def cluster(served: RealCluster) -> RealCluster:
    served.reset()
    return served


@pytest.fixture
def chart(tmp_path: Path) -> str:
    """A chart with a ConfigMap and a Secret: what needs nobody to run it."""
    folder = tmp_path / "web"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 1.4.0\n")
    (folder / "values.yaml").write_text("greeting: hello\npassword: none\n")
    (folder / "templates" / "all.yaml").write_text(_TEMPLATE)
    return str(folder)


def test_install_upgrade_and_back(execute: Execute, cluster: RealCluster, chart: str) -> None:
    at = {"kubeconfig": cluster.kubeconfig(), "namespace": "shop"}
    web = {**at, "release": "web", "chart": chart}
    installed = execute("helm_install", {**web, "values": {"greeting": "größer: {a}\n- b"}})
    assert installed.status == "succeeded", installed
    assert (installed.output["revision"], installed.output["status"]) == (1, "deployed")
    assert installed.output["namespace"] == "shop"
    assert _greeting(cluster) == "größer: {a}\n- b"
    assert release(cluster, "web", 1)["info"]["status"] == "deployed"

    again = execute("helm_install", web)
    assert again.error_class == "conflict", again

    upgraded = execute("helm_upgrade", {**web, "values": {"greeting": "two"}})
    assert upgraded.status == "succeeded", upgraded
    assert upgraded.output["revision"] == 2
    assert _greeting(cluster) == "two"
    assert release(cluster, "web", 2)["config"] == {"greeting": "two"}
    assert release(cluster, "web", 1)["info"]["status"] == "superseded"

    kept = execute("helm_upgrade", {**web, "reuse_values": True, "values": {"password": "x-y-z"}})
    assert kept.output["revision"] == 3
    assert release(cluster, "web", 3)["config"] == {"greeting": "two", "password": "x-y-z"}

    listed = execute("helm", at)
    assert [item["name"] for item in listed.output["items"]] == ["web"]
    assert listed.output["items"][0]["revision"] == "3"
    history = execute("helm", {**at, "command": "history", "arguments": ["web"]})
    states = [(item["revision"], item["status"]) for item in history.output["items"]]
    assert states == [(1, "superseded"), (2, "superseded"), (3, "deployed")]

    back = execute("helm", {**at, "command": "rollback", "arguments": ["web", "1", "--wait"]})
    assert back.status == "succeeded", back
    assert _greeting(cluster) == "größer: {a}\n- b"
    assert release(cluster, "web", 4)["info"]["status"] == "deployed"
    never = execute("helm", {**at, "command": "rollback", "arguments": ["web", "9"]})
    assert never.error_class == "not_found", never

    removing = {**at, "command": "uninstall", "arguments": ["web"]}
    assert "allow_destructive" in refusal("helm", removing)
    assert cluster.names("configmaps") == ["web-settings"]
    removed = execute("helm", {**removing, "allow_destructive": True})
    assert removed.status == "succeeded", removed
    assert cluster.names("configmaps") == cluster.names("secrets") == []
    gone = execute("helm", {**removing, "allow_destructive": True})
    assert gone.error_class == "not_found", gone


def test_a_namespace_that_is_not_there(execute: Execute, cluster: RealCluster, chart: str) -> None:
    at = {"kubeconfig": cluster.kubeconfig(), "release": "web", "chart": chart}
    without = execute("helm_install", {**at, "namespace": "absent"})
    assert without.error_class == "not_found", without
    assert "absent" not in cluster.names("namespaces")
    alone = {"release": "web", "chart": chart, "create_namespace": True}
    assert "install" in refusal("helm_upgrade", alone)
    for tool, more, space in (
        ("helm_install", {}, "fresh-a"),
        ("helm_upgrade", {"install": True, "atomic": True}, "fresh-b"),
    ):
        made = execute(tool, {**at, **more, "namespace": space, "create_namespace": True})
        assert made.status == "succeeded", made
        assert release(cluster, "web", 1, space)["info"]["status"] == "deployed"
    planned = execute("helm_install", {**at, "namespace": "shop", "dry_run": True})
    assert planned.output["status"] == "pending-install"
    assert cluster.names("configmaps") == []


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
def test_why_helm_fails(
    execute: Execute,
    cluster: RealCluster,
    chart: str,
    credentials: dict[str, Any],
    expected: str,
) -> None:
    at = {"kubeconfig": cluster.kubeconfig(**credentials)}
    for tool, more in (
        ("helm", {}),
        ("helm_install", {"release": "web", "chart": chart}),
        ("helm_upgrade", {"release": "web", "chart": chart, "install": True}),
    ):
        result = execute(tool, {**at, **more})
        assert result.error_class == expected, (tool, result)
    assert cluster.names("secrets") == []


def test_what_a_chart_does_not_have(execute: Execute, cluster: RealCluster, chart: str) -> None:
    at = {"kubeconfig": cluster.kubeconfig()}
    broken = {"release": "web", "chart": chart, "values": {"broken": True}}
    for tool, parameters, expected in (
        ("helm_install", {"release": "web", "chart": f"{chart}-none"}, "not_found"),
        ("helm_install", {"release": "web", "chart": "nobody/web"}, "not_found"),
        ("helm_install", {**broken}, "invalid_parameters"),
        ("helm_upgrade", {**broken, "install": True}, "invalid_parameters"),
        ("helm_upgrade", {"release": "web", "chart": chart}, "not_found"),
        ("helm", {"command": "status", "arguments": ["nobody"]}, "not_found"),
        ("helm", {"context": "nowhere"}, "not_configured"),
    ):
        result = execute(tool, {**at, **parameters})
        assert result.error_class == expected, (tool, parameters, result)
    assert cluster.names("configmaps") == cluster.names("secrets") == []


def test_a_chart_is_rendered_and_checked(execute: Execute, chart: str) -> None:
    built("helm")
    template = {"command": "template", "arguments": ["web", chart]}
    rendered = execute("helm", {**template, "values": {"greeting": "größer"}})
    assert rendered.status == "succeeded", rendered
    assert '  greeting: "größer"' in rendered.output["lines"]
    checked = execute("helm", {"command": "lint", "arguments": [chart]})
    assert checked.status == "succeeded", checked
    (Path(chart) / "templates" / "all.yaml").write_text("a: {{ nothing }}\n")
    wrong = execute("helm", {"command": "lint", "arguments": [chart]})
    assert wrong.error_class == "exit_status", wrong
    assert "nothing" in json.dumps(wrong.output)


def test_a_value_of_a_chart_stays_in(
    execute: Execute, cluster: RealCluster, chart: str, stack: tuple[LocalStack, Path]
) -> None:
    at = {"kubeconfig": cluster.kubeconfig(), "release": "web", "chart": chart}
    for more in ({"dry_run": True}, {}):
        done = execute("helm_install", {**at, **more, "values": {"password": PASSWORD}})
        assert done.status == "succeeded", done
    kept = cluster.read("secrets", "web-login")
    assert kept is not None
    assert base64.b64decode(kept["data"]["password"]).decode() == PASSWORD
    topics = every_record(stack[0].client_options)
    records = b"".join(part for parts in topics.values() for part in parts)
    for form in (PASSWORD.encode(), kept["data"]["password"].rstrip("=").encode()):
        assert form not in records


_RELEASED = """NAME: web
LAST DEPLOYED: Sat Jan 31 10:00:00 2026
NAMESPACE: shop
STATUS: deployed
REVISION: 4
NOTES:
STATUS: not this one
"""


@pytest.mark.parametrize("tool", ["helm_install", "helm_upgrade"])
def test_values_stay_out_of_argv(execute: Execute, fake_program: FakePrograms, tool: str) -> None:
    """Where there is no Helm either."""
    helm = fake_program("helm", stdout=_RELEASED)
    values = {"replicas": 3, "password": "hunter2"}
    parameters = {"release": "web", "chart": "shop/web", "namespace": "shop", "values": values}
    result = execute(tool, parameters)
    assert result.status == "succeeded", result
    assert helm.argv == [
        "helm", "--namespace=shop", tool.removeprefix("helm_"), "--output=table", "--values=-",
        "--wait", "--timeout=300s", "--", "web", "shop/web",
    ]  # fmt: skip
    assert json.loads(helm.stdin) == values
    assert (result.output["status"], result.output["revision"]) == ("deployed", 4)


def test_what_helm_may_not_do() -> None:
    rendering = {"command": "template", "arguments": ["--post-renderer=/bin/sh", "x"]}
    assert "must match" in refusal("helm", rendering)
    assert "only" in refusal("helm", {"command": "list", "values": {"a": 1}})


def _greeting(cluster: RealCluster) -> str:
    found = cluster.read("configmaps", "web-settings")
    assert found is not None
    return str(found["data"]["greeting"])
