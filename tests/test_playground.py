"""The page that a newcomer opens first, in a real browser that may reach nothing but the server."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from graphql import build_schema, parse, validate
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from recallql.http import playground
from tests.browsers import WAIT_SECONDS, chromium, unless_required
from tests.documents import ADD_MESSAGES, CREATE_USER, ISSUE_USER_TOKEN
from tests.servers import REPOSITORY, Server, Start, wait_until

pytestmark = pytest.mark.once

TABS = ["conversations.graphql", "remember.graphql", "live.graphql"]
KEY = "a-key-of-this-test-only"


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    if not (playground.BUILT / "index.html").is_file():
        unless_required("The playground is not built: `make playground`.")
    with chromium(tmp_path / "chromium") as opened:
        yield opened


class Page:
    """The playground as somebody sees it who looks and clicks."""

    def __init__(self, browser: webdriver.Chrome, url: str) -> None:
        self.browser = browser
        self.wait = WebDriverWait(browser, WAIT_SECONDS)
        browser.get(url)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        self.wait.until(lambda _: self.tabs() and self.browser.find_elements(By.CSS_SELECTOR, ".view-line"))

    def text(self, selector: str) -> str:
        """The text that is shown there, long lines unbroken."""
        elements = self.browser.find_elements(By.CSS_SELECTOR, selector)
        return " ".join(word for element in elements for word in element.text.split())

    def open_tab(self, name: str) -> None:
        next(tab for tab in self.tabs() if tab.text == name).click()
        self.wait.until(lambda _: name in self.text(".graphiql-query-editor"))

    def run(self, expected: str) -> str:
        """Press the play button and wait for what the answer must show."""
        self.browser.find_element(By.CSS_SELECTOR, ".graphiql-execute-button").click()
        self.wait.until(lambda _: expected in self.text(".result-window"))
        return self.text(".result-window")

    def write_headers(self, headers: dict[str, str]) -> None:
        """Type into the editor of headers, which closes brackets and quotes by itself."""
        tools = self.browser.find_elements(By.CSS_SELECTOR, ".graphiql-editor-tools button")
        next(button for button in tools if button.text == "Headers").click()
        editor = self.browser.find_element(By.CSS_SELECTOR, ".graphiql-editor-tool .graphiql-editor:not(.hidden)")
        editor.click()
        ActionChains(self.browser).send_keys(json.dumps(headers)).perform()
        # Of a long line the end is shown.
        self.wait.until(lambda _: json.dumps(headers)[-20:] in editor.text.replace("\u00a0", " "))

    def tabs(self) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, ".graphiql-tab-button")

    def tab_names(self) -> list[str]:
        return [tab.text for tab in self.tabs()]

    def addresses(self) -> list[str]:
        return self.browser.execute_script(
            "return performance.getEntries().map(entry => entry.name).filter(name => /^[a-z]+:/.test(name))"
        )


@pytest.mark.browser
def test_a_newcomer_stores_a_first_conversation_and_reads_it_back(server: Server, browser: webdriver.Chrome) -> None:
    page = Page(browser, server.url)
    assert browser.title == "RecallQL playground"
    assert page.tab_names() == ["Conversations", "Remember", "Live"]
    assert '"edges": []' in page.run('"users"')
    page.open_tab("Remember")
    page.run('"first-conversation"')
    page.open_tab("Conversations")
    assert '"errors"' not in page.run("I prefer tea to coffee")
    assert server.graphql('{ session(sessionId: "first-conversation") { user { userId } } }') == {
        "session": {"user": {"userId": "ada"}}
    }


@pytest.mark.browser
def test_the_page_asks_nothing_of_another_origin_and_breaks_no_policy(
    server: Server, browser: webdriver.Chrome
) -> None:
    page = Page(browser, server.url)
    page.run('"users"')
    for panel in browser.find_elements(By.CSS_SELECTOR, ".graphiql-sidebar button")[:3]:
        panel.click()
    page.wait.until(lambda _: "Explorer" in page.text(".graphiql-plugin"))
    addresses = page.addresses()
    assert any("/playground/graphql-" in address for address in addresses), "the language worker did not start"
    assert [address for address in addresses if not address.startswith(f"{server.base}/")] == []
    assert browser.get_log("browser") == []


@pytest.mark.browser
def test_a_tab_of_the_users_own_is_there_after_reloading(server: Server, browser: webdriver.Chrome) -> None:
    page = Page(browser, server.url)
    browser.find_element(By.CSS_SELECTOR, ".graphiql-tab-add").click()
    # It is written down a moment later.
    stored = "return JSON.parse(localStorage.getItem('graphiql:tabState')).tabs.length"
    page.wait.until(lambda _: browser.execute_script(stored) == 4)
    browser.refresh()
    page.wait_until_ready()
    assert page.tab_names() == ["Conversations", "Remember", "Live", "<untitled>"]


@pytest.mark.browser
def test_the_third_tab_shows_a_message_when_it_is_added(start: Start, browser: webdriver.Chrome) -> None:
    server = start(api_key=KEY)
    server.client.headers["authorization"] = f"Bearer {KEY}"

    def add(content: str) -> None:
        server.accepted(ADD_MESSAGES, sessionId="first-conversation", messages=[{"role": "USER", "content": content}])

    add("Anybody here?")
    page = Page(browser, server.url)
    page.open_tab("Live")
    page.write_headers({"Authorization": f"Bearer {KEY}"})
    page.run("Anybody here?")
    add("I am.")
    page.wait.until(lambda _: "I am." in page.text(".result-window"))
    browser.find_element(By.CSS_SELECTOR, ".graphiql-execute-button").click()
    endpoint = server.host.endpoint
    wait_until(lambda: endpoint and not endpoint.long_connections._places, "the subscription goes on")


@pytest.mark.browser
def test_the_headers_carry_the_token_of_a_user(start: Start, browser: webdriver.Chrome) -> None:
    server = start(api_key=KEY)
    server.client.headers["authorization"] = f"Bearer {KEY}"
    for user in ("ada", "bo"):
        server.accepted(CREATE_USER, userId=user)
    page = Page(browser, server.url)
    page.write_headers({"Authorization": f"Bearer {server.accepted(ISSUE_USER_TOKEN, userId='ada')['token']}"})
    assert '"bo"' not in page.run('"ada"')


@pytest.mark.browser
def test_the_documentation_leads_from_the_queries_to_a_field_and_its_arguments(
    server: Server, browser: webdriver.Chrome
) -> None:
    page = Page(browser, server.url)
    browser.find_element(By.CSS_SELECTOR, 'button[aria-label="Show Documentation Explorer"]').click()
    for name, expected in [("Query", "sessions"), ("sessions", "orderBy")]:
        page.wait.until(lambda _, name=name: name in page.text(".graphiql-plugin"))
        links = browser.find_elements(By.CSS_SELECTOR, ".graphiql-plugin a")
        next(link for link in links if link.text == name).click()
        page.wait.until(lambda _, expected=expected: expected in page.text(".graphiql-plugin"))


@pytest.mark.parametrize("tab", TABS)
def test_the_queries_of_the_first_tabs_fit_the_published_schema(tab: str) -> None:
    schema = build_schema((REPOSITORY / "schema.graphql").read_text(encoding="utf-8"))
    assert validate(schema, parse((REPOSITORY / "playground" / tab).read_text(encoding="utf-8"))) == []


def test_a_browser_gets_the_page_with_a_strict_policy_and_no_inline_script(server: Server) -> None:
    answer = server.client.get(server.url, headers={"accept": "text/html"})
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe-eval" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", answer.text))


def test_every_file_of_the_page_is_there_and_may_be_kept_for_good(server: Server) -> None:
    page = server.client.get(server.url, headers={"accept": "text/html"}).text
    files = re.findall(r'(?:src|href)="(playground/[^"]+)"', page)
    if not files:
        unless_required("The playground is not built: `make playground`.")
    for file in files:
        answer = server.client.get(f"{server.base}/{file}")
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    missing = server.client.get(f"{server.base}/playground/nothing.js")
    assert missing.status_code == 404
    assert "immutable" not in missing.headers.get("cache-control", "")


def test_a_page_that_was_not_built_says_how_to_build_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(playground, "BUILT", tmp_path)
    assert b"make playground" in playground.playground_page().body
