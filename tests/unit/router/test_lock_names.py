"""Several names of one asset: a lock has all of them, whoever finds them and whenever."""

from __future__ import annotations

from typing import Any

from tests.unit.router.lock_plans import change, of, submit
from tests.unit.router.simulation import Simulation, kinds

WEB = {"asset_id": 17, "hostname": "Web-01", "ip_address": "192.0.2.10"}
NAMES = {"web-01", "192.0.2.10", "17"}


def not_covered(simulation: Simulation, command: dict[str, Any], *rows: dict[str, Any]) -> None:
    """The executor finds these rows in the inventory, and does not begin."""
    error = {"class": "lock_names", "message": "further names", "transient": False}
    output = {"assets": list(rows or (WEB,))}
    simulation.report("started", command)
    simulation.report("failed", command, error=error, output=output)
    simulation.wait(0.1)


def test_the_inventorys_names_of_one_asset_are_one() -> None:
    simulation = Simulation()
    submit(simulation, "inventory", {"tool": "asset_list"})
    row = {"asset_id": 17, "hostname": "Web-01", "ip_address": "192.0.2.10",
           "metadata": {"connection": {"address": "web.example.org:22"}}}  # fmt: skip
    simulation.run(simulation.take(), {"assets": [row], "count": 1, "total": 1})
    one = submit(simulation, "one", change("web-01"))
    two = submit(simulation, "two", change("192.0.2.10"))
    three = submit(simulation, "three", change("WEB.example.org"))
    simulation.restart()
    (acquired,) = of(simulation, one, "lock.acquired")
    names = {"web-01", "192.0.2.10", "web.example.org", "17"}
    assert acquired["data"]["tokens"].keys() == names
    assert of(simulation, two, "step.waiting")
    simulation.run(simulation.take())
    assert of(simulation, two, "step.dispatched")
    assert not of(simulation, three, "step.dispatched")


def test_the_command_has_the_tokens_of_every_name_of_its_assets_and_no_others() -> None:
    simulation = Simulation()
    submit(simulation, "inventory", {"tool": "asset_list"})
    simulation.run(simulation.take(), {"assets": [WEB], "count": 1, "total": 1})
    submit(simulation, "one", change("192.0.2.10"), change("db-01"))
    assert simulation.take()["fencing_tokens"].keys() == NAMES


def test_a_step_whose_lock_lacks_names_gets_them_before_it_is_sent_again() -> None:
    simulation = Simulation()
    one = submit(simulation, "one", change("web-01", retry={"max_attempts": 1}))
    command = simulation.take()
    assert command["fencing_tokens"].keys() == {"web-01"}
    two = submit(simulation, "two", change("192.0.2.10"))
    other = simulation.take()
    simulation.report("started", other)
    not_covered(simulation, command)
    # Somebody else acts on it by its address.
    assert simulation.commands == []
    (waiting,) = of(simulation, one, "step.waiting")[-1:]
    assert waiting["data"]["message"] == f"192.0.2.10 is locked by {two}"
    simulation.restart()
    simulation.wait(1)
    assert simulation.commands == []
    simulation.report("succeeded", other)
    again = simulation.take()
    assert (again["execution_id"], again["attempt"]) == (one, 2)
    assert again["fencing_tokens"].keys() == NAMES
    # Whoever comes now is told by any name.
    three = submit(simulation, "three", change("17"))
    assert of(simulation, three, "step.waiting")
    simulation.run(again)
    assert kinds(of(simulation, one))[-1] == "execution.completed"
    assert simulation.take()["fencing_tokens"].keys() == NAMES


def test_two_that_hold_one_asset_by_two_names_do_not_both_act() -> None:
    simulation = Simulation()
    one = submit(simulation, "one", change("web-01"))
    two = submit(simulation, "two", change("192.0.2.10"))
    first, second = simulation.take(), simulation.take()
    not_covered(simulation, first)
    not_covered(simulation, second)
    (failed,) = [event for event in of(simulation, two, "step.failed") if event["data"]["final"]]
    assert failed["data"]["error"]["class"] == "deadlock"
    (command,) = simulation.commands
    assert (command["execution_id"], command["fencing_tokens"].keys()) == (one, NAMES)


def test_a_step_that_lacks_names_each_time_fails_at_last_with_a_class_of_its_own() -> None:
    simulation = Simulation()
    one = submit(simulation, "one", change("web-01", retry={"max_attempts": 2}))
    for number in range(4):
        row = {"asset_id": 17, "hostname": "web-01", "ip_address": f"192.0.2.{number}"}
        not_covered(simulation, simulation.take(), row)
    assert simulation.commands == []
    (failed,) = [event for event in of(simulation, one, "step.failed") if event["data"]["final"]]
    assert failed["data"]["error"]["class"] == "lock_names"
    assert kinds(of(simulation, one))[-1] == "execution.failed"


def test_a_report_says_nothing_of_assets_that_its_step_does_not_lock() -> None:
    simulation = Simulation()
    submit(simulation, "one", change("web-01", retry={"max_attempts": 1}))
    other = {"asset_id": 18, "hostname": "db-01", "ip_address": "192.0.2.11"}
    not_covered(simulation, simulation.take(), WEB, other)
    assert simulation.take()["fencing_tokens"].keys() == NAMES
    submit(simulation, "two", change("db-01"))
    assert simulation.take()["fencing_tokens"].keys() == {"db-01"}


def test_the_attempts_of_a_step_are_its_own_although_its_lock_lacked_names() -> None:
    simulation = Simulation()
    one = submit(simulation, "one", change("web-01", retry={"max_attempts": 2}))
    for _ in range(2):
        not_covered(simulation, simulation.take())
        simulation.fail(simulation.take(), transient=True)
        simulation.wait(30)
    (failed,) = [event for event in of(simulation, one, "step.failed") if event["data"]["final"]]
    assert failed["data"]["error"]["class"] == "exit_status"
    assert [event["attempt"] for event in of(simulation, one, "step.dispatched")] == [1, 2, 3, 4]


def test_a_result_that_names_no_asset_teaches_nothing() -> None:
    simulation = Simulation()
    simulation.slow_locks = True
    for key, output in enumerate([None, {}, {"asset": None}, {"assets": [1, {"asset_id": "x"}]}]):
        submit(simulation, str(key), {"tool": "asset_list"})
        simulation.run(simulation.take(), output)
    assert simulation.lock_records == []
