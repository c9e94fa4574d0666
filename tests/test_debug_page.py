"""The debugger's page in a real browser, on an embedded model."""

from __future__ import annotations

import json
import re
import signal
import socket
import sqlite3
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from modular_pluralism.cli.app import app
from modular_pluralism.errors import ModelLoadError
from modular_pluralism.prompts import PromptSet
from tests.browser import chromium
from tests.command import pluralism
from tests.debug_server import PATIENCE, POOL, Debugging, debugging
from tests.listening import hung_up_on
from tests.random_model import RANDOM_GGUF
from tests.test_thinking import POOL as THINKING_POOL
from tests.thinking_model import write_thinking_model
from tests.vendored import chat_template

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

HOSTILE = (
    "<script>window.harm=1</script><img src=x onerror='window.harm=1'>{{ 1+1 }} `${window.harm=1}` **bold** </textarea>"
)
NAMELESS = """() => [...document.querySelectorAll('button, input, textarea, [role=textbox], [role=radio]')]
    .filter(each => !(each.getAttribute('aria-label') || each.textContent.trim() || each.labels?.length))
    .map(each => each.outerHTML)"""
"""Everything to press or to fill in that has no name for those who hear the page."""
QUESTION = "Should a city ban cars?"


@dataclass
class Seen:
    """A page in the browser, with what it has complained of and asked for."""

    page: Page
    url: str
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, view: str, run: str = "") -> None:
        self.page.goto(f"{self.url}?view={view}&run={run}")
        self.page.wait_for_selector("#main > *")

    def go(self, view: str) -> None:
        self.page.get_by_role("button", name=view, exact=True).click()

    @property
    def run(self) -> str:
        """The run that the page says it shows."""
        return self.page.locator(".current .name").inner_text()

    def finished(self) -> str:
        self.page.wait_for_selector("text=The run is finished.")
        return self.run


class Home:
    """Where the tests' pool, store and prompts lie."""

    def __init__(self, folder: Path) -> None:
        self.pool, self.store, self.prompts = folder / "pool.toml", folder / "runs.sqlite", folder / "mine"
        self.pool.write_text(POOL)
        self.slow = folder / "slow.toml"
        self.slow.write_text(POOL.replace("comment_tokens = 12", "comment_tokens = 700"))

    def asked(self, run: str) -> list[str]:
        """The nodes of a run that have asked a model."""
        query = "SELECT record FROM pluralism_records WHERE run = ? AND kind = 'call' ORDER BY number"
        return [json.loads(row[0])["node"] for row in self.rows(query, run)]

    def state(self, run: str) -> str:
        return str(self.rows("SELECT state FROM pluralism_runs WHERE id = ?", run)[0][0])

    def rows(self, query: str, *values: object) -> list[Any]:
        with closing(sqlite3.connect(self.store, timeout=30)) as store:
            return store.execute(query, values).fetchall()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("debug"))


@pytest.fixture(scope="module")
def server(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Debugging]:
    elsewhere = tmp_path_factory.mktemp("cwd")
    with debugging(home.pool, home.store, cwd=elsewhere) as running:
        yield running
        code, said = running.stop(signal.SIGINT)
    assert code == 130
    assert said.endswith("Stopped.\n")
    assert "Traceback" not in said
    assert list(elsewhere.iterdir()) == [], "nothing is left in the folder where it was started"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def tab(browser: Browser, server: Debugging, width: int = 1280, scheme: str = "light") -> Seen:
    context = browser.new_context(
        viewport={"width": width, "height": 844},
        color_scheme=scheme,  # type: ignore[arg-type]
        accept_downloads=True,
    )
    context.set_default_timeout(PATIENCE)
    seen = Seen(context.new_page(), server.url)
    seen.page.on("console", lambda message: seen.problems.append(message.text))
    seen.page.on("pageerror", lambda error: seen.problems.append(str(error)))
    seen.page.on("request", lambda request: seen.requests.append(request.url))
    return seen


@pytest.fixture
def seen(browser: Browser, server: Debugging) -> Iterator[Seen]:
    opened = tab(browser, server)
    yield opened
    assert opened.problems == []
    foreign = [url for url in opened.requests if not url.startswith((server.url, "data:", "blob:"))]
    assert foreign == [], "the page asks nobody but its own server"
    opened.page.context.close()


