"""Tools that act on a list of hosts: each of them counts for the policy and is locked."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.router.lock_plans import of, submit
from tests.unit.router.simulation import Simulation, kinds

RULES = """version: 1
rules:
  - {id: web, effect: allow, actors: [ann], actions: ['*'], assets: ['web-*']}
  - {id: all, effect: allow, actors: [root], actions: ['*']}
  - {id: no-db, effect: deny, actors: ['*'], assets: ['db-*'], actions: ['*']}
"""


def play(**parameters: Any) -> dict[str, Any]:
    given = {"playbook": "/srv/ansible/site.yml", **parameters}
    return {"tool": "ansible_playbook", "parameters": given}


def asked(step: dict[str, Any], actor: str = "ann") -> list[dict[str, Any]]:
    return Simulation(policy=RULES).submit({"actor": actor, "plan": {"steps": [step]}})


def problem_of(step: dict[str, Any], actor: str = "ann") -> str:
    events = asked(step, actor)
    assert events[0]["type"] == "execution.rejected", events[0]
    assert events[0]["data"]["reason"] == "forbidden"
    message: str = events[0]["data"]["problems"][0]["message"]
    return message


@pytest.mark.parametrize(
    ("hosts", "asset"),
    [
        (["web-01", "DB-01.:22"], "db-01"),
        (["mail-1", "web-01"], "mail-1"),
        (["web-01", "::1"], "localhost"),
        (["web-01", "[2001:DB8::7]:22"], "2001:db8::7"),
    ],
)
def test_one_host_that_no_rule_allows_refuses_the_plan(hosts: list[str], asset: str) -> None:
    message = problem_of(play(hosts=hosts))
    assert f"run ansible_playbook (execute) on {asset} in dev" in message


def test_a_lone_host_and_one_of_an_alias_count_too() -> None:
    assert "on db-01 in dev" in problem_of(play(hosts="db-01"))
    script = {"host": "web-01", "script": "Get-Date", "computer_names": ["web-02", "db-01"]}
    assert "on db-01 in dev" in problem_of({"tool": "invoke_command", "parameters": script})


def test_a_denied_host_is_denied_to_whoever_may_do_everything() -> None:
    assert "rule no-db denies" in problem_of(play(hosts=["web-01", "db-01"]), "root")


def test_a_list_whose_hosts_are_all_allowed_may_run() -> None:
    hosts = {"hosts": ["web-01", "WEB-02:2222"]}
    assert kinds(asked(play(**hosts)))[0] == "execution.accepted"
    # The machine that runs Ansible counts as well.
    assert "on mail-1" in problem_of(play(host="mail-1", **hosts))


@pytest.mark.parametrize(
    "parameters",
    [
        {"inventory": "/srv/ansible/hosts.ini"},
        {"inventory": "/srv/ansible/hosts.ini", "host": "web-01"},
        {"hosts": "{{ plan.name }}"},
        {"hosts": ["web-01", "{{ plan.name }}"]},
        {"hosts": ["web-01"], "connection": "local"},
        {"hosts": ["web-01"], "connection": "{{ plan.name }}"},
    ],
)
def test_hosts_that_only_the_run_will_tell_need_the_right_to_every_asset(
    parameters: dict[str, Any],
) -> None:
    assert "only the run will tell" in problem_of(play(**parameters))
    assert "rule no-db denies" in problem_of(play(**parameters), "root")
    every = "version: 1\nrules: [{id: a, effect: allow, actors: [ann], actions: ['*']}]\n"
    here = Simulation(policy=every)
    events = here.submit({"actor": "ann", "plan": {"steps": [play(**parameters)]}})
    assert kinds(events)[0] == "execution.accepted"


def test_hosts_over_ssh_are_known() -> None:
    step = play(hosts=["web-01"], connection="ssh")
    assert kinds(asked(step))[0] == "execution.accepted"


def test_items_of_a_list_are_known_hosts() -> None:
    step = {**play(hosts=["{{ item }}"]), "for_each": ["web-01", "db-01"]}
    assert "on db-01" in problem_of(step)


def test_every_host_of_the_list_is_locked_and_another_plan_waits() -> None:
    simulation = Simulation()
    one = submit(simulation, "one", play(hosts=["web-01", "WEB-02.:22", "localhost"]))
    two = submit(simulation, "two", play(hosts=["web-03", "web-02"]))
    (first,) = simulation.commands
    assert first["execution_id"] == one
    assert first["fencing_tokens"].keys() == {"web-01", "web-02"}
    (waiting,) = of(simulation, two, "step.waiting")
    assert waiting["data"]["message"] == f"web-02 is locked by {one}"
    simulation.run(simulation.take())
    (second,) = simulation.commands
    assert second["fencing_tokens"].keys() == {"web-02", "web-03"}


def test_hosts_that_an_output_gives_are_locked_before_the_command_goes_out() -> None:
    simulation = Simulation()
    find = {"id": "find", "tool": "noop", "parameters": {"value": ["web-01", "web-02"]}}
    submit(simulation, "one", find, play(hosts="{{ steps.find.output.value }}"))
    simulation.run(simulation.take(), output={"value": ["web-01", "web-02"]})
    command = simulation.take()
    assert command["tool"] == "ansible_playbook"
    assert command["fencing_tokens"].keys() == {"web-01", "web-02"}


def test_items_lock_the_hosts_of_all_their_lists_at_once() -> None:
    simulation = Simulation()
    step = {**play(hosts=["{{ item }}"]), "for_each": ["web-01", "web-02"], "max_parallel": 1}
    one = submit(simulation, "one", step)
    (acquired,) = of(simulation, one, "lock.acquired")
    assert acquired["data"]["tokens"].keys() == {"web-01", "web-02"}


def test_two_thousand_hosts_are_locked_and_more_than_a_record_can_say_fail_with_the_remedy() -> (
    None
):
    simulation = Simulation()
    hosts = [f"web-{number:05}.example.org" for number in range(2_000)]
    submit(simulation, "one", play(hosts=hosts))
    command = simulation.take()
    assert command["fencing_tokens"].keys() == set(hosts)
    simulation.run(command)
    many = [f"web-{number:05}.example.org" for number in range(10_000)]
    two = submit(simulation, "two", play(hosts=many))
    (failed,) = of(simulation, two, "step.failed")
    assert failed["data"]["error"]["class"] == "too_large"
    assert "split the plan" in failed["data"]["error"]["message"]
    assert not simulation.commands
