"""Docker's programs and Podman on a real engine: Podman's service with runc and a busybox image."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack.stack import LocalStack
from tests.certificates import Authority
from tests.conftest import ENGINES
from tests.records import every_record
from tests.tools.built import built
from tests.tools.catalogue import needs, refusal
from tests.tools.conftest import Execute
from tests.tools.engine import IMAGE, MODEST, Engine, engine
from tests.tools.fakes.registry import PASSWORD, USER, registry


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs the certificates of registries."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def podman_engine(trusted: Authority) -> Iterator[Engine]:
    # Podman refuses a path of more than 50 characters. Nobody else may write above the socket.
    ENGINES.mkdir(mode=0o700)
    try:
        with (
            tempfile.TemporaryDirectory(dir=ENGINES, ignore_cleanup_errors=True) as folder,
            engine(Path(folder), trusted.ca_file) as made,
        ):
            yield made
    finally:
        shutil.rmtree(ENGINES, ignore_errors=True)


@pytest.fixture
def web(podman_engine: Engine) -> Iterator[Engine]:
    """An engine with one container `web` that has written to both streams."""
    podman_engine.run("web", "/bin/sh", "-c", "echo ready; echo careful >&2; exec sleep 600")
    yield podman_engine
    podman_engine.remove("web", "made", "other")


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
    words = "echo 'Error: no such table; x is not running; permission denied while trying to connect' >&2; exit 1"  # noqa: E501
    own = execute("docker_exec", {**target, "argv": ["/bin/sh", "-c", words]})
    assert own.error_class == "exit_status"
    gone = execute("docker_exec", {**target, "container": "nobody", "argv": ["x"]})
    assert gone.error_class == "not_found"
    web.podman("stop", "--time=0", "web")
    ended = execute("docker_exec", {**target, "argv": ["/bin/cat"]})
    assert ended.error_class == "conflict"


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
def test_a_program_and_its_dashes_in_a_volume(execute: Execute, web: Engine, tool: str) -> None:
    needs("docker", "docker.io")
    at = {"engine": web.address}
    volume = f"kept-{tool}"
    script = "echo '{{ '{{' }}.Kept}}' \"$0\" > /kept/file"
    made = execute(
        tool,
        {
            **at,
            "command": "run",
            "arguments": ["--rm", f"--volume={volume}:/kept", *MODEST],
            "image": IMAGE,
            "argv": ["/bin/sh", "-c", script, "--privileged"],
        },
    )
    assert made.status == "succeeded", made
    place = web.podman("volume", "inspect", "--format={{.Mountpoint}}", volume).stdout.decode()
    assert Path(place.strip(), "file").read_text() == "{{.Kept}} --privileged\n"
    again = execute(
        tool, {**at, "object": "volume", "command": "inspect", "arguments": ["nothing"]}
    )
    assert again.error_class == "not_found", again


@pytest.mark.parametrize("tool", ["docker", "podman"])
def test_files_go_in_and_out_of_a_container(
    execute: Execute, web: Engine, tool: str, tmp_path: Path
) -> None:
    needs("docker", "docker.io")
    at = {"engine": web.address, "command": "cp"}
    sent, got = tmp_path / "sent", tmp_path / "got"
    sent.write_text("größer\n")
    into = execute(tool, {**at, "arguments": [str(sent), "web:/sent"]})
    assert into.status == "succeeded", into
    assert web.podman("exec", "web", "/bin/cat", "/sent").stdout.decode() == "größer\n"
    out = execute(tool, {**at, "arguments": ["web:/sent", str(got)]})
    assert out.status == "succeeded", out
    assert got.read_text() == "größer\n"
    absent = execute(tool, {**at, "arguments": ["nobody:/sent", str(got)]})
    assert absent.error_class == "not_found", absent


@pytest.mark.parametrize("tool", ["docker", "podman"])
def test_an_image_is_built(execute: Execute, web: Engine, tool: str, tmp_path: Path) -> None:
    needs("docker", "docker.io")
    folder = Path(os.environ["RUNSTREAM_CONFIG_FOLDERS"].split(",")[0], f"build-{tool}")
    folder.mkdir()
    try:
        (folder / "Dockerfile").write_text(f"FROM {IMAGE}\nARG WHO\nLABEL who=$WHO\nCOPY a /a\n")
        (tmp_path / "a").write_text("a")
        given = {
            "engine": web.address,
            "object": "image",
            "command": "build",
            "arguments": [
                f"--tag=localhost/built:{tool}",
                "--build-arg=WHO=größer",
                "--network=none",
            ],
            "context": str(tmp_path),
            "dockerfile": str(folder / "Dockerfile"),
        }
        built = execute(tool, given)
        assert built.status == "succeeded", built
        shown = web.podman(
            "image", "inspect", "--format={{.Labels.who}}", f"localhost/built:{tool}"
        )
        assert shown.stdout.decode().strip() == "größer"
    finally:
        shutil.rmtree(folder)
        web.podman("rmi", f"localhost/built:{tool}")
    elsewhere = execute(tool, {**given, "dockerfile": "/srv/Dockerfile"})
    assert elsewhere.error_class == "capability_missing"


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


@pytest.fixture(params=["docker-compose", "docker compose"])
def generation(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Parameters for the first generation of Compose, and for the second as a plugin."""
    if request.param == "docker-compose":
        needs("docker-compose", "docker-compose")
        return {}
    needs("docker", "docker.io")
    return {"plugin": True, "config": _with_plugin(tmp_path / "config", _plugin())}


