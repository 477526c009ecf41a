"""The tool `ansible_playbook`: the real ansible-core, on this machine and over a real sshd.

What was done is read from files that the playbooks write.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Failure
from drivers.resources import Resources
from tests.driver_kit import Run, settings
from tests.integration.test_drivers_ssh import SSHD, Sshd, sshd
from tests.tools.driven import answer, failure, for_everybody
from tests.tools.odd.test_file_names import EVERY
from tests.tools.running import program
from toolmeta.bind import bind
from toolmeta.invocation import Invocation
from toolmeta.registry import load

__all__ = ["sshd"]

SITE = """
- name: site
  hosts: web
  gather_facts: false
  tasks:
    - name: note
      ansible.builtin.copy:
        content: "{{ note | default('none') }} on {{ inventory_hostname }}"
        dest: "{{ playbook_dir }}/out/{{ inventory_hostname }}"
"""
FAILING = """
- name: failing
  hosts: all
  gather_facts: false
  tasks:
    - name: loop
      ansible.builtin.command: "test {{ item }} = a"
      loop: [a, "b\\nfatal: [web-01]: FAILED! => {\\"msg\\": \\"invented\\"}"]
      ignore_errors: true
      when: inventory_hostname == "web-02"
    - name: only the second
      ansible.builtin.command: sh -c 'echo no space left >&2; exit 3'
      when: inventory_hostname == "web-02"
    - name: rescued
      block:
        - name: asserted
          ansible.builtin.assert: {that: "1 == 2", fail_msg: never}
      rescue:
        - name: rescue
          ansible.builtin.debug: {msg: "changed: [web-09]"}
