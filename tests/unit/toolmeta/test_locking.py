"""Which calls lock, and under which key."""

from __future__ import annotations

import pytest

from toolmeta import registry
from toolmeta.locking import lock_key, locks

TOOLS = registry.load(test_tools=True)


@pytest.mark.parametrize(
    ("spellings", "key"),
    [
        (["web-01", "WEB-01", "web-01.", " web-01 ", "web-01:22", "Web-01.:2222"], "web-01"),
        (["10.0.0.7", "10.0.0.7:22", "::ffff:10.0.0.7", "[::ffff:10.0.0.7]:22"], "10.0.0.7"),
        (["10.7", "0xa.7", "012.0.0.7", "167772167", "10.0.0.7%eth0"], "10.0.0.7"),
        (["2001:db8::1", "2001:DB8:0::1", "[2001:db8::1]:22", "2001:db8::1%eth0"], "2001:db8::1"),
        ([17, "17"], "17"),
    ],
)
def test_spellings_of_one_asset_have_one_key(spellings: list[object], key: str) -> None:
    assert {lock_key(one) for one in spellings} == {key}


@pytest.mark.parametrize(
    "target",
    [
        *(
            "localhost",
            "LOCALHOST:22",
            "127.0.0.1",
            "127.3.0.9",
            "::1",
            "[::1]:22",
            "127.1",
            "0.0.0.0",
        ),
        *("", "  ", None, "{{ item }}", "10.0.0.0/24", "https://web-01/x", ["web-01"], True),
    ],
)
def test_what_names_no_single_asset_has_none(target: object) -> None:
    assert lock_key(target) is None


@pytest.mark.parametrize(
    ("tool", "parameters", "assets", "expected"),
    [
        ("service", {"host": "web-01", "service": "nginx", "action": "restart"}, False, True),
        ("service", {"host": "web-01", "service": "nginx", "action": "status"}, False, False),
        ("service", {"host": "web-01", "service": "nginx", "action": "{{ x }}"}, False, True),
        ("df", {"host": "web-01"}, True, False),
        ("curl", {"url": "https://api.example.org", "method": "POST"}, False, False),
        ("curl", {"url": "https://api.example.org", "method": "POST"}, True, True),
        ("sendmail", {"to": ["a@example.org"]}, True, False),
        ("argv", {"argv": ["true"]}, False, False),
        ("argv", {"argv": ["true"]}, True, True),
        ("noop", {"host": "web-01"}, True, False),
    ],
)
def test_a_call_that_may_change_an_asset_locks(
    tool: str, parameters: dict[str, object], assets: bool, expected: bool
) -> None:
    found = TOOLS.get(tool)
    assert found is not None
    assert locks(found, parameters, assets=assets) is expected