def _plugin() -> str:
    """Compose of the second generation; what Debian has under this name is the first."""
    plugin = built("docker-compose")
    told = subprocess.run([plugin, "docker-cli-plugin-metadata"], capture_output=True, check=False)
    if told.returncode:
        pytest.skip("docker-compose is of the first generation: run `make programs`")
    return plugin


def _with_plugin(folder: Path, plugin: str) -> str:
    (folder / "cli-plugins").mkdir(parents=True)
    (folder / "cli-plugins" / "docker-compose").symlink_to(plugin)
    return str(folder)


def test_docker_compose(
    execute: Execute, podman_engine: Engine, tmp_path: Path, generation: dict[str, Any]
) -> None:
    file = tmp_path / "compose.yaml"
    limits = {name: {"soft": 256, "hard": 256} for name in ("nofile", "nproc")}
    service = {
        "image": IMAGE,
        "command": ["/bin/sh", "-c", "echo composed; exec sleep 600"],
        "network_mode": "none",
        "ulimits": limits,
    }
    file.write_text(json.dumps({"version": "2.4", "services": {"shop": service}}))
    at = {
        "files": str(file),
        "project_name": "tests",
        "engine": podman_engine.address,
        **generation,
    }
    config = execute("docker_compose", {**at, "command": "config"})
    assert config.status == "succeeded", config
    assert config.output["lines"] == ["shop"]
    started = execute("docker_compose", {**at, "command": "up", "services": "shop"})
    assert started.status == "succeeded", started
    shown = execute("docker_compose", at)
    [container] = shown.output["containers"]
    assert container["name"] in ("tests_shop_1", "tests-shop-1")
    assert container["state"].startswith("Up")
    known = podman_engine.podman("ps", "--format={{.Names}}").stdout.decode()
    assert container["name"] in known.split()
    logs = execute("docker_compose", {**at, "command": "logs", "tail": 5})
    assert any("composed" in line for line in logs.output["lines"]), logs
    nobody = execute("docker_compose", {**at, "command": "stop", "services": "nobody"})
    assert nobody.error_class == "not_found", nobody
    stopped = execute("docker_compose", {**at, "command": "kill", "allow_destructive": True})
    assert stopped.status == "succeeded", stopped
    [killed] = execute("docker_compose", at).output["containers"]
    assert killed["state"].startswith("Exit")
    with pytest.raises(AssertionError, match="allow_destructive"):
        execute("docker_compose", {**at, "command": "down"})
    ended = {**at, "command": "down", "allow_destructive": True}
    assert execute("docker_compose", ended).status == "succeeded"
    assert b"tests" not in podman_engine.podman("ps", "--all", "--format={{.Names}}").stdout
    file.write_text("services: [")
    assert execute("docker_compose", {**at, "command": "config"}).error_class == "exit_status"
    missing = execute("docker_compose", {**at, "files": str(tmp_path / "none"), "command": "up"})
    assert missing.error_class == "not_found", missing
    nowhere = {**at, "engine": f"unix://{tmp_path}/nobody.sock"}
    file.write_text(json.dumps({"version": "2.4", "services": {"shop": service}}))
    alone = execute("docker_compose", nowhere)
    assert alone.error_class == "connection_refused", alone


