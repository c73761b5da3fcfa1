"""The page of `--mode check` in headless Chromium: no errors, no network, filters, search and sorting."""

import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import yaml

from output.clip_page import ClipPage, ClipRow, Finding, Heading
from run import main
from tests.conftest import SIZE, tiny_experiment
from tests.test_check import resize_one

playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
HOSTILE = "z<script>alert(1)</script><img src=x onerror='alert(2)'>"


@pytest.fixture
def open_page(browser):
    """Function that opens a file; at the end, no page may have had an error, a dialog or a request."""
    contexts, problems = [], []

    def open_page(path: Path, width: int = 1280, **settings):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, **settings))
        page = contexts[-1].new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: (problems.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: problems.append(request.url) if request.url[:5] not in allowed else None)
        page.goto(path.resolve().as_uri())
        playwright.expect(page.locator("#count")).to_contain_text(" clips")
        return page

    allowed = ("file:", "data:")
    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture(scope="module")
def checked(_clips_once, tmp_path_factory) -> Path:
    """The page of a data set with a clip that has a warning, one that is rejected and a hostile name."""
    folder = tmp_path_factory.mktemp("checked")
    root = Path(shutil.copytree(_clips_once, folder / "data"))
    resize_one(root)
    (root / "landmarks" / "006.npy").unlink()
    hostile = HOSTILE.replace("/", "")
    landmarks = np.load(root / "landmarks" / "a.npy")
    landmarks[3, 48:60] += [0, 3]
    np.save(root / "landmarks" / "a.npy", landmarks)
    shutil.copytree(root / "train" / "a", root / "train" / hostile)
    shutil.copyfile(root / "landmarks" / "a.npy", root / "landmarks" / f"{hostile}.npy")
    shutil.copyfile(root / "au" / "a.csv", root / "au" / f"{hostile}.csv")
    experiment = folder / "tiny.yaml"
    text = yaml.safe_dump(
        tiny_experiment(root, model_params__au_conditioning="concat", dataset_params__landmarks="file")
    )
    experiment.write_text(text, encoding="utf-8")
    assert main(["--config", str(experiment), "--mode", "check", "--log-dir", str(folder / "log")]) == 2
    (path,) = (folder / "log").rglob("check.html")
    return path


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    """A page of 3,000 clips, every tenth with a warning; their names count down."""
    path = tmp_path_factory.mktemp("many") / "page.html"
    with ClipPage(path) as page:
        for i in range(3000):
            warnings = (Finding(f"frames are missing between {i} and {i + 2}"),) if i % 10 == 0 else ()
            frames = None if i % 1000 == 1 else i % 7
            page.add(ClipRow(f"sub{3000 - i}", "train", findings=warnings, frames=frames))
        page.write(Heading("many"))
    return path


def shown(page) -> list[str]:
    """Names of the clips that are visible, in their order."""
    script = "rows => rows.filter(r => r.checkVisibility()).map(r => r.querySelector('h3').textContent)"
    return page.eval_on_selector_all("#list > li", script)


def listed(page) -> list[str]:
    """Names of the clips that are not hidden, in their order; faster than `shown`, which computes the layout."""
    script = "rows => rows.filter(r => !r.hidden).map(r => r.querySelector('h3').textContent)"
    return page.eval_on_selector_all("#list > li", script)


def choose(page, start: str) -> None:
    """Select the option of the filter that begins with a text."""
    labels = page.eval_on_selector_all("#kind option", "options => options.map(option => option.textContent)")
    (label,) = [label for label in labels if label.startswith(start)]
    page.select_option("#kind", label=label)


def test_the_page_of_check_opens_with_its_pictures(checked, open_page):
    page = open_page(checked)
    assert [name[:5] for name in shown(page)] == ["a", "b", HOSTILE[:5], "006", "022_3"]
    assert page.inner_text("#count") == "5 of 5 clips"
    page.eval_on_selector_all("img", "images => Promise.all(images.map(image => image.decode()))")
    sizes = page.eval_on_selector_all("img", "images => images.map(image => image.naturalWidth)")
    assert sizes == [SIZE] * (3 * 4 + 2 + 1), "three clips have an apex, in one only the head moves, one is rejected"
    assert page.locator("polyline").count() == 4
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the clips"


