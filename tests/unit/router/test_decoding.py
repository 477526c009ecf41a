"""What no event or table can hold is found, by a search that is cheap for everything else."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.router.decoding import is_suspicious, unstorable

NUMBERS = st.one_of(
    st.integers(-(10**25), 10**25),
    st.sampled_from([math.inf, -math.inf, math.nan, 2**63, -(2**63) - 1, 1e300]),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    NUMBERS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=3))
def test_nothing_that_cannot_be_stored_passes_the_search(value: dict[str, Any]) -> None:
    if list(unstorable(value, "value")):
        for text in (json.dumps(value), json.dumps(value, indent=1)):
            assert is_suspicious(text.encode(), nul=False)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1e999}', '{"a":[1.5E+400]}', '{"a":-1e0400}', '{"a":9223372036854775808}',
        '{"a":[0,12345678901234567890.0]}',
    ],
)  # fmt: skip
def test_numbers_as_text_can_spell_them(text: str) -> None:
    assert is_suspicious(text.encode(), nul=False)


@pytest.mark.parametrize(
    "text", ['{"id":"31e123f0-0000"}', '{"a":"1234567890123456789012"}', '{"a":1e99,"b":"NaM"}']
)
def test_digits_within_a_text_are_not_suspected(text: str) -> None:
    assert not is_suspicious(text.encode(), nul=False)
