"""What compose.yaml starts, with which settings and rights, and what lies in its image."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from devstack.processes import processes
from runtime import settings as of
from runtime.trace_settings import TraceSettings
from streams.topics import DOMAINS, TEST_DOMAIN
from toolmeta import registry

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "compose.yaml").read_text("utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
#: What a process of compose.yaml runs -> the model of its settings.
MODELS: dict[str, type[of.CommonSettings]] = {
    "router": of.RouterSettings,
    "executor": of.ExecutorSettings,
    "sink": of.SinkSettings,
    "projector": of.ProjectorSettings,
    "matcher": of.MatcherSettings,
    "api": of.ApiSettings,
}
#: Settings that cannot be chosen there, with the reason.
NOT_PASSED_ON = {
    "RUNSTREAM_STATE_DIR": "the folder of the local stack, which is not used there",
    "RUNSTREAM_TEST_TOOLS": "they run any program without approval",
    "RUNSTREAM_LEDGER": "for the tools of the test domain",
}
#: A key is for what signs, and those whose signatures count for what verifies.
UNSIGNED = {"RUNSTREAM_SIGNING_KEY": {"sink", "projector"}}
#: Packages of tools that are of no use in a container, or that need more than an image.
NOT_IN_THE_IMAGE = {
    "at": "its daemon belongs to a machine",
    "cron": "its daemon belongs to a machine",
    "fail2ban": "its daemon belongs to a machine",
    "init-system-helpers": "acts on the services of a machine",
    "passwd": "acts on the accounts of a machine, which the image is not",
    "podman": "an engine in a container needs rights that the image shall not have",
    "rsyslog": "its daemon belongs to a machine",
    "sudo": "no new rights in the image",
    "systemd": "acts on the services of a machine",
    "azure-cli": "not in Debian 12",
}


def running() -> dict[str, dict[str, Any]]:
    """The processes, by the name of their service."""
    return {
        name: service
        for name, service in SERVICES.items()
        if service.get("command", [""])[0] in MODELS
    }


def variables(model: type[Any]) -> set[str]:
    return {of._variable(model, name) for name in model.model_fields}


def test_every_process_of_the_local_stack_is_a_service() -> None:
    kinds = {service["command"][0] for service in running().values()}
    assert kinds == {spec.argv[3] for spec in processes()}
    served = {service["command"][2] for service in running().values() if "--domain" in
              service["command"]}  # fmt: skip
    assert served == set(DOMAINS) - {TEST_DOMAIN}


@pytest.mark.parametrize("name", sorted(running()))
def test_every_setting_of_a_process_reaches_it(name: str) -> None:
    service = running()[name]
    kind = service["command"][0]
    wanted = variables(MODELS[kind]) | variables(TraceSettings)
    wanted -= {variable for variable, kinds in UNSIGNED.items() if kind in kinds}
    given = set(service["environment"])
    assert wanted - given == set(NOT_PASSED_ON) & wanted
    # And nothing that means nothing to it, above all no secret of others.
    assert given - variables(MODELS[kind]) - variables(TraceSettings) == set()


def test_every_exception_is_a_setting() -> None:
    known = {variable for model in MODELS.values() for variable in variables(model)}
    assert set(NOT_PASSED_ON) <= known


@pytest.mark.parametrize("name", sorted(running()))
def test_a_process_says_whether_it_works_and_is_not_root(name: str) -> None:
    service = running()[name]
    assert "/readyz" in service["healthcheck"]["test"][-1]
    assert "user" not in service
    assert service["restart"] == "unless-stopped"
    if service["command"][0] != "executor":
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert "USER runstream" in (ROOT / "Dockerfile").read_text("utf-8").splitlines()


def test_every_server_says_whether_it_works() -> None:
    for name, service in SERVICES.items():
        if service.get("restart") == "unless-stopped":
            assert service["healthcheck"]["test"][0] == "CMD", name


def test_what_is_kept_lies_in_volumes() -> None:
    declared = set(yaml.safe_load(TEXT)["volumes"])
    mounted = {
        volume.partition(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if not volume.startswith(".")
    }
    assert mounted == declared


def test_folders_of_the_repository_that_are_mounted_exist() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            if volume.startswith("."):
                place, _, mode = volume.rpartition(":")
                assert mode == "ro", volume
                assert (ROOT / place.partition(":")[0]).is_dir(), volume


def test_prometheus_scrapes_every_process() -> None:
    text = (ROOT / "deploy" / "prometheus" / "compose.yml").read_text("utf-8")
    found = yaml.safe_load(text)["scrape_configs"][0]["static_configs"][0]["targets"]
    assert sorted(found) == sorted(f"{name}:8000" for name in running())


def test_raw_packets_need_no_root() -> None:
    override = yaml.safe_load((ROOT / "compose.network.yaml").read_text("utf-8"))["services"]
    assert set(override) == {"executor-network"}
    service = override["executor-network"]
    assert service["cap_drop"] == ["ALL"]
    # setpriv gives up all but NET_RAW before the process begins.
    words = service["entrypoint"]
    assert words[0] == "setpriv"
    assert words[-1] == "runstream"
    assert "--reuid=runstream" in words
    for option in ("--bounding-set", "--inh-caps", "--ambient-caps"):
        assert f"{option}=-all,+net_raw" in words


def test_the_image_with_programs_has_those_of_the_catalogue() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    lists = re.findall(r"--no-install-recommends \\\n(.*?)&& rm", text, re.DOTALL)
    installed = {word for found in lists for word in found.replace("\\", " ").split()}
    wanted = {tool.debian_package for tool in registry.load().all()}
    wanted.discard(None)
    assert wanted
    in_debian = {name for name in wanted if name and not name.startswith("not in Debian")}
    assert in_debian - installed == set(NOT_IN_THE_IMAGE)


def test_docker_compose_understands_it(tmp_path: Path) -> None:
    """With the override and the profile: the program of the tests of the tools, if it is built."""
    built = Path.home() / ".cache" / "runstream" / "programs"
    program = shutil.which("docker-compose", path=str(built))
    if program is None:
        pytest.skip("Docker Compose 2 is not built: .ci/programs docker-compose")
    values = tmp_path / "values.env"
    names = set(re.findall(r"\$\{(\w+):\?", TEXT))
    values.write_text(
        "".join(f"{name}=made-{name}\n" for name in names) + "RUNSTREAM_CONCURRENCY=5\n"
    )
    done = subprocess.run(
        [program, f"--env-file={values}", "--profile=metrics", "--file=compose.yaml",
         "--file=compose.network.yaml", "config", "--format=json"],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["services"]
    assert found["executor-asset"]["environment"]["RUNSTREAM_CONCURRENCY"] == "5"
    assert found["executor-network"]["user"] == "root"
    assert "RUNSTREAM_CONCURRENCY" not in found["router"]["environment"]
    # What nobody has set is absent in the container, not empty.
    assert found["router"]["environment"]["RUNSTREAM_POLICY"] is None