@pytest.fixture(scope="module")
def run(browser: Browser, server: Debugging) -> str:
    """A finished Overton run, started on the page."""
    opened = tab(browser, server)
    opened.open("run")
    opened.page.get_by_label("Question", exact=True).fill(QUESTION)
    opened.page.get_by_role("button", name="Start").click()
    name = opened.finished()
    assert opened.problems == []
    opened.page.context.close()
    return name


def test_a_run_and_what_lies_behind_a_box(seen: Seen, run: str, home: Home) -> None:
    seen.open("run", run)
    seen.finished()
    page = seen.page
    assert page.locator("h1").inner_text() == QUESTION
    states = page.eval_on_selector_all(".box", "all => all.map(each => each.dataset.state)")
    assert states == ["finished"] * 5
    assert all(page.eval_on_selector_all(".voice .said", "all => all.map(each => each.textContent)"))
    assert sorted(home.asked(run)) == ["merge", "north", "south", "west"]

    box = page.locator("[data-node=north]")
    assert re.search(r"^north: done, \d+ tok", box.get_attribute("aria-label") or "")
    box.click()
    prompt = page.get_by_label("Prompt as the model reads it")
    prompt.wait_for()
    assert prompt.inner_text().startswith("<|im_start|>system\nYou speak for readers of left-leaning news media.")
    assert QUESTION in prompt.inner_text()
    page.get_by_role("radio", name="Output").click()
    assert page.get_by_label("Output as the model wrote it").inner_text()
    page.get_by_role("radio", name="Settings").click()
    page.wait_for_selector("dt:text('seed')")
    assert RANDOM_GGUF.stem in page.locator(".sheet dl").inner_text()
    page.keyboard.press("Escape")
    page.wait_for_selector(".sheet", state="detached")
    assert page.evaluate("document.activeElement.dataset.node") == "north"


def test_a_script_in_a_comment_is_text_and_its_fork_asks_once(seen: Seen, run: str, home: Home) -> None:
    seen.open("time", run)
    page = seen.page
    page.get_by_role("radio", name="Change and run on").click()
    page.get_by_role("button", name="Run the fork").click()
    page.wait_for_selector("text=Nothing is changed yet")
    page.get_by_label("Comment of north").fill(HOSTILE)
    page.wait_for_timeout(300)
    page.get_by_role("button", name="Run the fork").click()
    page.wait_for_selector("[data-node=north][data-state=edited]")
    fork = seen.finished()
    assert home.asked(fork) == ["merge"]
    assert page.locator("[data-node=south]").get_attribute("data-state") == "reused"
    assert page.locator(".voice .said").first.inner_text() == HOSTILE

    seen.go("Look")
    page.wait_for_selector("text=Where the answer comes from")
    page.wait_for_selector(".sentence")
    seen.go("Time travel")
    page.wait_for_selector(f"text={run}")
    assert HOSTILE in page.locator("#main").inner_text()
    page.get_by_role("button", name="Compare with it").click()
    page.wait_for_selector("text=edited comment of north")
    assert "window.harm" in "".join(page.locator("ins").all_inner_texts())
    assert page.locator("del").count() > 0
    page.wait_for_selector("text=2 comments are the same in both")
    seen.go("Export")
    with page.expect_download() as exported:
        page.get_by_role("button", name="Download the page").click()
    assert page.evaluate("window.harm") is None
    assert page.locator("#main script, #main img").count() == 0

    page.goto(exported.value.path().rename(home.store.with_name("run.html")).as_uri())
    assert "window.harm=1" in page.locator("body").inner_text()
    assert page.evaluate("window.harm") is None
    seen.requests.clear()


def test_exports(seen: Seen, run: str) -> None:
    seen.open("export", run)
    with seen.page.expect_download() as exported:
        seen.page.get_by_role("button", name="Download JSON").click()
    assert exported.value.suggested_filename == f"{run}.json"
    told = json.loads(exported.value.path().read_text())
    assert told["setup"]["asked"]["question"] == QUESTION
    assert len(told["calls"]) == 4
    assert "build_overton" in seen.page.get_by_label("Python snippet").inner_text()