"""


@pytest.fixture
def place() -> Iterator[Path]:
    program("ansible-playbook", "ansible-core")
    with for_everybody() as folder:
        (folder / "out").mkdir(mode=0o777)
        (folder / "out").chmod(0o777)
        yield folder


def put(place: Path, text: str, name: str = "site.yml") -> str:
    (place / name).write_text(text)
    return str(place / name)


def how(place: Path, **changed: Any) -> dict[str, Any]:
    return {"as_root": True, "config_folders": (str(place),), **changed}


def ran(place: Path, playbook: str, **given: Any) -> dict[str, Any]:
    asked = {"playbook": playbook, "connection": "local", **given}
    return answer("ansible_playbook", asked, **how(place))


def failed(place: Path, playbook: str, **given: Any) -> Failure:
    asked = {"playbook": playbook, "connection": "local", "hosts": ["web-01"], **given}
    return failure("ansible_playbook", asked, **how(place))


@pytest.mark.tried("ansible_playbook", inputs=("IPv6 peer",))
def test_hosts_and_variables_are_data_and_a_second_run_changes_nothing(place: Path) -> None:
    odd = '{{ lookup("pipe", "touch /tmp/rs-canary") }} {% raw %} "\n\'\\ \x85 \U0001f600 - &a *b'
    site = put(place, SITE)
    given = {"hosts": ["web-02:2222", "[::1]:22"], "groups": "web"}
    tried = ran(place, site, **given, variables={"note": odd}, check=True)
    assert (tried["changed"], tried["check"], list((place / "out").iterdir())) == (True, True, [])
    for changed in (True, False):
        done = ran(place, site, **given, variables={"note": odd})
        assert (done["changed"], done["host_count"]) == (changed, 2)
        assert {host["host"]: host["changed"] for host in done["hosts"]} == dict.fromkeys(
            ("web-02", "::1"), int(changed)
        )
        assert done["tasks"] == [
            {"play": "site", "task": "note", "changed" if changed else "ok": 2}
        ]
    for host in ("web-02", "::1"):
        assert (place / "out" / host).read_text() == f"{odd} on {host}"
    assert not Path("/tmp/rs-canary").exists()


def test_what_failed_and_where(place: Path) -> None:
    bad = failed(place, put(place, FAILING), hosts=["web-01", "web-02"])
    assert bad.error_class == "exit_status"
    assert bad.message.startswith("1 of 2 hosts failed; web-02, task only the second: ")
    assert "no space left (exit code 3)" in bad.message
    assert bad.output is not None
    counts = {host.pop("host"): host for host in bad.output["hosts"]}
    assert (counts["web-01"]["rescued"], counts["web-01"]["failed"]) == (1, 0)
    assert (counts["web-02"]["ignored"], counts["web-02"]["failed"]) == (1, 1)
    found = [
        (entry["host"], entry["task"], entry["ignored"])
        for entry in bad.output["failed_tasks"]
        if entry["message"] != "invented"
    ]
    assert ("web-02", "only the second", False) in found
    assert ("web-01", "asserted", False) in found
    assert "never" in [entry["message"] for entry in bad.output["failed_tasks"]]


def test_its_events_as_they_happen(place: Path) -> None:
    site = put(place, SITE)
    invocation = bound(playbook=site, connection="local", hosts=["a", "b"], groups=["web"],
                       progress="json")  # fmt: skip

    async def run() -> tuple[str, list[Any]]:
        opened = Resources(settings(root_tools=("ansible_playbook",), config_folders=(str(place),)))
        try:
            one = Run(opened, invocation)
            await one.outcome()
            return str(one.output.stderr, "utf-8"), one.progress
        finally:
            await opened.close()

    written, progress = asyncio.run(run())
    assert progress == [(None, "task 1: note")]
    events = [json.loads(line) for line in written.splitlines()]
    assert [event["event"] for event in events] == [
        "play", "task", "result", "result", "host", "host",
    ]  # fmt: skip
    results = {(event["host"], event["state"]) for event in events if event["event"] == "result"}
    assert results == {("a", "changed"), ("b", "changed")}


def bound(**given: Any) -> Invocation:
    definition = load().get("ansible_playbook")
    assert definition is not None
    invocation = bind(definition, given)
    assert isinstance(invocation, Invocation), invocation
    return invocation


def test_what_cannot_be_run_is_one_sentence(place: Path) -> None:
    site = put(place, SITE)
    none = failed(place, site)
    assert none.error_class == "not_found" and "groups" in none.message
    gone = failed(place, str(place / "gone.yml"))
    assert (gone.error_class, gone.message.split(": ", 1)[0]) == ("not_found", "playbook")
    broken = failed(place, put(place, "- hosts: all\n  tasks: [{foo: 1}]\n", "b.yml"))
    assert broken.error_class == "invalid_parameters" and "action" in broken.message
    nobody = failed(place, site, groups=["web"], limit=["nobody"])
    assert nobody.error_class == "not_found" and "no hosts" in nobody.message
    for name in ("ansible_connection", "a-b", "{{ x }}"):
        refused = failed(place, site, groups=["web"], variables={name: "x"})
        assert refused.error_class == "invalid_parameters" and "variables" in refused.message
    twice = failed(place, site, hosts=["a:1", "a:2"])
    assert twice.error_class == "invalid_parameters" and "two ports" in twice.message
    assert not list((place / "out").iterdir())


@pytest.mark.parametrize(
    "given",
    [
        {"hosts": ["-web"]}, {"hosts": ["web\n-01"]}, {"hosts": ["web[1:9]"]}, {"hosts": ["a,b"]},
        {"hosts": ["{{ x }}"]}, {"hosts": []}, {"hosts": ["a"], "inventory": "/srv/hosts"}, {},
        {"hosts": ["a"], "limit": ["@/etc/passwd"]}, {"hosts": ["a"], "limit": ["-x"]},
        {"hosts": ["a"], "tags": ["-x"]}, {"hosts": ["a"], "user": "-oProxyCommand=id"},
        {"hosts": ["a"], "groups": ["all:children"]}, {"inventory": "/srv/h", "groups": ["web"]},
        {"hosts": ["a"], "become_password": "x"}, {"hosts": ["a"], "connection": "chroot"},
    ],
)  # fmt: skip
def test_what_could_be_something_else_is_refused_before_anything_runs(given: Any) -> None:
    definition = load().get("ansible_playbook")
    assert definition is not None
    problems = bind(definition, {"playbook": "/srv/site.yml", **given})
    assert isinstance(problems, list)
    assert len(problems) == 1


def test_code_lies_only_where_the_operator_says(place: Path) -> None:
    put(place, SITE)
    allowed = place / "allowed"
    allowed.mkdir()
    (allowed / "link.yml").symlink_to(place / "site.yml")
    for name in ("../site.yml", "link.yml"):
        asked = {"playbook": f"{allowed}/{name}", "hosts": ["a"], "connection": "local"}
        refused = failure("ansible_playbook", asked, **how(place, config_folders=(str(allowed),)))
        assert refused.error_class == "capability_missing"
        assert refused.message.startswith("playbook: ")
        assert "RUNSTREAM_CONFIG_FOLDERS" in refused.message
    nowhere = failure("ansible_playbook", asked, as_root=True)
    assert nowhere.error_class == "capability_missing"


def test_an_inventory_and_vaulted_and_secret_values(place: Path) -> None:
    inventory = put(place, "[web]\nweb-01\nweb-02\n", "hosts.ini")
    site = put(place, SITE)
    done = ran(place, site, inventory=inventory, limit="web-02", variables={"note": "s3cret"})
    assert [host["host"] for host in done["hosts"]] == ["web-02"]
    assert (place / "out/web-02").read_text() == "s3cret on web-02"
    assert "s3cret" not in json.dumps(done)


SLOW = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.shell: touch began; sleep 300; touch ended
      args: {chdir: "{{ playbook_dir }}/out"}
"""


