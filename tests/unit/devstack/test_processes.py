"""What the local stack runs, and what the compose file runs."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import yaml

from devstack.processes import PREPARATION, executor, processes
from devstack.state import LaunchRequest, StateFolder
from devstack.supervisor import Supervisor
from streams.topics import DOMAINS

ROOT = Path(__file__).parents[3]


def _domains(arguments: list[str]) -> set[str]:
    return {word for before, word in pairwise(arguments) if before == "--domain"}


def test_the_test_tools_are_not_served_unless_asked_for() -> None:
    """The tool argv runs any program without approval."""
    served = _domains([word for spec in processes() for word in spec.argv])
    assert served == set(DOMAINS) - {"test"}


def test_the_test_tools_are_served_on_purpose() -> None:
    served = _domains([word for spec in processes(test_tools=True) for word in spec.argv])
    assert served == set(DOMAINS)


def test_one_executor_serves_all_domains_on_one_machine() -> None:
    names = [spec.name for spec in processes()]
    assert names == ["router", "executor", "sink", "projector", "matcher", "api"]


def test_the_compose_file_does_not_serve_the_test_tools() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]
    commands = [service.get("command", []) for service in services.values()]
    assert _domains([word for command in commands for word in command]) == set(DOMAINS) - {"test"}
    assert "RUNSTREAM_TEST_TOOLS" not in (ROOT / "compose.yaml").read_text("utf-8")


def test_every_executor_of_the_compose_file_is_told_its_environment() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]
    executors = [one for one in services.values() if one.get("command", [""])[0] == "executor"]
    assert executors
    for service in executors:
        assert service["environment"]["RUNSTREAM_ENVIRONMENT"] == "${RUNSTREAM_ENVIRONMENT:-dev}"


def test_the_compose_file_lets_nobody_in_without_a_password_of_the_users_own() -> None:
    text = (ROOT / "compose.yaml").read_text("utf-8")
    used = re.findall(r"\$\{?(\w*PASSWORD)(\S\S)", text)
    assert {"KAFKA_PASSWORD", "POSTGRES_PASSWORD", "KAFKA_UI_PASSWORD", "GRAFANA_PASSWORD"} <= {
        name for name, _ in used
    }
    assert {following for _, following in used} == {":?"}
    for page in (text, (ROOT / "docs/local-stack.md").read_text("utf-8")):
        made = re.search(r"for name in ([A-Z_ ]+); do", page)
        assert made is not None
        assert set(made[1].split()) == {name for name, _ in used}
    services = yaml.safe_load(text)["services"]
    kafka = services["kafka"]["environment"]
    listeners = {one.partition("://")[0] for one in kafka["KAFKA_LISTENERS"].split(",")}
    protocols = dict(
        pair.split(":") for pair in kafka["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
    )
    assert {protocols[name] for name in listeners} == {"SASL_PLAINTEXT"}
    for name in listeners:
        assert f"KAFKA_LISTENER_NAME_{name}_PLAIN_SASL_JAAS_CONFIG" in kafka
    assert services["kafka-ui"]["environment"]["AUTH_TYPE"] == "LOGIN_FORM"
    for service in services.values():
        # What makes the keys connects to nothing.
        if service.get("build") and service["command"][0] != "keys":
            options = json.loads(service["environment"]["RUNSTREAM_KAFKA_OPTIONS"])
            assert options["security.protocol"] == "SASL_PLAINTEXT"
            assert options["sasl.password"].startswith("${KAFKA_PASSWORD:?")
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


def test_every_process_logs_in_as_what_it_is() -> None:
    found = {spec.name: (spec.role, spec.domains) for spec in processes()}
    served = tuple(domain for domain in DOMAINS if domain != "test")
    assert found == {
        "router": ("router", ()),
        "executor": ("executor", served),
        "sink": ("sink", ()),
        "projector": ("projector", ()),
        "matcher": ("matcher", ()),
        "api": ("api", ()),
    }


def test_the_image_installs_the_versions_that_the_tests_ran_with() -> None:
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    installs = [line for line in lines if "pip install" in line]
    assert installs
    assert all("--constraint constraints.txt" in line for line in installs)


def test_credentials_are_given_only_where_they_are_needed() -> None:
    every = (*PREPARATION, *processes())
    found = {spec.name: (spec.database, spec.inventory, spec.secrets) for spec in every}
    assert found == {
        "topics-apply": (False, False, False),
        "migrate": (True, True, False),
        "router": (False, False, False),
        "executor": (False, True, True),
        "sink": (True, False, False),
        "projector": (False, False, False),
        "matcher": (False, False, False),
        "api": (True, False, False),
    }
    # The test domain has no hosts to look up.
    assert not executor("executor-test", ["test"]).inventory


def test_headers_for_the_receiver_of_spans_go_to_every_process_and_no_other_secret(
    tmp_path: Path,
) -> None:
    headers = {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=a"}
    request = LaunchRequest(
        bootstrap_servers="broker:9092", database_url=None, preparation=(),
        processes=processes(), test_tools=False, environment="dev", ready_seconds=1,
    )  # fmt: skip
    made = Supervisor(StateFolder(tmp_path), request, {**headers, "SMTP_PASSWORD": "b"})
    for spec in processes():
        given = made._environment(spec)
        assert given["OTEL_EXPORTER_OTLP_HEADERS"] == "api-key=a"
        assert ("SMTP_PASSWORD" in given) == spec.secrets