def test_the_prompt_editor_checks_saves_and_runs_again(seen: Seen, run: str, home: Home) -> None:
    seen.open("prompts", run)
    page = seen.page
    page.get_by_role("button", name="merge", exact=True).click()
    editor = page.locator(".cm-content")
    editor.wait_for()
    page.wait_for_selector(".cm-content:has-text('{comments}')")
    save, again = page.get_by_role("button", name="Save as a new version"), page.get_by_role("button", name="Run again")
    assert save.is_disabled()

    _write(page, "Question: {question} {coments}")
    page.wait_for_selector("text={comments} is missing: put it where its text belongs.")
    page.wait_for_selector("text={coments} is not known here")
    assert save.is_disabled()
    assert again.is_disabled()

    _write(page, "In one sentence: {question} {comments}")
    page.wait_for_selector("text=This text can be used.")
    page.get_by_label("Save into a folder of yours").fill(str(home.prompts))
    page.wait_for_timeout(300)
    save.click()
    page.wait_for_selector("text=Saved as")
    saved = PromptSet.load(home.prompts)["merge"]
    assert saved.text.strip() == "In one sentence: {question} {comments}"
    assert saved.version == PromptSet.load()["merge"].version + 1
    page.get_by_label("Save into a folder of yours").fill(str(Path(PromptSet.load()["merge"].path).parent))
    page.wait_for_timeout(300)
    save.click()
    page.wait_for_selector("text=The built-in prompts stay as they are")

    again.click()
    page.wait_for_selector("[data-node=north][data-state=reused]")
    assert home.asked(seen.finished()) == ["merge"]


def _write(page: Page, text: str) -> None:
    """Replace what stands in the editor, by typing."""
    page.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)


def test_a_distribution_by_keyboard_alone(seen: Seen, home: Home) -> None:
    seen.open("run")
    page = seen.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.get_by_label("Question", exact=True).focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("Is it good to lie?")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Overton"
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.textContent") == "Assembly"
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.textContent") == "Distributional"
    page.get_by_label("Options, one a line").wait_for()
    for _ in ("Assembly", "Attribute", "Options"):
        page.keyboard.press("Tab")
    page.keyboard.type("Yes\nNo")
    page.get_by_role("button", name="Start").focus()
    page.keyboard.press("Enter")
    run = seen.finished()
    page.locator("[data-node=west]").focus()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "the focus is seen"
    page.keyboard.press("Enter")
    page.wait_for_selector(".sheet")
    page.keyboard.press("Escape")
    page.wait_for_selector(".sheet", state="detached")
    page.get_by_role("button", name="Look", exact=True).focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("text=How likely each option is")
    bars = page.locator("[aria-label=Distributions] .meter:not(.thin)").all_inner_texts()
    assert len(bars) == 8
    assert all(re.fullmatch(r"\d+\.\d\s%", bar.strip()) for bar in bars)
    assert home.state(run) == "finished"


def test_a_record_is_shown_with_what_it_rests_on_and_no_model_is_offered(seen: Seen, home: Home) -> None:
    folder = home.pool.parent
    (folder / "town.csv").write_text("question,options,distribution\nShould a city ban cars?,Yes|No,0.75|0.25\n")
    pool = folder / "record.toml"
    pool.write_text(re.sub(r"(\[communities\.\w+\]\n)", r'\1answers = "town.csv"\n', home.pool.read_text()))
    options = ["--option", "Yes", "--option", "No", "--mode", "distributional", "--voice", "record"]
    asked = pluralism("ask", QUESTION, *options, "--pool", str(pool), "--thread", "rec", "--store", str(home.store))
    assert asked.returncode == 0, asked.stderr
    seen.open("look", "rec")
    seen.page.wait_for_selector("text=the question itself")
    shown = seen.page.inner_text("#main")
    assert "record: what each community's people have answered" in shown
    assert "rotate" not in shown
    assert not seen.page.get_by_role("button", name="as well").count()


