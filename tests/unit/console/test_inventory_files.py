"""Files of hosts: what each form says, and one sentence with the line for what is wrong."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from console.exits import Failure
from console.inventory_files import MAX_BYTES, format_of, parse, read
from console.inventory_model import BadFile, HostFound
from console.options import HostsFormat

INI = """\
bastion ansible_host=192.0.2.1        # in no group
[web]
web[01:03].example.org ansible_user=deploy http_port=80
db-1:2222 ansible_host=10.0.0.1 ansible_password='s3cret pass'

[prod:children]
web
[prod:vars]
ansible_user = root
ansible_become_pass = xyz
ansible_ssh_common_args = '-o ProxyJump=bastion:2200,inner -o StrictHostKeyChecking=no'
location={{ where }}
"""


def hosts(form: HostsFormat, text: str) -> dict[str, HostFound]:
    return {host.hostname: host for host in parse(form, text).hosts}


def left(form: HostsFormat, text: str) -> dict[str, str]:
    return {one.name: one.why for one in parse(form, text).left_out}


def yaml(text: str) -> dict[str, HostFound]:
    return hosts("ansible-yaml", text)


def test_an_ini_inventory() -> None:
    found = hosts("ansible-ini", INI)
    assert list(found) == ["bastion", *(f"web0{n}.example.org" for n in (1, 2, 3)), "db-1"]
    assert (found["bastion"].facts, found["bastion"].groups) == ({"ip_address": "192.0.2.1"}, ())
    web = found["web02.example.org"]
    assert web.connection == {"user": "deploy", "jump": ["bastion:2200", "inner"]}
    assert web.groups == ("prod", "web")
    assert found["db-1"].connection["port"] == 2222
    assert found["db-1"].connection["user"] == "root"
    said = left("ansible-ini", INI)
    assert said.keys() == {
        "http_port", "ansible_password", "ansible_become_pass", "location",
        "ansible_ssh_common_args",
    }  # fmt: skip
    assert "reference" in said["ansible_password"]
    assert not any("s3cret" in str(host) for host in found.values())


def test_the_nearer_group_counts() -> None:
    """As Ansible merges: all, then parents before children, then priority and name, then host."""
    text = """\
all:
  vars: {owner: everybody, status: s-all, location: l-all, os_type: o-all, asset_type: t-all}
  children:
    eu:
      vars: {status: s-eu, location: l-eu, os_type: o-eu, asset_type: t-eu}
      children: {web: }
    web:
      vars: {location: l-web, os_type: o-web, asset_type: t-web}
      hosts: {a: {asset_type: t-host}}
    alpha: {vars: {location: l-alpha}, hosts: {a: }}
    zoo: {vars: {os_type: o-zoo, ansible_group_priority: 9}, hosts: {a: }}
"""
    assert yaml(text)["a"].facts == {
        "owner": "everybody", "status": "s-eu", "location": "l-web", "os_type": "o-web",
        "asset_type": "t-host",
    }  # fmt: skip
    assert yaml(text)["a"].groups == ("alpha", "eu", "web", "zoo")


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("w[1:3]", ["w1", "w2", "w3"]),
        ("w[08:10]", ["w08", "w09", "w10"]),
        ("w[1:9:4].x", ["w1.x", "w5.x", "w9.x"]),
        ("[a:c]-[1:2]", ["a-1", "a-2", "b-1", "b-2", "c-1", "c-2"]),
        ("2001:db8::1", ["2001:db8::1"]),
        ("WEB.", ["web"]),
    ],
)
def test_ranges(written: str, names: list[str]) -> None:
    assert list(hosts("ansible-ini", f"[g]\n{written}\n")) == names


def test_an_ssh_config() -> None:
    text = """\
Host * !bastion
  User deploy
  ProxyJump bastion
Host web-1 web-2
  HostName %h.example.org
  Port=2222
  User late
Host bastion
  HostName 192.0.2.1
Match exec "touch /tmp/run-by-match"
  User evil
