"""The demo in a browser: what people see and download is what the model predicts."""

import csv
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from chromium import in_a_browser, playwright
from repository import MINUTES
from test_loop import PACKAGE, free_port, own_render, running

pytestmark = [pytest.mark.slow, in_a_browser]

PATIENCE = MINUTES * 1000  # milliseconds
ROWS = 10_000
REFUSED = {7: ("bill_length_mm", "999"), 5000: ("species", "Emperor")}
PICTURES = os.environ.get("APP_PICTURES", "")  # a folder for the documentation's, where set

# The trained model in scikit-learn, without a server: on rows of a file, and on the usual case.
OFFLINE = f"""
import json
import mlflow
from {PACKAGE} import data, model, project
from modelloop import Contract
from modelloop.registry import store
from modelloop.table import prepare, validate
from modelloop.training import dataset, train
env = project.settings
store.connect(project)
valid = validate.validate(data.load(env.data_uri), data.SCHEMA)
known = prepare.prepare(valid, *dataset.rules(project))[model.FEATURES]
rows = known.sample({ROWS}, replace=True, random_state=1).reset_index(drop=True)
champion = mlflow.sklearn.load_model(f"models:/{{project.slug}}@champion")
predict = train.from_sklearn(champion, project.problem_type)
contract = Contract.read(env.model_dir)
case = known.iloc[[0]].copy()
for column in contract.features:
    if column.kind == "number":
        case[column.name] = case[column.name].astype("float32") * 0 + column.median
case["species"], case["island"], case["bill_length_mm"] = "Gentoo", "Biscoe", 50
case = case.astype(known.dtypes)
rows.rename_axis("id").replace("missing", "").to_csv("build/rows.csv")
answers = [predict(train.table_of(table)).tolist() for table in (rows, case)]
print(json.dumps([contract.classes, *answers]))
"""


@dataclass
class Demo:
    """A demo that runs, and what its model predicts without it."""

    url: str
    file: Path
    classes: list[str]
    of_file: list[list[float]]
    of_case: list[float]


@dataclass
class Seen:
    """What a page asked for and complained of."""

    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def watch(self, page: "playwright.Page") -> None:
        page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        for event in ("request", "websocket"):
            page.on(event, lambda asked: self.hosts.add(re.sub("^data:.*", "", asked.url)[:40]))

    def check(self) -> None:
        assert self.errors == []
        assert {
            h for h in self.hosts if h and not re.match(r"(http|ws)://127\.0\.0\.1:", h)
        } == set()


