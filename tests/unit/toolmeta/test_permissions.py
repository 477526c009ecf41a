"""Permissions: the right that each call needs."""

from __future__ import annotations

from typing import Any

import pytest

from toolmeta import registry
from toolmeta.permissions import ABOVE_EFFECT, permission_of, worst_permission
from toolmeta.risk import effect_of, effects_of

TOOLS = registry.load()


def right(name: str, **parameters: Any) -> str:
    tool = TOOLS.get(name)
    assert tool is not None
    return permission_of(tool, parameters)


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("df", {}, "read"),
        ("systemctl", {"action": "status", "unit": "nginx"}, "read"),
        ("systemctl", {"action": "restart", "unit": "nginx"}, "write"),
        ("systemctl", {"action": "{{ item }}", "unit": "nginx"}, "write"),
        ("kill", {"pid": 1}, "delete"),
        ("asset_delete", {"hostname": "a"}, "delete"),
        ("docker_exec", {}, "execute"),
        ("powershell", {"command": "Get-Date"}, "execute"),
        ("crontab", {"operation": "list"}, "read"),
        ("crontab", {"operation": "install"}, "execute"),
        ("sudo", {"operation": "run"}, "admin"),
        ("useradd", {}, "admin"),
        ("iptables", {"operation": "list"}, "read"),
        ("iptables", {"operation": "append"}, "admin"),
        # A configuration of the plan's is code, though the call would only read.
        ("kubectl_get", {"resource": "pods"}, "read"),
        ("kubectl_get", {"resource": "pods", "kubeconfig": "/tmp/x"}, "execute"),
        ("docker_ps", {"engine": "tcp://h:1"}, "execute"),
        ("rsyslog", {"path": "/tmp/x"}, "execute"),
        # The connection of an asset says where logins go; what is not known yet may hold one.
        *(
            (name, {"hostname": "a", **given}, needed)
            for name in ("asset_create", "asset_update")
            for given, needed in (
                ({"ip_address": "192.0.2.7"}, "write"),
                ({"metadata": {"rack": "{{ item }}"}}, "write"),
                ({"metadata": {"connection": {"address": "b"}}}, "admin"),
                ({"metadata": {"connection": "{{ item }}"}}, "admin"),
                ({"metadata": {"connection": None}}, "admin"),
                ({"metadata": "{{ item }}"}, "admin"),
            )
        ),
    ],
)
def test_the_right_follows_from_what_the_call_can_do(
    name: str, parameters: dict[str, Any], expected: str
) -> None:
    assert right(name, **parameters) == expected


def test_a_call_needs_read_only_where_it_reads() -> None:
    for tool in TOOLS.all():
        parameters = tool.example.parameters
        reads = effect_of(tool, parameters) == "read"
        assert (permission_of(tool, parameters) == "read") == reads, tool.name
        assert (worst_permission(tool) == "read") == (effects_of(tool) == {"read"}), tool.name


def test_the_table_names_tools_that_change_something() -> None:
    for name, (_, reason) in ABOVE_EFFECT.items():
        tool = TOOLS.get(name)
        assert tool is not None, name
        assert effects_of(tool) != {"read"}, name
        assert reason
