"""Where and how a step acts: the reference's rule, and what an asset says about itself."""

from __future__ import annotations

import socket

import pytest

from drivers.connections import (
    Asset,
    AssetCache,
    Jump,
    asset_of,
    connection_of,
    kind_of,
    stated_endpoint,
)


@pytest.mark.parametrize(
    ("os_type", "service_type", "kind"),
    [
        ("windows", "winrm", "powershell"),
        ("Windows Server 2022", None, "powershell"),
        ("windows", "openssh", "ssh"),
        ("WINDOWS", "SSH", "ssh"),
        ("linux", "winrm", "ssh"),
        *((name, None, "ssh") for name in ("unix", "ubuntu", "centos", "rhel", "debian")),
        ("plan9", None, "ssh"),
        (None, None, "ssh"),
        (None, "ssh", "ssh"),
    ],
)
def test_the_rule_of_the_reference(os_type: str, service_type: str, kind: str) -> None:
    assert kind_of(os_type, service_type) == kind


def test_a_host_that_is_no_asset() -> None:
    assert connection_of(None, None).kind == "local"
    assert connection_of("localhost", None).kind == "local"
    assert connection_of(socket.gethostname(), None).kind == "local"
    there = connection_of("web-01", None)
    assert (there.kind, there.address, there.port, there.known) == ("ssh", "web-01", None, False)
    assert connection_of("web-01:2222", None).port == 2222
    # A port is a way to reach it, also on this machine.
    assert connection_of("127.0.0.1:2222", None).kind == "ssh"


def test_an_asset() -> None:
    asset = Asset("web-01", "192.0.2.7", "linux", None, {"user": "ops", "port": 2222})
    found = connection_of("web-01", asset)
    assert (found.kind, found.name, found.address) == ("ssh", "web-01", "192.0.2.7")
    assert (found.port, found.user, found.known) == (2222, "ops", True)
    assert connection_of("web-01:22", asset).port == 22


def test_an_asset_that_is_this_machine() -> None:
    here = socket.gethostname()
    assert connection_of(here, Asset(here, "192.0.2.7")).kind == "local"
    assert connection_of(here, Asset(here, None, None, None, {"port": 22})).kind == "ssh"
    assert connection_of("web-01", Asset("web-01", "127.0.0.1")).kind == "ssh"


def test_what_an_asset_may_override() -> None:
    stated = {"type": "powershell", "address": "10.0.0.9", "auth": "ntlm", "tls": False, "x": 1}
    found = connection_of("win", Asset("win", "192.0.2.9", "windows", "ssh", stated))
    assert (found.kind, found.address) == ("powershell", "10.0.0.9")
    assert dict(found.login) == {"auth": "ntlm", "tls": False}
    assert "ntlm" not in repr(found)


@pytest.mark.parametrize(
    "stated",
    [{"port": "22"}, {"port": 0}, {"port": True}, {"user": "a\nb"}, {"user": 7}, {"type": "telnet"},
     {"address": ""}, {"jump": 7}, {"jump": [7]}, {"jump": [""]}, {"jump": ["a"] * 6},
     {"jump": [{"host": "a"}]}, {"jump": ["a\nb"]}],
)  # fmt: skip
def test_an_asset_whose_connection_is_not_usable(stated: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="web-01"):
        connection_of("web-01", Asset("web-01", connection=stated))


def test_the_way_to_an_asset() -> None:
    for stated in ("bastion:2222", ["bastion:2222"]):
        found = connection_of("web-01", Asset("web-01", connection={"jump": stated}))
        assert found.jumps == (Jump("bastion:2222"),)
    assert connection_of("web-01", Asset("web-01")).jumps == ()


def test_a_port_beside_the_host() -> None:
    asset = Asset("web-01", "192.0.2.7", "linux", None, {"port": 2222})
    assert connection_of("web-01", asset, 23).port == 23
    assert connection_of("web-01:23", asset, 23).port == 23
    assert connection_of("localhost", None, 22).kind == "ssh"
    with pytest.raises(ValueError, match=r"connection\.port: 23"):
        connection_of("web-01:22", asset, 23)


def test_rows() -> None:
    row = {"hostname": "web-01", "ip_address": None, "os_type": "linux", "service_type": "ssh"}
    assert asset_of({**row, "metadata": {"connection": {"port": 22}}}).connection == {"port": 22}
    assert asset_of({**row, "metadata": {"connection": "root@web"}}).connection == {}
    assert asset_of(row).connection == {}


def test_the_port_of_host_or_of_port_but_not_two() -> None:
    assert stated_endpoint({"host": "cam-01"}) == ("cam-01", None)
    assert stated_endpoint({"host": "cam-01", "port": 81}) == ("cam-01", 81)
    assert stated_endpoint({"host": "cam-01:81"}) == ("cam-01", 81)
    assert stated_endpoint({"host": "[2001:db8::1]:81", "port": 81}) == ("2001:db8::1", 81)
    with pytest.raises(ValueError, match="port: 82"):
        stated_endpoint({"host": "cam-01:81", "port": 82})


def test_assets_are_remembered_by_tenant_for_a_moment() -> None:
    remembered = AssetCache(seconds=60.0, most=2)
    for name in ("a", "b", "c"):
        remembered.put("acme", Asset(name))
    assert remembered.get("acme", "a") is None
    assert remembered.get("acme", "c") == Asset("c")
    assert remembered.get("other", "c") is None
    stale = AssetCache(seconds=-1.0)
    stale.put("acme", Asset("a"))
    assert stale.get("acme", "a") is None