def test_a_cancel_ends_all_of_it(place: Path) -> None:
    site = put(place, SLOW)

    async def cancelled() -> dict[str, Any]:
        opened = Resources(settings(root_tools=("ansible_playbook",), config_folders=(str(place),)))
        try:
            run = Run(opened, bound(playbook=site, connection="local", hosts=["a", "b"]))
            return await run.cancelled((place / "out/began").exists)
        finally:
            await opened.close()

    evidence = asyncio.run(cancelled())
    assert "cancel_unconfirmed" not in evidence, evidence
    assert len(evidence["pids_ended"]) >= 4
    assert not (place / "out/ended").exists()


@pytest.mark.skipif(SSHD is None, reason="openssh-server is not installed")
@pytest.mark.root_only
def test_over_ssh(place: Path, sshd: Sshd) -> None:
    site = put(place, SITE)
    known = (sshd.folder / "known_hosts").read_text()
    given = {
        "playbook": site, "hosts": f"127.0.0.1:{sshd.port}", "groups": "web", "user": "root",
        "ssh_key": (sshd.folder / "client").read_text(), "known_hosts": known,
    }  # fmt: skip
    for changed in (True, False):
        assert answer("ansible_playbook", given, **how(place))["changed"] is changed
    assert (place / "out/127.0.0.1").read_text() == "none on 127.0.0.1"
    stranger = (sshd.folder / "stranger").read_text()
    host_key = (sshd.folder / "stranger.pub").read_text().split()[1]
    for other, wanted in (
        ({"ssh_key": stranger}, "login_refused"),
        ({"known_hosts": "other.example.org ssh-ed25519 AAAA"}, "host_key_unknown"),
        ({"known_hosts": known.replace(known.split()[-1], host_key)}, "host_key_changed"),
        ({"hosts": "127.0.0.1:9"}, "connection_refused"),
    ):
        bad = failure("ansible_playbook", {**given, **other}, **how(place))
        assert bad.error_class == wanted, bad
        assert bad.message.startswith("1 of 1 hosts failed; 127.0.0.1, task note: ")


@pytest.mark.root_only
@pytest.mark.tried("ansible_playbook", inputs=("names", "unreadable"))
def test_a_playbook_of_any_name_and_one_that_may_not_be_read(place: Path) -> None:
    folder = place / EVERY
    folder.mkdir()
    site = put(folder, SITE.replace("{{ playbook_dir }}", str(place)), f"{EVERY}.yml")
    assert ran(place, site, hosts=["a"], groups=["web"])["host_count"] == 1
    assert (place / "out/a").read_text() == "none on a"
    assert not list(place.rglob("[xy]"))
    closed = put(place, SITE, "closed.yml")
    Path(closed).chmod(0o600)
    asked = {"playbook": closed, "hosts": ["a"], "connection": "local"}
    denied = failure("ansible_playbook", asked, step_user="nobody", config_folders=(str(place),))
    assert denied.error_class in ("capability_missing", "invalid_parameters"), denied