def test_what_a_community_was_told_is_folded_beneath_its_comment(seen: Seen, home: Home) -> None:
    folder = home.pool.parent
    rows = [f"{QUESTION},Yes|No,0.75|0.25", f'"Should a city ban cars {HOSTILE.replace(chr(34), "")}?",Yes|No,0.3|0.7']
    (folder / "north.csv").write_text("\n".join(["question,options,distribution", *rows, ""]))
    pool = folder / "told.toml"
    pool.write_text(
        home.pool.read_text().replace("[communities.north]\n", '[communities.north]\nanswers = "north.csv"\n')
    )
    asked = pluralism("ask", QUESTION, "--pool", str(pool), "--thread", "told", "--store", str(home.store))
    assert asked.returncode == 0, asked.stderr
    seen.open("run", "told")
    card = seen.page.get_by_role("region", name="north", exact=True)
    card.get_by_text("Told 2 of its people's answers").wait_for()
    assert not card.get_by_text("75 %").is_visible(), "it is folded"
    card.get_by_text("What its people answered").click()
    shown = card.inner_text()
    assert "[1]" in shown
    assert "the question itself" in shown
    assert "Yes 75 % · No 25 %" in shown.replace("\u202f", " ")
    assert "<script>" in shown
    assert seen.page.evaluate("window.harm") is None
    assert not seen.page.get_by_role("region", name="south", exact=True).get_by_text("people's answers").count()
    seen.go("Time travel")
    seen.page.get_by_text("Told 2 of its people's answers").first.wait_for(state="attached")


def test_tabs_do_not_disturb_each_other_and_a_closed_one_loses_no_run(
    seen: Seen, browser: Browser, server: Debugging, run: str, home: Home
) -> None:
    seen.open("look", run)
    seen.page.wait_for_selector(".sentence")
    other = tab(browser, server)
    other.open("run")
    other.page.get_by_label("Question", exact=True).fill("What is a good school?")
    other.page.get_by_role("button", name="Start").click()
    other.page.wait_for_selector(".voice")
    started = other.run
    other.page.context.close()
    assert seen.run == run
    assert seen.page.locator("h1").inner_text() == QUESTION
    seen.open("run", started)
    assert seen.finished() == started
    assert home.state(started) == "finished"


def test_a_run_is_stopped_and_kept(seen: Seen, home: Home) -> None:
    seen.open("run")
    page = seen.page
    slowed = page.context.new_cdp_session(page)
    slowed.send("Emulation.setCPUThrottlingRate", {"rate": 15})  # nothing may open late, over what is clicked next
    page.get_by_label("Pool", exact=True).fill(str(home.slow))
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Overton with the pool slow")
    slowed.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    page.get_by_role("button", name="Start").click()
    page.locator("button:has-text('Stop'):not([disabled])").click()
    page.wait_for_selector("text=The run was stopped before its answer.")
    assert home.state(seen.run) == "stopped"


