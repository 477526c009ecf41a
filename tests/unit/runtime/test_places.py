"""Where an executor may run what plans bring: nothing is allowed but what is named."""

from __future__ import annotations

import pytest

from runtime.places import parse
from runtime.settings import ExecutorSettings


@pytest.mark.parametrize(
    ("text", "here", "allowed", "refused"),
    [
        ("", False, [], ["web-01", "127.0.0.1", ""]),
        ("local", True, [], ["web-01", "localhost", "127.0.0.1"]),
        ("LOCAL, Web-*.example.org", True, ["web-01.EXAMPLE.org."], ["db.example.org", "web-01"]),
        ("*", False, ["web-01", "10.0.0.1", "2001:db8::1"], []),
        ("10.1.0.0/16,2001:db8::/32", False, ["10.1.2.3", "2001:db8::7"], ["10.2.0.1", "10-1-0-1"]),
        ("10.1.2.3", False, ["10.1.2.3"], ["10.1.2.4", "10.1.2.3.example.org"]),
        ("web-0?", False, ["web-01"], ["web-011", "web-0"]),
        ("1*", False, ["1st.example.org"], ["10.0.0.1"]),
    ],
)
def test_places(text: str, here: bool, allowed: list[str], refused: list[str]) -> None:
    found = parse(text)
    assert found.here is here
    assert all(found.host(address) for address in allowed)
    assert not any(found.host(address) for address in refused)


@pytest.mark.parametrize("text", ["web 01", "10.1.2.3/8", "10.1.2", "a/b", "http://x", "[a]", "é"])
def test_what_names_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither local nor a host"):
        parse(f"local,{text}")


def test_an_executor_allows_nothing_by_default() -> None:
    settings = ExecutorSettings(environment="dev")
    for places in (settings.allow_commands, settings.allow_scripts):
        assert not places.here and not places.host("web-01") and not places.host("127.0.0.1")
