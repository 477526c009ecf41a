"""What a reader may see: the same answer from the condition's twin in Python, and its forms."""

from __future__ import annotations

from itertools import product
from typing import get_args

from reading.reader import Kind, Reader
from streams.vocabulary import Environment

EVERY: frozenset[Kind] = frozenset(product(get_args(Environment), range(4)))


def test_whoever_may_read_everything_is_bound_by_the_tenant_only() -> None:
    reader = Reader("acme", "ann", EVERY, EVERY)
    condition = reader.condition()
    assert reader.everything
    assert condition.sql == "e.tenant = %(reader_tenant)s"
    assert condition.values == {"reader_tenant": "acme"}
    assert reader.sees(None, None, None)
    assert reader.sees_row_of("a").sql == "a.tenant = %(reader_tenant)s"


def test_a_part_is_bound_by_environment_level_and_actor() -> None:
    reader = Reader("acme", "Ann", EVERY, frozenset({("dev", 0)}))
    assert not reader.everything
    assert reader.sees("dev", 0, "bob")
    assert not reader.sees("dev", 1, "bob")
    assert reader.sees("prod", 3, "ANN")
    # A request that was refused before its environment was read is its actor's.
    assert reader.sees(None, None, "ann")
    assert not reader.sees(None, None, "bob")
    assert reader.sees("dev", 0, None)
    values = reader.condition().values
    assert values["reader_actor"] == "ann"
    assert values["reader_others"] == ["dev:0"]


def test_a_deny_of_ones_own_counts_though_others_may_be_read() -> None:
    reader = Reader("acme", "ann", frozenset(), EVERY)
    assert not reader.everything
    assert not reader.sees("dev", 0, "ann")
    assert reader.sees("dev", 0, "bob")


def test_conditions_of_rows_name_their_table_and_the_same_values() -> None:
    reader = Reader("acme", "ann", EVERY, frozenset())
    condition = reader.sees_row_of("s")
    assert "visible.execution_id = s.execution_id" in condition.sql
    assert condition.values == reader.condition().values
