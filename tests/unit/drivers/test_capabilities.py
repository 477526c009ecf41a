"""Capabilities of programs: what they keep over their start, and what helps where they lack one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drivers import capabilities
from drivers.capabilities import NET_RAW, fields_of, keeps, missing_net_raw, remedy

RAW = 1 << NET_RAW


def test_root_keeps_what_it_has_and_others_their_ambient_set_only() -> None:
    assert keeps({"CapEff": RAW}, NET_RAW, root=True)
    assert not keeps({"CapEff": ~RAW}, NET_RAW, root=True)
    assert keeps({"CapEff": RAW, "CapAmb": RAW}, NET_RAW, root=False)
    # Effective in the executor, as by setcap on the interpreter, and gone in what it starts.
    assert not keeps({"CapEff": RAW, "CapAmb": 0}, NET_RAW, root=False)


def test_the_sets_are_read_from_the_status_of_the_kernel() -> None:
    status = "Name:\tpython3\nCapEff:\t0000000000002000\nCapAmb:\t0000000000000400\n"
    assert fields_of(status) == {"CapEff": RAW, "CapAmb": 1 << 10}
    assert fields_of(Path("/proc/self/status").read_text()).keys() == {"CapEff", "CapAmb"}


def test_the_remedy_is_one_that_has_an_effect() -> None:
    """With no_new_privs the capabilities of a file count for nothing."""
    others = remedy(["CAP_NET_RAW"], "tcpdump", root=False)
    assert "in its ambient set" in others
    assert "as root with tcpdump in RUNSTREAM_ROOT_TOOLS" in others
    assert "setcap on the program has no effect" in others
    assert remedy(["CAP_NET_RAW"], "tcpdump", root=True).startswith("start the executor with")


def test_what_is_missing_is_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(capabilities, "fields_of", lambda _status: {"CapEff": RAW, "CapAmb": 0})
    said = missing_net_raw("/usr/bin/tcpdump", "dns_analyzer")
    assert said is not None
    assert said.startswith("tcpdump needs CAP_NET_RAW; start the executor with CAP_NET_RAW in")
    assert "dns_analyzer in RUNSTREAM_ROOT_TOOLS" in said
    monkeypatch.setattr(capabilities, "fields_of", lambda _status: {"CapAmb": RAW})
    assert missing_net_raw("/usr/bin/tcpdump", "dns_analyzer") is None
