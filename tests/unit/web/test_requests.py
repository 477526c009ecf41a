"""Pages that do something, without a browser: decisions, requests, redriving, what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.browser.believable import HOSTILE, execution_id
from tests.browser.believable_requests import PLAN_HASH, BelievableRequests
from tests.browser.pages import PAGES
from tests.browser.serving import served
from tests.browser.shown import application, replace_sources

MINE = [name for name in PAGES if not name.startswith(("execution", "login", "confirm", "not"))]


@pytest.fixture(scope="module")
def requests() -> BelievableRequests:
    return BelievableRequests()


@pytest.fixture(scope="module")
def client(requests: BelievableRequests) -> Iterator[httpx.Client]:
    app = application()
    replace_sources(app, requests=requests)
    with served(app) as url, httpx.Client(base_url=url) as made:
        yield made


@pytest.mark.parametrize("name", MINE)
def test_a_page_has_neither_script_nor_style_within_and_no_hostile_markup(
    client: httpx.Client, name: str
) -> None:
    answer = client.get(PAGES[name])
    assert answer.status_code == 200, answer.text
    within = r"<script(?! defer src=)|<style|\sstyle=|\son[a-z]+=\""
    assert not re.search(within, answer.text)
    assert "<img" not in answer.text and "\x1b" not in answer.text and "\u202e" not in answer.text


def test_an_approval_is_of_the_plan_that_was_read(client: httpx.Client) -> None:
    path = f"/approvals/{execution_id(1)}"
    form = {"decision": "approve", "plan_hash": PLAN_HASH, "reason": " read "}
    done = client.post(path, data=form)
    assert (done.status_code, done.headers["location"]) == (303, f"/executions/{execution_id(1)}")
    other = client.post(path, data={**form, "plan_hash": "other", "reason": HOSTILE})
    assert other.status_code == 409 and "read it again" in other.text
    # The reason that was typed is not lost, and runs nothing.
    assert "&lt;img src=x" in other.text and "<img" not in other.text


def test_a_rejection_needs_a_reason(client: httpx.Client) -> None:
    path = f"/approvals/{execution_id(1)}"
    form = {"decision": "reject", "plan_hash": PLAN_HASH}
    assert client.post(path, data={**form, "reason": "  "}).status_code == 422
    assert client.post(path, data={**form, "reason": "no"}).status_code == 303


def test_an_own_plan_cannot_be_approved_and_says_why(client: httpx.Client) -> None:
    text = client.get(f"/approvals/{execution_id(2)}").text
    assert re.search(r'value="approve" disabled', text)
    assert "somebody else must approve it" in text
    assert 'class="own"' in client.get("/approvals").text.replace("class=own", 'class="own"')


@pytest.mark.parametrize(
    "path",
    [
        "/approvals/none", f"/approvals/{execution_id(99)}", "/start/none", "/schedules/none",
        "/triggers/none", "/tools/none", "/dead-letters/none/0/0", "/tools/%00",
    ],
)  # fmt: skip
def test_what_is_not_there_is_a_page_that_says_so(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404 and "Not found" in answer.text


def test_a_plan_that_is_none_is_told_where_it_breaks(client: httpx.Client) -> None:
    form = {"key": "k", "action": "check"}
    for plan, told in (
        ("steps:\n  - tool: [", "line"),
        ("just text", "no plan in it"),
        ("steps: [" + "[" * 65 + "]" * 66, "nested deeper"),
        ("steps: &x [*x]", "contains itself"),
        ("steps:\n" + "  - tool: df\n" * 15_000, "128 KiB of YAML"),
    ):
        answer = client.post("/start/plan", data={**form, "plan": plan})
        assert answer.status_code == 422 and told in answer.text, plan[:40]
        assert "Traceback" not in answer.text


def test_what_if_runs_nothing_and_a_form_sent_twice_runs_once(
    client: httpx.Client, requests: BelievableRequests
) -> None:
    form = {"key": "same", "plan": "steps: [{tool: df}]", "action": "check"}
    asked = client.post("/start/plan", data=form)
    assert "It would wait for approval" in asked.text and requests.submitted == {}
    # The plan stands in the form again, so that it can be run as it was asked about.
    assert "steps: [{tool: df}]" in asked.text
    run = {**form, "action": "run"}
    for _ in range(2):
        answer = client.post("/start/plan", data=run)
        assert answer.headers["location"] == f"/executions/{execution_id(0)}"
    assert len(requests.submitted) == 1
    # Another plan from the same form, as after the browser's Back, is another request.
    client.post("/start/plan", data={**run, "plan": "steps: [{tool: ps}]"})
    assert len(requests.submitted) == 2


def test_a_refused_run_stands_in_the_form(client: httpx.Client) -> None:
    answer = client.post("/start/plan", data={"key": "k", "plan": "steps: []", "action": "run"})
    assert answer.status_code == 200
    assert "It would be refused" in answer.text and "give one at least" in answer.text


def test_inputs_are_sent_as_their_types_and_wrong_ones_stay_in_the_form(
    client: httpx.Client, requests: BelievableRequests
) -> None:
    form = {
        "key": "form", "action": "run", "input.hosts": "web-01\nweb-02", "input.release": "2.14.1",
        "input.batch": "4", "input.reboot": "true", "input.token": "env/TOKEN",
    }  # fmt: skip
    wrong = client.post("/start/patch-web", data={**form, "input.batch": "four"})
    assert wrong.status_code == 422
    assert "no whole number" in wrong.text and 'value="2.14.1"' in wrong.text
    refused = client.post(
        "/start/patch-web", data={**form, "input.release": "x", "action": "check"}
    )
    at_field = refused.text.split('id="input.release-hint"')[1][:400]
    assert "does not match its pattern" in at_field
    assert client.post("/start/patch-web", data=form).status_code == 303
    (sent,) = [one for one in requests.submitted.values() if "procedure" in one]
    assert sent == {
        "procedure": "patch-web",
        "version": "3",
        "inputs": {
            "hosts": ["web-01", "web-02"], "release": "2.14.1", "batch": 4, "reboot": True,
            "token": {"type": "secret", "path": "env/TOKEN"},
        },
    }  # fmt: skip


def test_redriving_by_a_filter_counts_before_it_does(client: httpx.Client) -> None:
    query = "?topic=execution.steps.network.dlq"
    asked = client.get(f"/dead-letters/redrive{query}")
    assert "Redrive 8 steps" in asked.text
    before = re.search(r'name="before" value="([^"]+)"', asked.text)
    assert before is not None
    moment = before[1].replace("&#43;", "+")
    done = client.post(f"/dead-letters/redrive{query}", data={"before": moment})
    assert "8 dead letters redriven" in done.text


def test_tools_are_found_by_name_before_what_speaks_of_them(client: httpx.Client) -> None:
    found = re.search(r'row-link mono" href="/tools/([^"]+)"', client.get("/tools?text=df").text)
    assert found is not None and found[1] == "df"
    only = client.get("/tools?text=disk&effect=read&domain=automation").text
    assert "Destroy</span>" not in only.split("<tbody>")[1]


def test_schedules_and_triggers_are_paused_with_a_reason_and_a_refusal_is_said(
    client: httpx.Client,
) -> None:
    for path in ("/schedules/backup", "/triggers/on-alert"):
        done = client.post(path, data={"action": "pause", "reason": "night"})
        assert (done.status_code, done.headers["location"]) == (303, path)
    refused = client.post("/schedules/old-report", data={"action": "resume"})
    assert refused.status_code == 403 and "no rule allows it &lt;img" in refused.text
    assert client.post("/schedules/backup", data={"action": "drop"}).status_code == 422
    paused = client.get("/schedules/patch-web").text
    assert 'value="resume"' in paused and 'value="pause"' not in paused