"""
    found = hosts("ssh-config", text)
    assert list(found) == ["web-1", "web-2", "bastion"]
    assert found["web-1"].connection == {
        "address": "web-1.example.org", "port": 2222, "user": "deploy", "jump": ["bastion"],
    }  # fmt: skip
    assert found["web-1"].groups is None and "user" not in found["bastion"].connection
    assert "Match" in left("ssh-config", text)
    assert not Path("/tmp/run-by-match").exists()


def test_a_table() -> None:
    text = 'Name;ip;password;groups;tag.role;jump\nweb-1;10.0.0.1;x;web eu;"a;b";bastion\n'
    host = hosts("csv", text)["web-1"]
    assert (host.facts, host.groups) == ({"ip_address": "10.0.0.1"}, ("eu", "web"))
    assert (host.tags, host.connection["jump"]) == ({"role": "a;b"}, ["bastion"])
    assert "is a secret" in left("csv", text)["password"]


@pytest.mark.parametrize(
    ("name", "text", "form"),
    [
        ("a.csv", "", "csv"), ("a.yml", "", "ansible-yaml"), ("hosts", "[web]\na", "ansible-ini"),
        ("hosts", "# x\nall:\n  hosts:", "ansible-yaml"), ("hosts", "web-1\n", "ansible-ini"),
        ("x", "Host a\n  User b", "ssh-config"), ("config", "User b", "ssh-config"),
        ("x", "hostname,ip\n", "csv"),
    ],
)  # fmt: skip
def test_the_form_is_told_by_name_or_content(name: str, text: str, form: str) -> None:
    assert format_of(Path(name), text) == form


@pytest.mark.parametrize(
    ("form", "text", "said"),
    [
        ("ansible-ini", "[a:children]\nb\n[b:children]\na\n", "line 1: the group 'a' is among"),
        ("ansible-ini", "[a:children]\na\n", "line 2: the group 'a' cannot be a child"),
        ("ansible-ini", "[a:children]\nnobody\n", "line 2: the group 'nobody' is a child"),
        ("ansible-ini", "\n[a:hots]\n", "line 2: [a:hots] is not"),
        ("ansible-ini", "web_01\n", "line 1: 'web_01' is no host name"),
        ("ansible-ini", "-oProxyCommand=x\n", "line 1: '-oProxyCommand=x' is no host name"),
        ("ansible-ini", "a 'b\n", "line 1: a quotation mark"),
        ("ansible-ini", "a ansible_port=ssh\n", "line 1: ansible_port: 'ssh' is no port"),
        ("ansible-ini", "a[1:99999999]\n", "line 1: [1:99999999] is more than 5000"),
        ("ansible-ini", "a[1:999]b[1:999]\n", "is more than 5000 hosts"),
        ("ansible-ini", "a[5:1]\n", "line 1: [5:1]: the range ends"),
        ("ansible-ini", "a ansible_password secret-word\n", "line 1: expected name=value behind"),
        ("ansible-yaml", 'all:\n  hosts:\n    "web\\n01": {}\n', "line 3: 'web\\n01' is no host"),
        ("ansible-yaml", "all: &a\n  children: {b: *a}\n", "line 2: the group 'b' cannot be"),
        (
            "ansible-yaml",
            "all: &a\n  children: {b: {children: {c: *a}}}\n",
            "line 2: groups are nested",
        ),
        ("ansible-yaml", "a: {children: {b: }}\nb: {children: {a: }}\n", "line 1: the group"),
        ("ansible-yaml", "all: [a]\n", "line 1: the group 'all' must be a mapping"),
        ("ansible-yaml", "all:\n  hots: {}\n", "line 2: 'hots' in the group 'all'"),
        ("ansible-yaml", "all: {hosts: {a: , a: }}\n", "line 1: the name 'a' occurs twice"),
        ("ansible-yaml", "all: {hosts: [}\n", "line 1, column"),
        ("csv", "ip\n1.2.3.4\n", "line 1: the header has no column hostname"),
        ("csv", "hostname,ip\na\n", "line 2: 1 cells, and the header has 2"),
        ("csv", "hostname\na\nA.\n", "line 3: a stands in line 2 already"),
        ("csv", 'hostname\n"a\n', "not CSV"),
        ("csv", "hostname,ip\na,web\n", "line 2: ip_address: 'web' is no IP address"),
        ("csv", "hostname,environment\na,moon\n", "line 2: environment: 'moon' is not dev"),
        ("ssh-config", "Host a\n  Port 0\n", "line 2: port: '0' is no port"),
        ("ssh-config", "Host a\n  ProxyJump a,b,c,d,e,f\n", "line 2: proxyjump: more than 5"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(form: Any, text: str, said: str) -> None:
    with pytest.raises(BadFile) as error:
        parse(form, text)
    assert said in str(error.value)
    assert "\n" not in str(error.value) and "secret-word" not in str(error.value)


def test_a_tag_of_yaml_makes_no_object_and_a_vault_is_named(tmp_path: Path) -> None:
    made = tmp_path / "made"
    text = (
        f"all:\n  hosts:\n    a:\n      x: !!python/object/apply:os.mkdir ['{made}']\n"
        "      db_pass: !vault |\n        $ANSIBLE_VAULT;1.1\n      owner: !vault x\n"
    )
    found = parse("ansible-yaml", text)
    assert [host.hostname for host in found.hosts] == ["a"] and found.hosts[0].facts == {}
    assert {one.name for one in found.left_out} == {"x", "db_pass", "owner"}
    assert not made.exists()


def test_bytes_that_are_no_file_of_hosts(tmp_path: Path) -> None:
    big = tmp_path / "big.ini"
    with big.open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    cases = {big: f"larger than {MAX_BYTES // 1024} KiB", tmp_path: "is a folder"}
    for name, content, said in (
        ("nul.ini", b"[a]\nb\0\n", "line 2: holds a NUL"),
        ("latin.ini", b"# \xe9\n", "line 1: not UTF-8"),
        ("empty.ini", b"# nothing\n", "no host in it, read as ansible-ini"),
    ):
        (tmp_path / name).write_bytes(content)
        cases[tmp_path / name] = said
    os.mkfifo(tmp_path / "fifo")
    cases[tmp_path / "fifo"] = "is no file"
    cases[tmp_path / "absent"] = "cannot be read: No such file"
    for path, said in cases.items():
        with pytest.raises(Failure) as error:
            read(path, None)
        assert said in error.value.message and str(path) in error.value.message


def test_what_repeats_itself_ends_soon() -> None:
    began = time.monotonic()
    laughs = "a0: &a0 {children: {x: }}\n" + "".join(
        f"a{n}: &a{n} {{children: {{b{n}: *a{n - 1}, c{n}: *a{n - 1}}}}}\n" for n in range(1, 40)
    )
    with pytest.raises(BadFile):
        parse("ansible-yaml", laughs)
    with pytest.raises(BadFile):
        parse("ansible-ini", "[g]\n" + "w[1:5000] a=1 b=2 c=3\n" * 20_000)
    parse("ssh-config", f"Host {'*a' * 50} x{'a' * 50}b\n  Port 1\n")
    assert time.monotonic() - began < 20