@pytest.fixture(scope="module")
def demo(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A repository with a trained model, its server and its demo."""
    repository = own_render(template, tmp_path_factory.mktemp("app"), {})
    done = repository.make("train", "promote", "model")
    assert done.returncode == 0, done.stdout + done.stderr
    classes, of_file, of_case = repository.ask(OFFLINE)
    file = spoil(repository.folder / "build" / "rows.csv")
    serve, port = free_port(), free_port()
    environment = repository.environment | {
        "SERVE_PORT": str(serve),
        "METRICS_PORT": str(free_port()),
        "MODEL_URL": f"http://127.0.0.1:{serve}",
        "APP_PORT": str(port),
    }
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        for verb, ready in (
            ("serve", f"http://127.0.0.1:{serve}/health/status"),
            ("app", f"{url}/_stcore/health"),
        ):
            start = running(ready, "make", verb, folder=repository.folder, environment=environment)
            stack.enter_context(start)
        yield Demo(url, file, classes, of_file, of_case[0])


def spoil(file: Path) -> Path:
    """Put values into a file that the model refuses."""
    with file.open(newline="") as source:
        rows = list(csv.DictReader(source))
    for row, (column, value) in REFUSED.items():
        rows[row][column] = value
    with file.open("w", newline="") as target:
        writer = csv.DictWriter(target, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return file


@pytest.fixture
def seen() -> Iterator[Seen]:
    """What the test's pages did; checked in its end."""
    found = Seen()
    yield found
    found.check()
    assert found.hosts


def opened(
    browser: "playwright.Browser", demo: Demo, seen: Seen, width: int, height: int
) -> "playwright.Page":
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(PATIENCE)
    seen.watch(page)
    page.goto(demo.url)
    playwright.expect(button(page, "Ask the model")).to_be_visible(timeout=PATIENCE)
    return page


def button(page: "playwright.Page", name: str) -> "playwright.Locator":
    return page.get_by_role("button", name=name, exact=True)


def picture(page: "playwright.Page", name: str) -> None:
    """Take a picture of a page that has come to rest."""
    if PICTURES:
        page.mouse.move(0, 0)
        playwright.expect(page.get_by_test_id("stStatusWidget")).to_be_hidden()
        page.wait_for_function("document.getAnimations().length === 0")
        page.screenshot(path=Path(PICTURES) / f"app-{name}.png")


def fill_in(page: "playwright.Page") -> None:
    """Fill in OFFLINE's case by the keyboard alone."""
    page.get_by_role("combobox", name="Species of the penguin").focus()
    page.keyboard.type("Gentoo")
    page.keyboard.press("Enter")
    page.get_by_role("spinbutton", name="Length of the bill (mm)").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("50")
    page.keyboard.press("Enter")


def test_the_form_answers_what_the_model_predicts(
    demo: Demo, browser: "playwright.Browser", seen: Seen
):
    page = opened(browser, demo, seen, 1280, 1250)

    fill_in(page)

    best = max(demo.of_case)
    expected = f"{demo.classes[demo.of_case.index(best)]}, {best:.0%}"
    metric = page.get_by_test_id("stMetricValue").first
    playwright.expect(metric).to_have_text(expected, timeout=PATIENCE)
    playwright.expect(page.get_by_text("50 mm: above about")).to_be_visible()
    picture(page, "case")


def test_a_file_is_scored_as_the_model_predicts_while_a_bar_shows_how_far_it_is(
    demo: Demo, browser: "playwright.Browser", seen: Seen, tmp_path: Path
):
    page = opened(browser, demo, seen, 1280, 1250)
    page.get_by_role("tab", name="A file").click()
    page.locator('input[type="file"]').set_input_files(demo.file)
    page.evaluate(
        """window.told = []; new MutationObserver(() => {
            const bar = document.querySelector('[data-testid="stProgress"]');
            if (bar && bar.innerText !== window.told.at(-1)) window.told.push(bar.innerText);
        }).observe(document.body, {childList: true, subtree: true, characterData: true})"""
    )

    button(page, "Score 10,000 rows").click()
    answers = page.get_by_role("heading", name="The answers")
    playwright.expect(answers).to_be_visible(timeout=PATIENCE)
    playwright.expect(page.get_by_test_id("stVegaLiteChart").last).to_be_visible()
    picture(page, "file")
    with page.expect_download() as download:
        button(page, "Download CSV").click()
    download.value.save_as(tmp_path / "scored.csv")

    told = [re.match(r"([\d,]+) of 10,000 rows, [\d,.]+ rows a second", t) for t in
            page.evaluate("window.told")]  # fmt: skip
    done = [int(match[1].replace(",", "")) for match in told if match]
    assert len(set(done)) > 3
    assert done == sorted(done)
    with (tmp_path / "scored.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["id"]) for row in rows] == list(range(ROWS))
    assert {at: row["refused"].split(":")[0] for at, row in enumerate(rows) if row["refused"]} == {
        at: column for at, (column, _) in REFUSED.items()
    }
    for at, (row, chances) in enumerate(zip(rows, demo.of_file, strict=True)):
        if at not in REFUSED:
            told = [float(row[f"probability_{name}"]) for name in demo.classes]
            assert told == pytest.approx(chances, abs=1e-5)
            assert row["prediction"] == demo.classes[told.index(max(told))]
            assert row["model_version"] == "1"


def test_the_page_about_the_model_names_version_alias_and_gate(
    demo: Demo, browser: "playwright.Browser", seen: Seen
):
    page = opened(browser, demo, seen, 1280, 1000)

    page.get_by_role("tab", name="About this model").click()

    for text in (
        "@challenger, @champion",
        "rows of penguins.csv",
        "accuracy",
        "The gate: it passed",
    ):
        playwright.expect(page.get_by_text(text).first).to_be_visible(timeout=PATIENCE)
    link = page.get_by_role("link", name="Watch in Grafana")
    assert link.get_attribute("href").endswith("/d/model-health?var-model_name=penguins")
    picture(page, "about")


def test_a_phone_shows_everything_in_its_width(
    demo: Demo, browser: "playwright.Browser", seen: Seen
):
    page = opened(browser, demo, seen, 390, 1600)

    button(page, "Ask the model").click()

    metric = page.get_by_test_id("stMetricValue").first
    playwright.expect(metric).to_be_visible(timeout=PATIENCE)
    playwright.expect(page.get_by_text("Where this case lies")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    picture(page, "phone")
