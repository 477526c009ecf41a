"""Effects of the network, asset and communication tools: what a call can do, not what it is for."""

from __future__ import annotations

from typing import Any

import pytest

from toolmeta.bind import bind
from toolmeta.model import Tool
from toolmeta.registry import load
from toolmeta.risk import action_class_of, approval_required, effect_of

DOMAINS = ("network", "asset", "communication")
TOOLS = [tool for domain in DOMAINS for tool in load().by_domain()[domain]]
STORED = {"capture": "01989c2a-7c00-8abc-9def-0123456789ab.listen.1"}
#: Tools that listen to an interface, or read a stored capture.
LISTENERS = [tool.name for tool in TOOLS if {"interface", "capture"} <= set(tool.parameters)]


def tool_of(name: str) -> Tool:
    tool = load().get(name)
    assert tool is not None
    return tool


@pytest.mark.parametrize("name", [name for name in LISTENERS if name != "tcpdump"])
def test_listening_takes_the_traffic_of_others_and_waits_for_an_approval(name: str) -> None:
    tool = tool_of(name)
    assert effect_of(tool, STORED) == "read"
    for live in ({"interface": "eth0"}, {"device": "eth0"}, {"interface": "{{ item }}"}):
        assert effect_of(tool, live) == "modify"
        assert action_class_of(tool, live) == "modify"
        assert approval_required(tool, live, "prod")
    assert not approval_required(tool, STORED, "prod")


@pytest.mark.parametrize("name", [name for name in LISTENERS if "keep" in tool_of(name).parameters])
def test_a_capture_that_is_kept_stays_on_the_executor(name: str) -> None:
    assert effect_of(tool_of(name), {**STORED, "keep": True}) == "modify"
    assert effect_of(tool_of(name), {**STORED, "keep": False}) == "read"


def test_a_capture_by_tcpdump_is_kept_and_holds_the_traffic_of_others() -> None:
    tool = tool_of("tcpdump")
    assert effect_of(tool, {"interface": "eth0"}) == "modify"
    assert approval_required(tool, {"interface": "eth0"}, "prod")
    assert effect_of(tool, {"action": "list"}) == "read"


def test_a_webhook_changes_something_whatever_its_method() -> None:
    tool = tool_of("webhook_sender")
    for method in ("GET", "POST", "PUT", "PATCH"):
        assert effect_of(tool, {"method": method}) == "modify"
        assert approval_required(tool, {"method": method}, "prod")
    assert effect_of(tool, {"method": "DELETE"}) == "destroy"
    assert approval_required(tool, {"method": "DELETE"}, "prod")


def test_talking_to_services_is_more_than_looking_for_ports() -> None:
    tool = tool_of("nmap")
    assert effect_of(tool, {"targets": ["192.0.2.1"]}) == "read"
    assert effect_of(tool, {"targets": ["192.0.2.1"], "detect_services": False}) == "read"
    assert effect_of(tool, {"targets": ["192.0.2.1"], "detect_services": True}) == "modify"


@pytest.mark.parametrize(
    ("name", "operation", "effect"),
    [
        ("axis_vapix_ptz_control", "remove_preset", "destroy"),
        ("axis_vapix_ptz_control", "absolute_position", "modify"),
        ("axis_vapix_overlay", "remove", "destroy"),
        ("axis_vapix_overlay", "add_text", "modify"),
        ("axis_vapix_imaging", "set", "modify"),
        ("axis_vapix_daynight", "set", "modify"),
        ("axis_vapix_light_control", "deactivate", "modify"),
    ],
)
def test_what_a_camera_no_longer_sees_waits_for_an_approval(
    name: str, operation: str, effect: str
) -> None:
    tool = tool_of(name)
    assert effect_of(tool, {"operation": operation}) == effect
    assert approval_required(tool, {"operation": operation}, "prod")


def test_an_asset_is_not_moved_to_another_address_without_an_approval() -> None:
    assert approval_required(tool_of("asset_update"), {"ip_address": "192.0.2.9"}, "prod")


@pytest.mark.parametrize("path", ["/etc/../etc/passwd", "/..", "/a/./b", "//a", "/a/", "a"])
def test_an_image_of_an_overlay_is_named_by_a_plain_path(path: str) -> None:
    given: dict[str, Any] = {
        "host": "192.0.2.90", "username": "operator", "password": "x", "operation": "add_image",
    }  # fmt: skip
    assert isinstance(bind(tool_of("axis_vapix_overlay"), {**given, "image_path": path}), list)
    good = {**given, "image_path": "/etc/overlays/logo.ovl"}
    assert not isinstance(bind(tool_of("axis_vapix_overlay"), good), list)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_a_definition_says_why_its_read_is_one(tool: Tool) -> None:
    effects = tool.risk.effect_by.effects.values() if tool.risk.effect_by else [tool.risk.effect]
    assert (tool.risk.why_read is not None) == ("read" in effects)
