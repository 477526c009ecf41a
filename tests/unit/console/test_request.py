"""From a plan file and options to a request."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.exits import Exit, Failure
from console.options import execution_id, started_ms
from console.request import Options, Prepared, prepare
from streams.ids import is_execution_id, mint_execution_id, route_key
from streams.plans import ExecutionRequest

STEPS = [{"tool": "df"}]


def prepared(document: dict[str, Any], chance: int = 1, **options: str) -> Prepared:
    return prepare(
        document, Options(**options), login="root", unix_ms=1_795_158_000_000, random_bits=chance
    )


@given(st.integers(min_value=0, max_value=2**86 - 1), st.integers(min_value=0, max_value=2**48 - 1))
def test_the_id_carries_the_key_and_the_time(chance: int, unix_ms: int) -> None:
    found = prepare({"steps": STEPS}, Options(), login="root", unix_ms=unix_ms, random_bits=chance)
    assert is_execution_id(found.execution_id)
    assert found.route == route_key("default", found.idempotency_key)
    assert started_ms(found.execution_id) == unix_ms


def test_running_twice_runs_twice_unless_a_key_is_given() -> None:
    assert prepared({"steps": STEPS}, 1).route != prepared({"steps": STEPS}, 2).route
    first, second = (prepared({"steps": STEPS}, chance, key="nightly") for chance in (1, 2))
    assert first.route == second.route
    assert first.execution_id != second.execution_id


def test_options_win_over_the_file_and_the_file_over_the_defaults() -> None:
    whole: dict[str, Any] = {
        "plan": {"steps": STEPS},
        "tenant": "acme",
        "actor": "ci",
        "idempotency_key": "k",
    }
    body = json.loads(prepared(whole).body)
    assert (body["tenant"], body["actor"], body["idempotency_key"]) == ("acme", "ci", "k")
    body = json.loads(prepared(whole, tenant="b", actor="olga", key="x", environment="prod").body)
    assert (body["tenant"], body["actor"], body["idempotency_key"]) == ("b", "olga", "x")
    assert body["plan"]["environment"] == "prod"
    assert "environment" not in whole["plan"]


def test_the_bare_form_becomes_a_whole_request() -> None:
    body = prepared({"steps": STEPS, "name": "n", "tenant": "acme", "owner": "me"}).body
    request = ExecutionRequest.model_validate_json(body)
    assert request.tenant == "acme"
    assert request.plan.name == "n"
    assert request.plan.model_extra == {"owner": "me"}
    assert request.actor == "root"


def test_an_execution_id_of_the_file_must_carry_its_key() -> None:
    good = mint_execution_id(route_key("default", "k"), 1, 1)
    document = {"plan": {"steps": STEPS}, "idempotency_key": "k", "execution_id": good}
    assert prepared(document).execution_id == good
    for wrong in (mint_execution_id(route_key("default", "other"), 1, 1), "x", 7):
        with pytest.raises(Failure) as raised:
            prepared({**document, "execution_id": wrong})
        assert raised.value.code is Exit.USAGE


def test_text_is_sent_as_it_is() -> None:
    assert "höst".encode() in prepared({"steps": [{"tool": "df", "id": "höst"}]}).body


@pytest.mark.parametrize("text", ["", "abc", "0199fd6a-6d00-7a37-9c41-7be20a51d3f0"])
def test_what_is_no_execution_id_is_a_usage_error(text: str) -> None:
    with pytest.raises(Failure) as raised:
        execution_id(text)
    assert raised.value.code is Exit.USAGE
