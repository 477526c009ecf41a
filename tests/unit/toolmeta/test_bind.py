"""Binding: parameters become whole arguments, or problems; nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.toolmeta.samples import running, sample
from toolmeta import registry
from toolmeta.bind import bind, target_of
from toolmeta.invocation import Invocation
from toolmeta.model import Tool

TOOL = sample()
CATALOGUE = registry.load().all()

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.sampled_from(["-", "--"])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def argv(tool: Tool, **parameters: Any) -> list[str]:
    invocation = bind(tool, parameters)
    assert isinstance(invocation, Invocation), invocation
    return list(invocation.argv)


def test_every_form_of_the_template() -> None:
    assert argv(TOOL, path="/a") == ["sample", "--wait=5", "--fast", "--", "/a"]
    assert argv(
        TOOL, path="-x", quiet=True, wait="1m", port=80, mode="slow", tags=["a", "-b"],
        labels={"k": "v=w"}, ratio=-0.0,
    ) == [
        "sample", "-q", "--wait=60", "-p", "80", "--slow", "--label=k=v=w", "--ratio=0", "--",
        "-x", "a", "-b",
    ]  # fmt: skip


def test_one_item_stands_for_its_list_and_numbers_for_text() -> None:
    assert argv(TOOL, path=41, tags=7)[-2:] == ["41", "7"]


def test_invocation_carries_the_rest_of_the_definition() -> None:
    tool = running(parser="lines", success_codes=[0, 1], env={"A": "{mode}", "B": "{ratio}"})
    invocation = bind(tool, {"path": "/a", "host": "web-01", "key": "k3y"})
    assert isinstance(invocation, Invocation)
    assert (invocation.tool, invocation.driver, invocation.host) == ("sample", "command", "web-01")
    assert invocation.stdin == "k3y"
    assert invocation.env == {"A": "fast"}
    assert (invocation.parser, invocation.success_codes) == ("lines", (0, 1))
    assert invocation.retry_safe


def test_call_takes_all_parameters_or_its_own_template() -> None:
    call = {"driver": "http", "call": "get"}
    whole = bind(sample(run=call), {"path": "/a", "wait": "1m"})
    assert isinstance(whole, Invocation)
    assert whole.arguments == {"path": "/a", "wait": 60, "quiet": False, "mode": "fast"}
    template = {"p": "{path}", "n": ["{port}", "x{port}"], "gone": "{ratio}", "fixed": True,
                "rest": "{host}{wait}{quiet}{tags}{labels}{mode}{key}"}  # fmt: skip
    bound = bind(sample(run={**call, "arguments": template}), {"path": "/a", "port": 80})
    assert isinstance(bound, Invocation)
    assert bound.arguments == {"p": "/a", "n": [80, "x80"], "fixed": True}


@pytest.mark.parametrize(
    "entry", ["{path}", "{path}{mode}", {"each": "tags"}, {"if": "mode", "then": ["{path}"]}]
)
def test_leading_dash_is_refused_where_nothing_protects(entry: Any) -> None:
    rest = "{port}{ratio}{wait}{quiet}{labels}{path}{tags}{mode}"
    tool = running(argv=["sample", entry, f"--rest={rest}"])
    problems = bind(tool, {"path": "-oProxyCommand=x", "tags": ["-iL"]})
    assert isinstance(problems, list)
    assert any("begin with a dash" in problem.message for problem in problems)


def test_separator_in_one_branch_protects_nothing_behind_it() -> None:
    rest = "--rest={port}{ratio}{wait}{quiet}{labels}{tags}{mode}"
    tool = running(argv=["sample", rest, {"if": "quiet", "then": ["--"]}, "{path}"])
    assert isinstance(bind(tool, {"path": "-x"}), list)


def test_too_many_arguments_are_a_problem_and_no_crash_of_the_kernel() -> None:
    tool = registry.load().get("grep")
    assert tool is not None
    paths = ["/" + "x" * 4_000] * 100
    [problem] = bind(tool, {"pattern": "a", "paths": paths})  # type: ignore[misc]
    assert "bytes of arguments" in problem.message


def test_secret_must_be_resolved_before() -> None:
    problems = bind(TOOL, {"path": "/a", "key": {"type": "secret", "path": "env/P"}})
    assert [problem.field for problem in problems] == ["parameters.key"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("parameters", "target"),
    [
        ({"host": "Web-01.Example.ORG."}, "web-01.example.org"),
        ({"host": "web-01.example.org:2222"}, "web-01.example.org"),
        ({"host": "[2001:DB8::1]:2222"}, "2001:db8::1"),
        ({"host": "2001:db8::1"}, "2001:db8::1"),
        ({}, None),
        ({"host": "{{ steps.a.output.host }}"}, None),
        ({"host": ["a"]}, None),
    ],
)
def test_target_is_one_key_per_host(parameters: dict[str, Any], target: str | None) -> None:
    assert target_of(TOOL, parameters) == target


@given(parameters=JSON)
def test_bind_never_raises(parameters: Any) -> None:
    assert isinstance(bind(TOOL, parameters), Invocation | list)


@given(data=st.data())
def test_bind_of_any_tool_gives_problems_or_clean_arguments(data: st.DataObject) -> None:
    tool = data.draw(st.sampled_from(CATALOGUE), label="tool")
    names = st.sampled_from([*tool.parameters, "other"]) if tool.parameters else st.just("other")
    drawn = data.draw(st.dictionaries(names, JSON, max_size=4), label="parameters")
    bound = bind(tool, {**tool.example.parameters, **drawn})
    if isinstance(bound, list):
        assert bound
        assert all(problem.field and problem.message for problem in bound)
    else:
        for argument in (*bound.argv, *bound.env.values()):
            assert "\x00" not in argument
            argument.encode()


@given(path=st.text(max_size=200), tags=st.lists(st.text(max_size=8), max_size=3))
def test_text_behind_the_separator_arrives_unchanged(path: str, tags: list[str]) -> None:
    bound = bind(TOOL, {"path": path, "tags": tags})
    if isinstance(bound, Invocation):
        assert bound.argv == ("sample", "--wait=5", "--fast", "--", path, *tags)
    else:
        texts = (path, *tags)
        assert any("\x00" in text or any("\ud800" <= c <= "\udfff" for c in text) for text in texts)
