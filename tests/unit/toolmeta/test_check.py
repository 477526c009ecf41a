"""Checking parameters: every problem, with its field and a remedy."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.toolmeta.samples import BASE, sample
from toolmeta import registry
from toolmeta.check import apply_defaults, check
from toolmeta.risk import action_class_of, approval_required, effect_of, may_repeat

TOOL = sample()


def fields(parameters: dict[str, Any], references: bool = False) -> list[str]:
    return [problem.field for problem in check(TOOL, parameters, references_allowed=references)]


def message(parameters: dict[str, Any]) -> str:
    [problem] = check(TOOL, parameters, references_allowed=False)
    return problem.message


def test_good_parameters_have_no_problem() -> None:
    good = {"path": "/a", "port": 80, "ratio": 0.5, "tags": ["a"], "labels": {"a": "b"}}
    assert check(TOOL, good, references_allowed=False) == []


def test_every_problem_is_told_at_once() -> None:
    assert fields({"port": 0, "quiet": "yes", "tags": [1, "x" * 9]}) == [
        "parameters.port",
        "parameters.quiet",
        "parameters.tags[0]",
        "parameters.tags[1]",
        "parameters.path",
    ]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"path": 5}, "must be text, not a whole number"),
        ({"path": "x" * 4097}, "at most 4096"),
        ({"path": "a\x00"}, "NUL"),
        ({"path": "\ud800"}, "Unicode"),
        ({"path": "a", "port": "80"}, "whole number, not the text '80'"),
        ({"path": "a", "port": 8.5}, "whole number"),
        ({"path": "a", "port": True}, "whole number"),
        ({"path": "a", "port": 65536}, "at most 65535"),
        ({"path": "a", "port": 10**5000}, "at most 65535"),
        ({"path": "a", "ratio": float("nan")}, "must be a number, not nan"),
        ({"path": "a", "wait": "5 minutes"}, "90s"),
        ({"path": "a", "wait": "2m"}, "at most 60 seconds"),
        ({"path": "a", "wait": -1}, "at least 0 seconds"),
        ({"path": "a", "mode": "Fast"}, "one of fast, slow"),
        ({"path": "a", "tags": ["a", "b", "c", "d"]}, "at most 3"),
        ({"path": "a", "labels": {"-x": "1"}}, "key"),
        ({"path": "a", "labels": []}, "an object"),
        ({"path": "a", "file": "b"}, "twice"),
        ({"path": "a", "prot": 1}, "did you mean port?"),
        ({"path": None}, "is required: what"),
        ({"path": {"type": "secret", "path": "env/P"}}, "takes no secret reference"),
        ({"path": "a", "key": {"type": "secret"}}, "without a path"),
        ({"path": ["/a"]}, "not a list; give its only entry without the list"),
        ({"path": ["/a", "/b"]}, "not a list; give one text"),
        ({"path": {"a": 1}}, "not an object; give one text"),
        ({"path": 5}, "put it in quotes"),
    ],
)
def test_problem_names_the_remedy(parameters: dict[str, Any], words: str) -> None:
    assert words in message(parameters)


def test_parameters_that_are_no_object_are_one_problem() -> None:
    [problem] = check(TOOL, ["path"], references_allowed=True)  # type: ignore[arg-type]
    assert problem.field == "parameters"


def test_references_stand_for_any_value_but_only_where_allowed() -> None:
    reference = "{{ steps.scan.output.port }}"
    late = {
        "path": reference, "port": reference, "tags": [reference], "labels": reference,
        "mode": reference, "wait": f"x{reference}",
    }  # fmt: skip
    assert fields(late, references=True) == []
    assert fields({"path": "/a", "port": reference}) == ["parameters.port"]
    assert fields({"path": "}} {{", "port": "}} {{"}, references=True) == ["parameters.port"]
    assert fields({"path": "{{ a }}\x00"}, references=True) == ["parameters.path"]


def test_secret_reference_only_where_the_parameter_is_secret() -> None:
    reference = {"type": "secret", "path": "env/KEY"}
    assert fields({"path": "/a", "key": reference}) == []
    assert fields({"path": "/a", "key": reference}, references=True) == []
    assert fields({"path": "/a", "port": reference}) == ["parameters.port"]


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ({"type": "secret"}, "without a path"),
        ({"type": "secret", "path": ""}, "without a path"),
        ({"type": "secret", "path": None}, "without a path"),
        ({"type": "secret", "path": ["env/KEY"]}, "path is no text"),
        ({"type": "secret", "path": "kv/app#key"}, "none of env/, file/, vault/, aws/"),
        ({"type": "secret", "path": "KEY"}, "none of env/, file/"),
        ({"type": "secret", "path": "env/../KEY"}, "name is not 1 to 128"),
        ({"type": "secret", "path": "env/"}, "name is not 1 to 128"),
        ({"type": "secret", "path": "env/KEY\n"}, "name is not 1 to 128"),
        ({"type": "secret", "path": "vault/kv/app"}, "name is not <mount>/<path>#<field>"),
        ({"type": "secret", "path": "vault/app#key"}, "name is not <mount>/<path>#<field>"),
        ({"type": "secret", "path": "vault/kv/../sys/raw#key"}, "name is not <mount>"),
        ({"type": "secret", "path": "vault/kv//app#key"}, "name is not <mount>"),
        ({"type": "secret", "path": "vault/kv/app#key#more"}, "name is not <mount>"),
        ({"type": "secret", "path": "aws/"}, "name is not <name> or <name>#<field>"),
        ({"type": "secret", "path": "aws/../x"}, "name is not <name> or <name>#<field>"),
        ({"type": "secret", "path": "env/KEY", "version": 2}, "unknown key 'version'"),
    ],
)
def test_malformed_secret_reference_is_refused_with_the_remedy(
    reference: dict[str, Any], words: str
) -> None:
    [alone] = check(TOOL, {"path": "/a", "key": reference}, references_allowed=True)
    assert alone.field == "parameters.key"
    assert words in alone.message
    assert "env/NAME" in alone.message
    webhook = registry.load().get("webhook_sender")
    assert webhook is not None
    inside = {"url": "https://example.org", "payload": {"rows": [{"token": reference}]}}
    [nested] = check(webhook, inside, references_allowed=True)
    assert nested.field == "parameters.payload"
    assert words in nested.message


def test_secret_path_is_a_literal() -> None:
    late = {"type": "secret", "path": "env/{{ item.name }}"}
    assert fields({"path": "/a", "key": late}, references=True) == ["parameters.key"]
    assert fields({"path": "/a", "key": late}) == ["parameters.key"]


def test_alias_stands_for_the_parameter() -> None:
    assert fields({"file": "/a"}) == []
    assert apply_defaults(TOOL, {"file": "/a"})["path"] == "/a"


def test_defaults_fill_the_absent_and_the_null() -> None:
    filled = apply_defaults(TOOL, {"path": "/a", "mode": None, "quiet": True})
    assert filled == {"path": "/a", "mode": "fast", "quiet": True, "wait": "5s"}


def test_one_of_exclusive_and_required_if() -> None:
    parameters = {
        name: {**BASE["parameters"][name], "required": False} for name in ("path", "port", "mode")
    }
    parameters["port"]["required_if"] = {"mode": ["slow"]}
    tool = sample(
        parameters=parameters,
        one_of=[["path", "port"]],
        exclusive=[["path", "port"]],
        run={"driver": "test", "call": "noop"},
    )

    def problems(values: dict[str, Any]) -> list[tuple[str, str]]:
        found = check(tool, values, references_allowed=True)
        return [(item.field, item.message) for item in found]

    assert problems({"path": "a"}) == []
    assert problems({}) == [("parameters", "give one of path, port")]
    assert problems({"path": "a", "port": 1})[0][0] == "parameters.port"
    assert problems({"path": "a", "mode": "slow"}) == [
        ("parameters.port", "is required when mode is slow")
    ]
    assert problems({"path": "a", "mode": "{{ steps.a.output.b }}"}) == []


def test_effect_follows_the_operation() -> None:
    tool = sample(
        risk={
            "effect": "destroy",
            "effect_by": {"parameter": "mode", "effects": {"fast": "read", "slow": "destroy"}},
            "why_read": "The fast mode only looks.",
            "idempotent": False,
            "retry_safe": False,
            "approval_in": ["prod"],
        }
    )
    assert effect_of(tool, {}) == "read"
    assert (action_class_of(tool, {}), may_repeat(tool, {})) == ("read", True)
    assert not approval_required(tool, {}, "prod")
    slow = {"mode": "slow"}
    assert (effect_of(tool, slow), action_class_of(tool, slow)) == ("destroy", "modify")
    assert not may_repeat(tool, slow)
    assert approval_required(tool, slow, "prod")
    assert not approval_required(tool, slow, "dev")


OPTIONS = sample(
    parameters={
        **BASE["parameters"],
        "tags": {
            "type": "array",
            "items": {"type": "string", "refused_options": ["endpoint-url", "cli-*"]},
            "description": "options",
        },
    },
)


@pytest.mark.parametrize(
    "option",
    ["--endpoint-url=x", "--endpoint-url", "--endpoint=x", "--e", "--cli", "--cli-input=x", "--c"],
)
def test_a_refused_option_is_refused_by_every_abbreviation(option: str) -> None:
    found = check(OPTIONS, {"path": "/a", "tags": [option]}, references_allowed=False)
    assert [item.field for item in found] == ["parameters.tags[0]"]
    assert "must not give the option --" in found[0].message


@pytest.mark.parametrize("option", ["--endpoints=x", "--end-time", "--click", "x", "--", "-e"])
def test_other_options_are_accepted(option: str) -> None:
    assert not check(OPTIONS, {"path": "/a", "tags": [option]}, references_allowed=False)