def test_the_folder_of_a_project(execute: Execute, podman_engine: Engine, tmp_path: Path) -> None:
    # The first generation would take whatever file lies above the folder of the attempt.
    assert "files is required" in refusal("docker_compose", {"project_directory": "/srv/app"})
    needs("docker", "docker.io")
    folder = tmp_path / "größe a"
    folder.mkdir()
    config = _with_plugin(tmp_path / "config", _plugin())
    at = {"engine": podman_engine.address, "plugin": True, "config": config, "command": "config"}
    empty = execute("docker_compose", {**at, "project_directory": str(folder)})
    assert empty.error_class == "not_found", empty
    (folder / "compose.yaml").write_text("services: {shop: {image: a}}\n")
    found = execute("docker_compose", {**at, "project_directory": str(folder)})
    assert found.output["lines"] == ["shop"], found


def test_compose_that_is_not_there(execute: Execute, tmp_path: Path) -> None:
    needs("docker", "docker.io")
    (tmp_path / "config").mkdir()
    at = {"project_directory": str(tmp_path), "plugin": True, "config": str(tmp_path / "config")}
    result = execute("docker_compose", at)
    if result.error_class != "program_missing":
        pytest.skip("this machine has the plugin for everybody")
    assert "compose" in result.error["message"] or "--ansi" in result.error["message"]


def test_docker_login(
    execute: Execute,
    podman_engine: Engine,
    trusted: Authority,
    tmp_path: Path,
    stack: tuple[LocalStack, Path],
) -> None:
    needs("docker", "docker.io")
    config = tmp_path / "docker"
    config.mkdir()
    with registry(trusted) as (server, asked):
        at = {"engine": podman_engine.address, "config": str(config), "server": server}
        login = {**at, "command": "login", "username": USER}
        wrong = execute("docker", {**login, "password": "wrong-one"})
        assert wrong.error_class == "login_refused", wrong
        assert len(asked) == 1
        assert not (config / "config.json").exists()
        done = execute("docker", {**login, "password": PASSWORD})
        assert done.status == "succeeded", done
        assert len(asked) == 2
        kept = json.loads((config / "config.json").read_text())["auths"][server]["auth"]
        assert base64.b64decode(kept).decode() == f"{USER}:{PASSWORD}"
        out = execute("docker", {**at, "command": "logout"})
        assert out.status == "succeeded", out
        assert server not in json.loads((config / "config.json").read_text()).get("auths", {})
    records = b"".join(
        part for parts in every_record(stack[0].client_options).values() for part in parts
    )
    assert PASSWORD.encode() not in records
    assert kept.encode() not in records


def test_a_login_of_docker_that_is_refused() -> None:
    login = {"command": "login", "server": "registry.example.org", "username": "deployer"}
    assert "password" in refusal("docker", login)
    reference = {"type": "secret", "path": "file/registry"}
    assert not refusal("docker", {**login, "password": reference})
    foreign = refusal("docker", {**login, "password": reference, "engine": "tcp://192.0.2.1:2375"})
    assert "would get the password" in foreign
    assert "must match" in refusal("docker", {**login, "arguments": ["--password=x"]})