def test_filtering_by_a_warning_hides_the_other_rows(checked, open_page):
    page = open_page(checked)
    choose(page, "frames of several sizes")
    assert shown(page) == ["b"]
    assert page.inner_text("#count") == "1 of 5 clips"
    choose(page, "rejected (1)")
    assert shown(page) == ["006"]
    choose(page, "with warnings (2)")
    assert shown(page) == ["b", "006"]
    choose(page, "without warnings (3)")
    assert [name[:1] for name in shown(page)] == ["a", "z", "0"]
    page.fill("#search", "no such text")
    playwright.expect(page.locator("#count")).to_have_text("0 of 5 clips")
    assert page.is_visible("#nothing")


def test_search_finds_all_words_in_names_labels_and_warnings(many, open_page):
    page = open_page(many)
    visible = page.locator("#list > li:not([hidden]) h3")
    for text, names in (("SUB2999", ["sub2999"]), ("  missing  SUB 2990 ", ["sub2990", "sub10"])):
        page.fill("#search", text)
        playwright.expect(visible).to_have_text(names)
    page.fill("#search", "")
    playwright.expect(page.locator("#count")).to_have_text("3000 of 3000 clips")


def test_sorting_by_name_and_by_number_and_back(many, open_page):
    page = open_page(many)
    order = listed(page)
    page.select_option("#sort", "name")
    assert listed(page)[:12] == [f"sub{i}" for i in range(1, 13)]
    page.check("#reverse")
    assert listed(page)[:2] == ["sub3000", "sub2999"]
    page.select_option("#sort", "frames")
    assert listed(page)[0] == "sub4"
    unknown = ["sub2999", "sub1999", "sub999"]
    assert sorted(listed(page)[-3:]) == sorted(unknown)
    page.uncheck("#reverse")
    assert listed(page)[0] == "sub2994"
    assert listed(page)[-3:] == unknown
    page.select_option("#sort", "findings")
    assert listed(page)[:2] == ["sub3000", "sub2990"]
    page.select_option("#sort", "order")
    assert listed(page) == order


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (1024, "dark"), (360, "dark")])
def test_no_width_scrolls_sideways_and_text_has_contrast(checked, open_page, width, scheme):
    page = open_page(checked, width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("h3").nth(2).inner_text() == HOSTILE.replace("/", "")
    for text in ("h1", ".note", "dt", "dd", ".tag.warn", ".tag.bad", ".findings li", "figcaption", ".key.c1"):
        assert page.locator(text).first.evaluate(CONTRAST) >= 4.5, text


CONTRAST = """element => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (colour) => parse(colour).slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  let behind = element;
  const back = () => getComputedStyle(behind).backgroundColor;
  while (behind.parentElement && parse(back())[3] === 0) behind = behind.parentElement;
  const [a, b] = [light(getComputedStyle(element).color), light(back())].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}"""


@pytest.fixture
def server():
    """Address of a server, and the list of requests that reach it."""
    reached = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reached.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", reached
        server.shutdown()
        thread.join()


def test_the_policy_stops_scripts_and_requests_that_got_in(checked, browser, server):
    """Even a script that escaping had missed would neither run nor reach the network."""
    address, reached = server
    page = browser.new_page()
    page.goto(checked.resolve().as_uri())
    page.evaluate(
        """address => {
          const script = document.createElement("script");
          script.textContent = "window.ran = true";
          document.body.append(script);
          const image = `<img src="${address}/image" onerror="window.ran = true">`;
          document.body.insertAdjacentHTML("beforeend", image);
          const failed = new Promise((resolve) => document.body.lastElementChild.addEventListener("error", resolve));
          return Promise.all([failed, fetch(`${address}/fetch`, { mode: "no-cors" }).catch(() => null)]);
        }""",
        address,
    )
    assert page.evaluate("window.ran") is None
    assert reached == []
    page.goto(f"{address}/visited")
    assert "/visited" in reached, "the server would have noticed"
    page.close()
