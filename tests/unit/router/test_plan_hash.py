"""The hash of a plan, which approvals are bound to: no change of a plan leaves it as it is."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Final

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from processors.router.request_decoder import decode_request
from processors.router.resolution import Readable
from streams.hosts import Become, JumpHost, StepConnection
from streams.plans import Check, Compensation, Plan, RetryPolicy, Step, Until

#: A plan with every field that there is, each with another value than its default.
WHOLE: Final[dict[str, Any]] = {
    "name": "patch web",
    "version": "1.2",
    "description": "Brings the packages up to date.",
    "type": "patch",
    "environment": "prod",
    "sla_class": "long",
    "mode": "background",
    "action_class": "modify",
    "priority": 4,
    "timeout_seconds": 600.0,
    "approval_level": 2,
    "steps": [
        {"tool": "noop", "id": "first"},
        {
            "tool": "systemctl",
            "id": "restart",
            "description": "The new version is loaded.",
            "parameters": {
                "host": "{{ item }}", "unit": "nginx", "flags": ["a", "b"],
                "nested": {"list": [{"deep": None}, {"deep": False}, 0, 1.5]},
                "password": {"type": "secret", "path": "env/TOKEN"},
            },
            "depends_on": ["first"],
            "when": "steps.first.output.value > 1",
            "for_each": ["web-01", {"name": "web-02"}],
            "max_parallel": 2,
            "retry": {"max_attempts": 3, "backoff_seconds": 2.0, "max_backoff_seconds": 30.0},
            "timeout_seconds": 20.0,
            "on_failure": "compensate",
            "compensate": {
                "tool": "systemctl", "parameters": {"host": "{{ item }}", "unit": "nginx-old"},
                "timeout_seconds": 10.0, "when": "output.changed",
            },
            "assets": ["web-01"],
            "secrets": {"ssh_key": {"type": "secret", "path": "env/KEY"}},
            "become": {"user": "postgres", "password": {"type": "secret", "path": "env/SUDO"}},
            "connection": {
                "port": 2222, "user": "deploy",
                "jump": [
                    {
                        "host": "bastion", "port": 2223, "user": "jump",
                        "key": {"type": "secret", "path": "env/JUMP"},
                        "password": {"type": "secret", "path": "env/JUMP_2"},
                    },
                ],
            },
            "max_failures": "25%",
            "check": {"condition": "output.ok", "message": "it is not", "retry": True},
            "until": {
                "condition": "output.up", "interval_seconds": 2.5, "limit": 7, "message": "down",
            },
        },
        {"id": "sure", "assert": ["steps.first.output.ok"], "message": "not sure"},
        {"id": "each", "for_each": ["a", "b"], "steps": [{"tool": "noop", "id": "inner"}]},
    ],
    "finally": [{"tool": "noop", "id": "tell", "when": "true"}],
}  # fmt: skip
#: Other values of the fields that take one of a few.
_OTHERS: Final[dict[str, tuple[Any, ...]]] = {
    "environment": ("dev", "staging"),
    "sla_class": ("fast", "medium"),
    "mode": ("immediate",),
    "action_class": ("read", "deploy"),
    "on_failure": ("stop", "continue"),
    "become": ({"user": "root"}, True, None),
    "max_failures": (0, 3, "50%"),
    "connection": ({"port": 22}, None),
    "jump": ([], None, ["bastion"]),
    "version": ("1.3", 2, None),
    "for_each": ([], ["web-01"], "steps.first.output.hosts"),
}
_REQUIRED: Final = {"steps", "tool", "assert", "condition"}
_NAMES: Final = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)
Path = tuple[str | int, ...]


def places(value: Any, path: Path = ()) -> list[Path]:
    """Every place in a JSON value."""
    found: list[Path] = [path]
    if isinstance(value, dict):
        for name, item in value.items():
            found += places(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += places(item, (*path, index))
    return found


def hashed(plan: dict[str, Any]) -> str:
    read = decode_request(orjson.dumps({"plan": plan}))
    assert isinstance(read, Readable), read
    return read.plan_hash


def of_the_plan(path: Path) -> bool:
    """Whether the model says what may stand here; else it may be any value."""
    return not ({"parameters", "secrets"} & set(path[:-1]) or {"password", "key"} & set(path))


def takes_others(path: Path) -> bool:
    """Whether what stands here may have fields that the model does not know."""
    return not (of_the_plan(path) and {"become", "connection"} & set(path))


@st.composite
def changed(draw: st.DrawFn, path: Path) -> dict[str, Any]:
    """The plan with a change in this place."""
    plan = deepcopy(WHOLE)
    *way, last = path
    parent: Any = plan
    for key in way:
        parent = parent[key]
    kinds = ["other"]
    required = last in _REQUIRED or (path[-3:-1] == ("jump", 0) and last == "host")
    if not required and not (isinstance(parent, list) and len(parent) == 1):
        kinds.append("removed")
    if isinstance(parent, dict) and takes_others(tuple(way)):
        kinds.append("beside")
    kind = draw(st.sampled_from(kinds))
    if kind == "removed":
        del parent[last]
    elif kind == "beside":
        # What declares inputs is no field that could be anything.
        name = draw(_NAMES.filter(lambda key: key not in (*parent, "inputs")))
        parent[name] = draw(st.sampled_from([None, False, 0, "", [], {}]))
    else:
        parent[last] = draw(other_value(parent[last], path))
    return plan


def other_value(value: Any, path: Path) -> st.SearchStrategy[Any]:
    """Another value that may stand in the place of this one."""
    if not of_the_plan(path):
        anything: st.SearchStrategy[Any] = st.sampled_from(
            [None, True, False, 0, 1, -0.0, "", "x", [], {}, [None]]
        )
        return anything.filter(lambda other: orjson.dumps(other) != orjson.dumps(value))
    if path[-1] in _OTHERS:
        return st.sampled_from(_OTHERS[str(path[-1])])
    if isinstance(value, bool):
        return st.just(not value)
    if isinstance(value, list):
        return st.just([*value, value[0]])
    if isinstance(value, dict) and not takes_others(path):
        return st.sampled_from([{"host": "inner"}, "bastion"])
    if isinstance(value, dict):
        return st.just({**value, "unknown": True})
    if isinstance(value, str):
        others = [f"{value}x", f"x{value}", value.swapcase()]
        return st.sampled_from([other for other in others if other != value])
    return st.sampled_from([number for number in (1, 2, 3) if number != value])


@pytest.mark.parametrize("path", places(WHOLE)[1:], ids=str)
@settings(max_examples=8)
@given(st.data())
def test_whatever_is_changed_in_a_plan_changes_its_hash(path: Path, data: st.DataObject) -> None:
    assert hashed(data.draw(changed(path))) != hashed(WHOLE)


def test_the_order_of_steps_and_of_lists_counts() -> None:
    turned = {**WHOLE, "steps": WHOLE["steps"][::-1]}
    assert hashed(turned) != hashed(WHOLE)


def test_the_plan_above_has_every_field_of_the_model() -> None:
    step = WHOLE["steps"][1]
    # No step has all fields: it has a tool, or an assertion, or steps.
    every = {name: value for one in WHOLE["steps"] for name, value in one.items()}
    given: list[tuple[type[BaseModel], dict[str, Any]]] = [
        (Plan, WHOLE), (Step, every), (Compensation, step["compensate"]),
        (RetryPolicy, step["retry"]), (Become, step["become"]),
        (StepConnection, step["connection"]), (JumpHost, step["connection"]["jump"][0]),
        (Check, step["check"]), (Until, step["until"]),
    ]  # fmt: skip
    spelled = {"assert": "assertion", "finally": "finally_steps"}
    for model, value in given:
        # What declares the inputs is left out of the hash: their values are in it.
        declared = {"inputs"} if model is Plan else set()
        fields = set(model.model_fields) - declared
        assert {spelled.get(name, name) for name in value} == fields


def test_one_plan_in_two_spellings_has_one_hash() -> None:
    step = WHOLE["steps"][1]
    undo = dict(step["compensate"])
    undo["inputs"] = undo.pop("parameters")
    spelled = {**step, "inputs": step["parameters"], "compensate": undo}
    del spelled["parameters"]
    plan = dict(reversed(WHOLE.items()))
    plan |= {
        "environment": "production",
        "steps": [WHOLE["steps"][0], spelled, *WHOLE["steps"][2:]],
    }
    assert hashed(plan) == hashed(WHOLE)