@pytest.mark.faults
def test_an_interrupt_ends_it_while_a_run_is_on(browser: Browser, home: Home, tmp_path: Path) -> None:
    store = tmp_path / "runs.sqlite"
    with debugging(home.slow, store) as server:
        seen = tab(browser, server)
        seen.open("run")
        seen.page.get_by_role("button", name="Start").click()
        seen.page.wait_for_selector("[data-node=north][data-state=started], [data-node=north][data-state=speaking]")
        assert server.stop(signal.SIGINT) == (130, "Stopped.\n")
        seen.page.context.close()
    with closing(sqlite3.connect(store)) as kept:
        assert kept.execute("SELECT state FROM pluralism_runs").fetchall() == [("stopped",)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_pages(browser: Browser, server: Debugging, run: str, scheme: str) -> None:
    seen = tab(browser, server, 390, scheme)
    shades = []
    for view, there in {
        "run": "text=The run is finished",
        "look": ".sentence",
        "time": ".step",
        "prompts": ".cm-content",
        "export": "text=Download JSON",
    }.items():
        seen.open(view, run)
        seen.page.wait_for_selector(there)
        assert seen.page.evaluate("document.documentElement.scrollWidth") == 390, view
        bar = seen.page.locator("nav[aria-label=Views]").bounding_box()
        assert bar is not None
        assert bar["y"] > 700
        assert seen.page.evaluate(NAMELESS) == [], view
        shades.append(seen.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(set(shades)) == 1
    assert (int(re.findall(r"\d+", shades[0])[0]) > 128) == (scheme == "light")
    seen.page.get_by_role("button", name=re.compile("^Colours")).click()  # to light
    seen.page.wait_for_selector("body.body--light")
    seen.page.reload()
    seen.page.wait_for_selector("body.body--light")
    assert seen.problems == []
    seen.page.context.close()


def test_of_a_thousand_runs_forty_are_listed_at_once(seen: Seen, run: str, home: Home) -> None:
    with closing(sqlite3.connect(home.store, timeout=30)) as store, store:
        columns = "mode, question, communities, state, error, setup"
        store.executemany(
            f"INSERT INTO pluralism_runs (id, created, {columns}) "
            f"SELECT ?, ?, {columns} FROM pluralism_runs WHERE id = ?",
            [(f"old-{number}", 1000.0 + number, run) for number in range(1000)],
        )
    try:
        seen.open("time")
        seen.page.wait_for_selector("[role=listitem]")
        assert seen.page.locator("[role=listitem]").count() == 40
        assert re.search(r"1–40 of 1\s0\d\d", seen.page.locator(".pager").inner_text())
        seen.page.get_by_role("button", name="Older runs").click()
        seen.page.wait_for_selector("text=/41–80 of/")
        seen.page.get_by_label("Find a run").fill("old-777")
        seen.page.wait_for_selector("text=1–1 of 1")
    finally:
        with closing(sqlite3.connect(home.store, timeout=30)) as store, store:
            store.execute("DELETE FROM pluralism_runs WHERE id LIKE 'old-%'")


def test_foreign_names_are_refused(server: Debugging) -> None:
    request = urllib.request.Request(server.url, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=60)


def test_a_foreign_connection_is_hung_up_on(server: Debugging) -> None:
    assert b" 403 " in hung_up_on(server.url)


def test_a_used_port_and_an_open_address_are_clear_sentences(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = pluralism("debug", "--pool", str(home.pool), "--port", port, "--no-open")
    assert done.returncode == 2
    assert done.stderr == (
        f"Error: 127.0.0.1 port {port} cannot be listened at (Address already in use); choose another with --host or "
        "--port; --port 0 takes a free one.\n"
    )
    done = pluralism("debug", "--pool", str(home.pool), "--host", "0.0.0.0", "--no-open")
    assert done.returncode == 2
    assert "--let-others-in" in done.stderr


def test_without_the_extra_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nicegui", None)
    done = CliRunner().invoke(app, ["debug", "--no-open"])
    assert isinstance(done.exception, ModelLoadError)
    assert "pip install 'modular-pluralism[debug]'" in str(done.exception)


def test_reasoning_is_folded_beneath_its_comment(browser: Browser, tmp_path: Path) -> None:
    write_thinking_model(tmp_path)
    (tmp_path / "chat.jinja").write_text(chat_template("Qwen-Qwen3-0.6B"))
    (tmp_path / "pool.toml").write_text(THINKING_POOL.format(more='thinking = "on"', tokens=12))
    with debugging(tmp_path / "pool.toml", tmp_path / "runs.sqlite") as running:
        opened = tab(browser, running)
        page = opened.page
        opened.open("run")
        page.get_by_label("Question", exact=True).fill(QUESTION)
        page.get_by_role("button", name="Start").click()
        opened.finished()
        card = page.get_by_role("region", name="europe", exact=True)
        assert card.get_by_label("What europe says").inner_text() == "Yes, indeed"
        thought = card.get_by_label("Reasoning", exact=True)
        assert not thought.is_visible()
        card.get_by_text("Reasoning", exact=True).click()
        assert thought.inner_text() == "because of rain"

        page.locator("[data-node=merge]").click()
        page.get_by_role("radio", name="Output").click()
        page.locator(".sheet summary").click()
        assert page.locator(".sheet").get_by_label("Reasoning", exact=True).inner_text() == "because of rain"
        page.keyboard.press("Escape")
        opened.go("Time travel")
        page.locator("#main details summary", has_text="Reasoning").first.click()
        assert page.locator("#main").get_by_label("Reasoning", exact=True).first.inner_text() == "because of rain"
        assert opened.problems == []
        page.context.close()
