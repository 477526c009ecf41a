"""Every parameter of the catalogue that could be given a secret, and what becomes of it there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from toolmeta import literals, registry
from toolmeta.checkers import Allowed, compile_shape
from toolmeta.invocation import Problem
from toolmeta.model import Tool
from toolmeta.parameters import Shape

REGISTRY = registry.load()
TABLE = yaml.safe_load(Path(__file__).with_name("secret_parameters.yaml").read_text())
LISTED = {
    f"{tool}.{name}": kind
    for kind, tools in TABLE.items()
    for tool, names in tools.items()
    for name in names
}
#: A password that only a person recognises; a parameter that takes it takes any text.
ANY = "PASSWORD 'hunter2 x'"
ADDRESS = "postgresql://ann:hunter2@db-01/shop"
KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtLYX5CB04fSeQ6tF1aY/Pu\n"
TOKEN = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"
TEXTS = (ADDRESS, KEY, f"curl -H 'X: {TOKEN}'")
ARGUMENTS = (
    ["--password=hunter2"],
    ["--db-password", "hunter2"],
    ["--env=DB_PASSWORD=hunter2"],
    ["API_KEY=hunter2"],
    ["--environment=Variables={PASSWORD=hunter2,A=b}"],
    ['--environment={"Variables": {"PASSWORD": "hunter2"}}'],
    ["sh", "-c", "PGPASSWORD=hunter2 psql"],
)
FIELDS = ({"password": "hunter2"}, {"a": {"apiKey": "hunter2"}}, {"X-Auth_token": "hunter2"})


def takes(shape: Shape, value: Any) -> bool:
    problems: list[Problem] = []
    compile_shape(shape)(value, "it", Allowed(references=False, secrets=True), problems)
    return not problems


def probes(shape: Shape) -> Iterator[Any]:
    """Any text, in every way in which this shape takes it."""
    for probe in (ANY, [ANY], [f"--name={ANY}"], [{"a": ANY}], {"a": ANY}):
        if takes(shape, probe):
            yield probe


FREE = [
    (tool, name, probe)
    for tool in REGISTRY.all()
    for name, shape in tool.parameters.items()
    if name not in literals.secrets_of(tool)
    for probe in probes(shape)
]


def refused(tool: Tool, name: str, value: Any) -> bool:
    if not takes(tool.parameters[name], value):
        return True
    found = list(literals.problems(tool, {name: value}))
    assert not any("hunter2" in repr(one) or TOKEN in repr(one) for one in found)
    return bool(found)


def test_every_such_parameter_is_in_the_table() -> None:
    whole = {f"{tool.name}.{name}" for tool in REGISTRY.all() for name in literals.secrets_of(tool)}
    free = {f"{tool.name}.{name}" for tool, name, _ in FREE}
    assert {one for one, kind in LISTED.items() if kind == "reference"} == whole
    assert {one for one, kind in LISTED.items() if kind != "reference"} == free


def test_only_content_takes_references_and_text() -> None:
    for tool, name, _ in FREE:
        takes_references = name in tool.secret_parameters
        assert takes_references == (LISTED[f"{tool.name}.{name}"] == "content"), (tool.name, name)


@pytest.mark.parametrize(
    ("tool", "name", "probe"), FREE, ids=lambda one: getattr(one, "name", None) or str(one)[:40]
)
def test_what_is_a_secret_beyond_doubt_is_refused(tool: Tool, name: str, probe: Any) -> None:
    assert list(literals.problems(tool, {name: probe})) == []
    wanted: list[Any] = []
    if isinstance(probe, str):
        wanted += TEXTS
    elif isinstance(probe, dict):
        wanted += [*({"a": text} for text in TEXTS), *FIELDS]
    elif isinstance(probe[0], dict):
        wanted += [*([{"a": text}] for text in TEXTS), *([field] for field in FIELDS)]
    else:
        wanted += [*([text] for text in TEXTS), *ARGUMENTS]
    taken = [value for value in wanted if not refused(tool, name, value)]
    assert taken == []


@pytest.mark.parametrize(
    "value",
    [
        ["--next-token=abc1", "--no-password", "--password-file=/run/x", "--secret-id=db", "token"],
        ["sh", "-c", "PGPASSWORD=$PASS psql --query=\"[?password=='x']\"", "team/db-token:1.2"],
        ["--password={{ inputs.password }}", "--set=existingSecret=db", "x" * 200_000],
        ["password" * 20_000, "_token" * 20_000],
        ["--client-token", "abc1", "--token", "--verbose"],
        {
            "secretName": "db",
            "existingSecret": "db",
            "tokenTtl": "1h",
            "password": "{{ inputs.x }}",
        },
        {"password": "***", "nextToken": "abc", "automountServiceAccountToken": "false"},
        "https://example.org:8443/a@b and postgresql://${USER}:$PASSWORD@db/x",
        "grep -q -- '-----BEGIN PRIVATE KEY-----' /etc/ssl/key.pem",
        "-" * 200_000,
        ["-" * 4_000] * 100,
    ],
)
def test_what_is_none_is_taken(value: Any) -> None:
    tool = REGISTRY.get("noop")
    assert tool is not None
    assert list(literals.problems(tool, {"value": value})) == []
