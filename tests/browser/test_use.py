"""The console as people use it: by keys, with the panel, the search, and the questions."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from reading.models.executions import ExecutionPage
from tests.browser.believable import Believable, execution_id
from tests.browser.believable_steps import HOSTILE_OUTPUT
from tests.browser.chromium import looking, opened
from tests.browser.pages import PAGES
from tests.browser.serving import served
from tests.browser.shown import application, first_ids
from web.views.filters import ListFilters


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened() as browser:
        yield browser


@pytest.fixture(scope="module")
def console() -> Iterator[str]:
    with served(application()) as address:
        yield address


@pytest.fixture
def page(browser: Browser, console: str) -> Iterator[Page]:
    with looking(browser, base_url=console) as (page, said):
        yield page
        assert said.lines == []


def query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def test_keys_alone_lead_from_the_list_into_a_step_and_back(page: Page) -> None:
    page.goto("/executions")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/executions/{first_ids()['running']}")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("#panel h2")).to_have_text("disk")
    page.keyboard.press("Escape")
    expect(page.locator("#panel")).to_have_count(0)
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
    page.keyboard.press("g")
    page.keyboard.press("e")
    page.wait_for_url("**/executions")
    page.keyboard.press("/")
    expect(page.locator("[data-search]")).to_be_focused()


def test_filters_stand_in_the_address_and_survive_going_back(page: Page) -> None:
    page.goto("/executions")
    page.get_by_role("link", name="Failed").click()
    page.wait_for_url("**status=failed**")
    page.fill("[data-search]", "deploy")
    page.wait_for_url("**text=deploy**")
    assert query(page) == {"status": ["failed"], "text": ["deploy"], "actor": [""],
                           "procedure": [""], "asset": [""], "since": [""]} or (
        query(page) == {"status": ["failed"], "text": ["deploy"]}
    )  # fmt: skip
    expect(page.locator("tr[data-execution]").first).to_contain_text("deploy api")
    page.go_back()
    page.wait_for_url("**status=failed")
    expect(page.locator("[data-search]")).to_have_value("")


def test_the_theme_is_chosen_and_kept(page: Page) -> None:
    page.goto("/executions")
    page.locator("[data-theme-switch]").click()
    page.locator("[data-theme-switch]").click()
    page.reload()
    assert page.locator("html").get_attribute("data-theme") == "dark"


def test_a_question_stands_in_a_dialog_and_names_what_it_ends(page: Page) -> None:
    page.goto(PAGES["execution"])
    page.get_by_role("link", name="Cancel").click()
    dialog = page.locator("#dialog")
    expect(dialog).to_contain_text("Cancel this execution?")
    expect(dialog.locator("input[name=reason]")).to_be_focused()
    dialog.get_by_role("link", name="Back").click()
    expect(dialog).to_be_hidden()
    assert page.url.endswith(first_ids()["running"])


def test_what_the_server_cannot_do_is_said_and_the_page_stays(
    browser: Browser, console: str
) -> None:
    with looking(browser, base_url=console) as (page, _):
        page.goto(PAGES["execution"])
        refusal = '<div id="confirm" class="dialog-body"><p>Postgres does not answer.</p></div>'
        page.route("**/do/pause", lambda route: route.fulfill(status=503, body=refusal))
        page.get_by_role("link", name="Pause").click()
        expect(page.locator("#dialog")).to_contain_text("Postgres does not answer.")
        page.keyboard.press("Escape")
        page.route("**/*tab=steps*", lambda route: route.abort())
        page.get_by_role("link", name="Steps").click()
        expect(page.locator("#dialog")).to_contain_text("The server does not answer.")
        expect(page.locator("#tab .timeline")).to_be_visible()


def test_output_is_text_with_colours_a_search_and_links_to_lines(page: Page) -> None:
    page.goto(PAGES["execution-failed"] + "#L5")
    fifth = page.locator("#L5")
    # The terminal's title and the cleared screen are shown, the colour is understood.
    expect(fifth).to_contain_text("<script>window.pwned = 1</script>␛]0;title␇␛[2Jerror:")
    expect(fifth).to_have_class("l target")
    assert fifth.locator(".a-1").inner_text() == "error:"
    assert HOSTILE_OUTPUT.count("\n") == 1
    # Of a line that was overwritten, what came last.
    assert page.locator("#L6 span").first.inner_text() == "Progress: 100 %"
    page.fill("[data-find]", "package-4")
    expect(page.locator("[data-found]")).to_have_text("11")
    page.keyboard.press("Enter")
    expect(page.locator(".hit.at")).to_contain_text("package-4 ")
    assert page.evaluate("window.pwned") is None


def test_without_script_the_pages_and_the_questions_work(browser: Browser, console: str) -> None:
    with looking(browser, base_url=console, java_script_enabled=False) as (page, _):
        page.goto(PAGES["execution"])
        page.get_by_role("link", name="Steps").click()
        page.get_by_role("link", name="disk", exact=True).click()
        expect(page.locator("#panel h2")).to_have_text("disk")
        page.get_by_role("link", name="Cancel").click()
        expect(page.locator("form input[name=reason]")).to_be_visible()
        page.goto("/executions")
        page.fill("[data-search]", "deploy")
        page.keyboard.press("Enter")
        expect(page.locator("tr[data-execution]").first).to_contain_text("deploy api")


class Growing(Believable):
    """The newest execution is not in the list yet when it is opened."""

    def page(self, filters: ListFilters, after: str | None) -> ExecutionPage:
        return super().page(filters, after or "1")


def test_what_happens_is_shown_and_nothing_moves_under_the_pointer(browser: Browser) -> None:
    app = application(Growing(20))
    newest, waiting = execution_id(0), execution_id(1)
    with served(app) as url, looking(browser, base_url=url) as (page, said):
        page.goto("/executions")
        page.mouse.move(2, 2)
        row = page.locator(f'tr[data-execution="{newest}"]')
        other = page.locator(f'tr[data-execution="{waiting}"]')
        expect(other).to_contain_text("Needs approval")
        expect(row).to_have_count(0)
        # Under the pointer a change of a row is shown, and a new one waits for a click.
        other.hover()
        app.state.happened.put({"type": "execution.started", "execution_id": waiting})
        expect(other).to_contain_text("Running")
        app.state.happened.put({"type": "execution.accepted", "execution_id": newest})
        button = page.get_by_role("button", name="1 new")
        button.click()
        expect(row).to_contain_text("patch web tier")
        expect(button).to_be_hidden()
        # Elsewhere it comes by itself.
        row.evaluate("row => row.remove()")
        page.mouse.move(2, 2)
        app.state.happened.put({"type": "execution.accepted", "execution_id": newest})
        expect(row).to_contain_text("patch web tier")
        assert page.locator("tr[data-execution]").first.get_attribute("data-execution") == newest
        assert said.lines == []


def test_a_lost_connection_is_said_and_goes_on_by_itself(browser: Browser, console: str) -> None:
    with looking(browser, base_url=console) as (page, _):
        page.route("**/v1/live?*", lambda route: route.abort())
        page.goto("/executions")
        banner = page.locator("#connection")
        expect(banner).to_be_visible(timeout=30_000)
        expect(banner).to_contain_text("The live connection is lost")
        expect(page.locator("body")).to_have_class("stale")
        page.unroute("**/v1/live?*")
        expect(banner).to_be_hidden(timeout=30_000)
        expect(page.locator("body")).not_to_have_class("stale")
