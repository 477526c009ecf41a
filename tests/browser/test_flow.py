"""A person in a browser, on a real stack: what it shows and does is what happened."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.api_kit import ApiServer, Person
from tests.browser.chromium import looking, opened
from tests.harness import PATIENCE_SECONDS, Harness

Json = dict[str, Any]
_PATIENCE_MS = PATIENCE_SECONDS * 1_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened() as browser:
        yield browser


def submit(api: ApiServer, person: Person, name: str, steps: list[Json], **plan: Any) -> str:
    with api.client(person.token()) as client:
        body = {"plan": {"name": name, "steps": steps, **plan}}
        answer = client.post(
            "/v1/executions", json=body, headers={"Idempotency-Key": uuid.uuid4().hex}
        )
    assert answer.status_code == httpx.codes.CREATED, answer.text
    ident: str = answer.json()["execution_id"]
    return ident


def event(harness: Harness, ident: str, kind: str) -> Json:
    """The first event of this type of an execution, as it stands on the topic."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        for found in harness.log.events[ident]:
            if found["type"] == kind:
                data: Json = found["data"]
                return data
        assert time.monotonic() < deadline, (ident, kind, harness.log.events[ident])
        harness.read()


def sign_in(page: Page, person: Person) -> None:
    page.goto("/executions")
    page.wait_for_url("**/login?next=%2Fexecutions")
    page.fill("[name=token]", "no.token.at-all")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("does not count")
    page.fill("[name=token]", person.token())
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/executions")


def do(page: Page, action: str, word: str, reason: str) -> None:
    """Press the button, give the reason, and go through with it."""
    page.get_by_role("link", name=action, exact=True).click()
    page.fill("#dialog [name=reason]", reason)
    page.locator("#dialog").get_by_role("button", name=word).click()


def ident_of(page: Page) -> str:
    return page.url.split("/executions/")[1][:36]


def head_says(page: Page, word: str) -> None:
    expect(page.locator("#head .pill")).to_have_text(word, timeout=_PATIENCE_MS)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_submit_watch_approve_cancel_rerun_redrive(
    api: ApiServer, browser: Browser, harness: Harness
) -> None:
    api.wait_ready()
    ann, bob = api.person("ann"), api.person("bob")
    with looking(browser, base_url=api.url) as (page, said):
        page.set_default_timeout(60_000)
        sign_in(page, bob)
        # The refused token is the only thing the browser has complained of.
        assert [line for line in said.lines if "401" not in line] == []
        said.lines.clear()
        page.mouse.move(5, 5)
        expect(page.locator("#connection")).to_be_hidden()

        # What another person submits comes in by itself, and is opened by its row.
        name = f"list a file {uuid.uuid4().hex[:8]}"
        asked = submit(
            api, ann, name,
            [{"id": "look", "tool": "ls", "parameters": {"path": "/etc/hostname"}}],
            approval_level=1,
        )  # fmt: skip
        row = page.locator(f'tr[data-execution="{asked}"]')
        expect(row).to_contain_text("Needs approval", timeout=_PATIENCE_MS)
        row.get_by_role("link", name=name).click()

        # The approval of somebody else lets it run; the page follows it to its end.
        expect(page.locator("#head")).to_contain_text("It waits for 1 approval.")
        do(page, "Approve", "Approve", "I have read it")
        head_says(page, "Completed")
        given = event(harness, asked, "execution.approved")
        assert (given["actor"], given["reason"]) == ("bob", "I have read it")
        page.get_by_role("link", name="look").first.click()
        expect(page.locator("#panel .lines")).to_contain_text("/etc/hostname")

        # A plan that runs is cancelled with a reason, while the page shows it.
        slow = submit(api, bob, "sleep", [
            {"id": "nap", "tool": "sleep", "parameters": {"seconds": 60}},
            {"id": "then", "tool": "noop", "depends_on": ["nap"]},
        ])  # fmt: skip
        page.goto(f"/executions/{slow}?tab=graph")
        expect(page.locator(".node-link").first).to_have_attribute(
            "aria-label", "nap: Running", timeout=_PATIENCE_MS
        )
        do(page, "Cancel", "Cancel it", "it takes too long")
        head_says(page, "Cancelled")
        requested = event(harness, slow, "execution.cancel_requested")
        assert (requested["actor"], requested["reason"]) == ("bob", "it takes too long")
        event(harness, slow, "execution.cancelled")

        # Its rerun is a new execution that says of which.
        do(page, "Rerun", "Rerun", "now there is time")
        page.wait_for_url(lambda url: "/executions/" in url and slow not in url)
        again = ident_of(page)
        expect(page.locator("#head dd", has_text=slow[:8])).to_be_visible()
        assert event(harness, again, "execution.accepted")["rerun_of"] == slow
        do(page, "Cancel", "Cancel it", "enough")
        head_says(page, "Cancelled")

        # A step after its last attempt is driven again from its panel.
        failed = submit(api, bob, "fails", [
            {"id": "good", "tool": "noop"},
            {"id": "bad", "tool": "fail", "depends_on": ["good"]},
        ])  # fmt: skip
        page.goto(f"/executions/{failed}?tab=steps&step=bad")
        head_says(page, "Partial")
        page.reload()
        expect(page.locator("#panel .why-box")).to_be_visible()
        do(page, "Redrive this step", "Redrive it", "once more")
        page.wait_for_url(lambda url: "/executions/" in url and failed not in url)
        redriven = ident_of(page)
        accepted = event(harness, redriven, "execution.accepted")
        assert accepted["rerun_of"] == failed and list(accepted["carried"]) == ["good"]

        assert said.lines == []
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/login")
        page.goto(f"/executions/{failed}")
        page.wait_for_url("**/login?next=**")
