"""The chain is the same over an event as it was written and as it is read back from anywhere."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from sinks.records import EventRow, read_event
from streams.chain import CHAIN_LENGTH, canonical, link, start, with_chain
from streams.events import Event, decode_event, encode_chained, encode_event
from streams.payloads import Unknown
from tests.unit.progress.histories import histories
from tests.unit.sinks.stories import execution_id

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1.0, 1e15, 1e16, -1e16, 1e18, 9.3e18, -9.3e18,
                     1.8446744073709552e19,
                     1e20, 1e22, 1e300, 5e-324, 1e-7, 2**53 + 1, 2**63, 2**64 - 1]),
    st.floats(1e15, 1e20).map(round).map(float),
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)
DATA = st.dictionaries(TEXTS, VALUES, max_size=5)


def event(data: dict[str, Any], **more: Any) -> Event:
    return Event(
        execution_id(), 7, "step.invented", "2026-11-20T07:00:00.120Z", "acme\x00", Unknown(data),
        **more,
    )  # fmt: skip


def as_jsonb(value: Any) -> str:
    """JSON as Postgres gives it back: keys by length, numbers as decimals without exponent."""
    match value:
        case dict():
            ordered = sorted(value.items(), key=lambda item: (len(item[0].encode()), item[0]))
            pairs = (f"{orjson.dumps(name).decode()}: {as_jsonb(item)}" for name, item in ordered)
            return "{" + ", ".join(pairs) + "}"
        case list():
            return "[" + ", ".join(map(as_jsonb, value)) + "]"
        case float():
            number = Decimal(orjson.dumps(value).decode())
            return f"{abs(number) if value == 0 else number:f}"
        case _:
            return orjson.dumps(value).decode()


def stored(value: bytes) -> bytes:
    """The event as `runstream audit` puts it together from the row that the sink makes of it."""
    row = read_event(value, None)
    assert isinstance(row, EventRow)
    one = row.event
    step = {} if one.step is None else {"step": one.step, "attempt": one.attempt}
    data = orjson.loads(as_jsonb(orjson.loads(row.data_json)))
    body = {"data": data, "tenant": one.tenant, "at": one.at, "type": one.type, "seq": one.seq}
    return orjson.dumps({**body, "execution_id": one.execution_id, **step})


@given(DATA)
def test_the_canonical_form_survives_the_way_through_postgres(data: dict[str, Any]) -> None:
    value = encode_event(event(data, step="s\x00", attempt=2))
    assert canonical(stored(value)) == canonical(value)


@given(DATA)
def test_the_chain_stands_in_the_record_and_takes_no_part_in_itself(data: dict[str, Any]) -> None:
    one = event(data)
    value = encode_event(one)
    one.chain = link(start(one.execution_id), value)
    assert len(one.chain) == CHAIN_LENGTH
    assert encode_event(one) == with_chain(value, one.chain)
    assert encode_chained(event(data), start(one.execution_id)) == encode_event(one)
    assert decode_event(with_chain(value, one.chain)).chain == one.chain
    tree = orjson.loads(with_chain(value, one.chain))
    del tree["chain"]
    assert link(start(one.execution_id), orjson.dumps(tree)) == one.chain


@given(DATA, DATA)
def test_what_readers_tell_apart_has_another_chain(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    first, second = encode_event(event(one)), encode_event(event(other))
    same = as_jsonb(orjson.loads(stored(first))) == as_jsonb(orjson.loads(stored(second)))
    assert (link("x", first) == link("x", second)) == same


@given(histories())
def test_the_chain_of_every_payload_is_that_of_its_json(events: list[Event]) -> None:
    for one in events:
        value = encode_event(one)
        assert encode_chained(one, "x") == with_chain(value, link("x", value))


def test_the_number_one_is_not_one_point_zero() -> None:
    assert canonical(b'{"a":1}') != canonical(b'{"a":1.0}')
    assert canonical(b'{"a":9007199254740993}') != canonical(b'{"a":9007199254740992}')


def test_the_chain_is_what_the_documentation_says() -> None:
    """Computed by hand, so that another program can be checked against it."""
    value = b'{"execution_id":"x","seq":1,"data":{"b":[1.5,-0.0,1e+16],"a":"\\u0000"}}'
    form = b'{"data":{"a":"\\\\u0000","b":[1.5,0.0,10000000000000000]},"execution_id":"x","seq":1}'
    assert canonical(value) == form
    assert link(start("x"), value) == "3eYoZ_xqTSwgkH4LJg2O7SbIkdm-zHPkjNxZpISbw8w"
