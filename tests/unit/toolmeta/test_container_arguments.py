"""What the wide tools of containers take: words of the program inside, no secret of a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from toolmeta.bind import bind
from toolmeta.invocation import Invocation
from toolmeta.registry import load
from toolmeta.risk import effect_of

ENGINES = ["docker", "podman"]
DASHES = ["-c", "--privileged", "--", "-v/:/host", "{{.State.Status}}"]


def bound(name: str, parameters: dict[str, Any]) -> Invocation | str:
    """The invocation, or every reason against it."""
    tool = load().get(name)
    assert tool is not None
    found = bind(tool, parameters)
    if isinstance(found, Invocation):
        return found
    return "; ".join(f"{problem.field} {problem.message}" for problem in found)


def argv(name: str, **parameters: Any) -> tuple[str, ...]:
    found = bound(name, parameters)
    assert isinstance(found, Invocation), found
    return found.argv


def refused(name: str, **parameters: Any) -> str:
    found = bound(name, parameters)
    assert isinstance(found, str), found
    return found


@pytest.mark.parametrize("tool", ENGINES)
@pytest.mark.parametrize("command", ["run", "create"])
def test_words_of_the_program_may_begin_with_a_dash(tool: str, command: str) -> None:
    words = argv(tool, command=command, arguments=["--detach"], image="web:1", argv=DASHES)
    # Behind the literal `--` the engine's program reads no options.
    assert words[words.index("--detach") :] == ("--detach", "--", "web:1", *DASHES)


@pytest.mark.parametrize("tool", ENGINES)
def test_words_of_the_program_need_its_image(tool: str) -> None:
    assert "image" in refused(tool, command="run", arguments=["web:1"], argv=["-c"])
    for command in ("ls", "rm"):
        assert "only" in refused(
            tool, command=command, image="web:1", argv=["x"], allow_destructive=True
        )
    assert "must match" in refused(tool, command="run", image="--privileged")


@pytest.mark.parametrize("tool", ENGINES)
def test_volumes_have_a_name(tool: str) -> None:
    for volume in ("data:/srv", "data:/srv/a b:ro", "0_x.y-z:/a:rw"):
        option = f"--volume={volume}"
        assert option in argv(tool, command="run", arguments=[option, "web:1"])
    for volume in (
        "/:/host", "./a:/b", "../a:/b", "a/b:/c", "~:/b", "C:\\:/b", ":/b", "a", "/a", "a:b",
        "data:/srv:exec", "data:/srv:O,upperdir=/", "data:/srv:ro\n", "data:/a:/b",
    ):  # fmt: skip
        assert "must match" in refused(tool, command="run", arguments=[f"--volume={volume}", "w"])


@pytest.mark.parametrize("tool", ENGINES)
def test_copying_and_building_are_changes(tool: str) -> None:
    definition = load().get(tool)
    assert definition is not None
    for command in ("cp", "build"):
        assert effect_of(definition, {"command": command}) == "modify"
    copied = argv(tool, command="cp", arguments=["web:/etc/hosts", "/srv/hosts"])
    assert copied[-2:] == ("web:/etc/hosts", "/srv/hosts")
    place = {"context": "/srv/web", "dockerfile": "/etc/runstream/Dockerfile"}
    build = {"object": "image", "command": "build", **place}
    built = bound(tool, {**build, "arguments": ["--tag=web:2", "--target=x", "--no-cache"]})
    assert isinstance(built, Invocation)
    assert built.argv[-3:] == ("--file=/etc/runstream/Dockerfile", "--", "/srv/web")
    # What is built is code of the caller's, so its folder is one that the operator named.
    assert [path for _, path in built.code_paths] == ["/etc/runstream/Dockerfile"]
    for name in place:
        assert name in refused(tool, **{**build, name: None})
    for option in ("--output=/srv", "--secret=id=a,src=/etc/shadow", "--iidfile=/x", "--file=/x"):
        assert "must match" in refused(tool, **build, arguments=[option])


HARMLESS = [
    ["deployment/secrets-operator"],
    ["deployment", "secrets-operator"],
    ["pods", "--selector=app=secrets-store"],
    ["pods", "my-secret-0"],
    ["secretproviderclasses.secrets-store.csi.x-k8s.io"],
    ["configmap/secret"],
    ["externalsecrets"],
    ["pod/web-0", "note=rotates secrets daily"],
]


@pytest.mark.parametrize("arguments", HARMLESS)
def test_a_name_that_holds_secret_is_no_secret(arguments: list[str]) -> None:
    assert argv("kubectl", arguments=arguments)[-len(arguments) :] == tuple(arguments)


@pytest.mark.parametrize(
    "argument",
    [
        "secret", "secrets", "SECRETS", "Secret", "secrets/db", "secret/db", "pods,secrets",
        "pods,Secret,services", "secrets.v1", "secrets.v1.", "secret.v1./db", "secrets.",
        " secrets", "secrets ", "secrets\n", "pods,\tsecrets", "secrets,pods", "pods,secret/db",
    ],
)  # fmt: skip
def test_secrets_of_a_cluster_are_not_shown(argument: str) -> None:
    assert "must match" in refused("kubectl", arguments=[argument])
    assert "must match" in refused("kubectl", arguments=["pods/web", argument])


@pytest.mark.parametrize("word", ["token", "TOKEN", " token", "token\n"])
def test_no_token_is_made(word: str) -> None:
    """It would stand in the output, for everybody who reads it."""
    assert "must match" in refused("kubectl", command="create", arguments=[word, "default"])
    assert argv("kubectl", arguments=["configmap/token"])


def test_kubectl_run_and_create_take_words_of_the_program() -> None:
    words = argv(
        "kubectl", command="run", arguments=["probe", "--image=busybox", "--restart=Never"],
        argv=["sh", "-c", "cat /run/secrets/x"],
    )  # fmt: skip
    assert words[-4:] == ("--", "sh", "-c", "cat /run/secrets/x")
    # Elsewhere they would be resources that nobody has looked at.
    assert "only" in refused("kubectl", command="get", argv=["secrets"])
    assert "only" in refused("kubectl", command="cp", argv=["secrets"])


@pytest.mark.parametrize(
    ("command", "argument", "taken"),
    [
        ("create", "--from=cronjob/nightly", True),
        ("create", "--from=secret/db", False),
        ("set", "--from=secret/db", False),
        ("set", "--resolve", False),
        ("apply", "--server-side", True),
        ("apply", "--server-side=true", True),
        ("apply", "--force-conflicts", True),
        ("run", "--overrides={}", False),
        ("run", "--privileged", False),
        ("run", "--rm", False),
        ("cp", "shop/web-0:/tmp/x", True),
        ("cp", "--container=main", True),
        ("cp", "--retries=3", True),
    ],
)
def test_options_of_kubectl(command: str, argument: str, taken: bool) -> None:
    given = {"command": command, "arguments": ["a", argument]}
    if command == "apply":
        given["manifest"] = "kind: ConfigMap"
    assert isinstance(bound("kubectl", given), Invocation) is taken


def test_effects_of_kubectl() -> None:
    tool = load().get("kubectl")
    assert tool is not None
    assert {effect_of(tool, {"command": name}) for name in ("cp", "run", "create")} == {"modify"}


@pytest.mark.parametrize("command", ["apply", "replace"])
@pytest.mark.parametrize(
    "form",
    ["json", "yaml", "wide", "jsonpath={.data}", "go-template={{.data}}", "name=x", "name\n"],
)
def test_what_prints_the_secrets_of_a_manifest(command: str, form: str) -> None:
    call = {"command": command, "manifest": "kind: Secret", "allow_destructive": True}
    said = refused("kubectl", **call, arguments=[f"--output={form}"])
    assert "parameters.arguments[0]" in said
    assert "--output=name" in argv("kubectl", **call, arguments=["--output=name"])


def test_a_kustomization_stands_for_a_manifest() -> None:
    where = "/etc/runstream/overlays/größer"
    for command in ("apply", "diff"):
        words = argv("kubectl", command=command, kustomization=where)
        assert words[-1] == f"--kustomize={where}"
        assert "--filename=-" not in words
    assert "without kustomization" in refused("kubectl", command="apply")
    both = {"kustomization": where, "manifest": "kind: Service"}
    assert "only one" in refused("kubectl", command="apply", **both)
    assert "only for" in refused("kubectl", command="get", kustomization=where)
    definition = load().get("kubectl")
    assert definition is not None
    assert effect_of(definition, {"command": "diff", "kustomization": where}) == "modify"
