"""The Prefect UI after a rollout of the shipped example."""

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings

from rollway.local.example import MODEL, ROLLOUT, train
from rollway.local.stack import WORK_POOL, Stack, emulator_url
from rollway.prefect import orders
from tests.support.looks import NOTHING, measure
from tests.support.prefect_api import PrefectApi
from tests.support.rest import Rest
from tests.support.world import World

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LOAD_TIMEOUT_MS = 180_000
WIDE: ViewportSize = {"width": 1400, "height": 820}
LOOKS: list[tuple[str, Literal["light", "dark"], int]] = [
    ("/v2", "light", 1400),
    ("/v2", "dark", 420),
    ("", "dark", 1400),
    ("", "light", 420),
]
expect.set_options(timeout=LOAD_TIMEOUT_MS)
TASKS = [
    "read diabetes",
    "connect to Azure ML",
    "resolve model",
    "register environment",
    "plan",
    "create endpoint diabetes",
]

if CHROMIUM is None and os.environ.get("CI"):
    pytest.fail("CI must install a Chromium: apt-get install chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium on the PATH, such as Debian's `chromium`")


@pytest.fixture(scope="module")
def run(stack: Stack, variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The flow run of a rollout of deployments/diabetes, and its artifacts by key, as Prefect's API gives them."""
    world = World(stack, variables, Rest(variables), tmp_path_factory.mktemp("browser"))
    world.register_model(MODEL, train(world.tmp_path, "1", lambda _: None))
    done = world.rollway("deploy", Path(ROLLOUT).name)
    assert done.returncode == 0, done.stderr
    api = PrefectApi(stack)
    flow_run = api.post("/flow_runs/filter", {"flow_runs": {"name": {"like_": MODEL}}})[0]
    artifacts = api.post("/artifacts/filter", {"flow_runs": {"id": {"any_": [flow_run["id"]]}}})
    return {"id": flow_run["id"], "artifacts": {one["key"]: one["id"] for one in artifacts}}


@pytest.fixture(scope="module")
def deployed(stack: Stack, variables: dict[str, str]) -> dict[str, Any]:
    """The Prefect deployment of diabetes, and the form of the workspace block, as an operator makes them."""
    prefect = [stack.python, "-m", "prefect", "--no-prompt"]
    for arguments in (
        ["work-pool", "create", WORK_POOL, "--type", "process", "--overwrite"],
        ["deploy", "--all"],
        ["block", "register", "-m", "rollway.prefect.blocks"],
    ):
        subprocess.run([*prefect, *arguments], env=variables, capture_output=True, check=True)
    answer = PrefectApi(stack).http.get(f"/deployments/name/deploy-endpoint/{MODEL}")
    deployment: dict[str, Any] = answer.raise_for_status().json()
    return deployment


@pytest.fixture
def links(stack: Stack, deployed: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The links in the alert of a rollout of diabetes that waits."""
    monkeypatch.setattr(orders, "flow_run", SimpleNamespace(parameters={"rollout": MODEL}))
    with temporary_settings({PREFECT_API_URL: f"{stack.ui_url}/api", PREFECT_UI_URL: stack.ui_url}):
        return asyncio.run(orders.answer_links())


def open_page(browser: Browser, **options: Any) -> Page:
    """Open a page that waits as long for everything as it does for its load."""
    page = browser.new_page(**options)
    page.set_default_timeout(LOAD_TIMEOUT_MS)
    return page


@pytest.fixture
def page() -> Iterator[Page]:
    """An empty page of a headless Chromium."""
    switches = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=switches, timeout=LOAD_TIMEOUT_MS)
        yield open_page(browser, viewport=WIDE, device_scale_factor=1)
        browser.close()


def press_until_taken(page: Page, press: Callable[[], None], call: str) -> dict[str, Any]:
    """Presses buttons until the server has taken what they send; while its small database is locked it takes nothing.

    `call` is the end of the address that is called; gives the answer.
    """
    for _ in range(5):
        with contextlib.suppress(PlaywrightTimeoutError):  # the form asks the server for its opinion before it sends
            with page.expect_request(lambda one: one.url.endswith(call)) as sent:
                press()
            answer = sent.value.response()
            if answer is not None and answer.ok:
                taken: dict[str, Any] = answer.json()
                return taken
    raise AssertionError(f"{call} was never taken; the page says:\n{page.locator('body').inner_text()}")


def keep_picture(page: Page, name: str, until: Locator | None = None) -> None:
    """Writes a screenshot where `make screenshot` wants it: of the whole page, or `until` the end of something."""
    folder = os.environ.get("ROLLWAY_SCREENSHOTS")
    if folder:
        page.set_viewport_size(WIDE)
        inner = "[...document.querySelectorAll('*')].map(one => one.scrollHeight)"
        height = page.evaluate(f"Math.max(...{inner})")
        page.set_viewport_size({**WIDE, "height": height})
        page.wait_for_timeout(15_000)  # the graph is drawn on a canvas that nothing in the page tells about
        box = until.bounding_box() if until else None
        height = box["y"] + box["height"] + 7 if box else height
        page.screenshot(path=Path(folder) / name, clip={"x": 0, "y": 0, "width": WIDE["width"], "height": height})


def tabs(page: Page) -> Locator:
    """The tabs under the graph of a run."""
    return page.get_by_role("tablist").first


def look_at(page: Page, stack: Stack, artifact: str, heading: str) -> None:
    """Looks at an artifact in both UIs and both themes, in a wide window and on a phone."""
    browser = page.context.browser
    assert browser
    for version, theme, width in LOOKS:
        window = open_page(browser, viewport={"width": width, "height": 900}, color_scheme=theme)
        window.goto(f"{stack.ui_url}{version}/artifacts/artifact/{artifact}")
        shown = window.locator(".prose, .artifact-data-markdown").first
        expect(shown.get_by_role("heading", level=2)).to_contain_text(heading)
        assert measure(shown) == NOTHING, (version, theme, width)
        window.close()


def test_the_run_page_shows_each_task_by_its_name(page: Page, stack: Stack, run: dict[str, Any]) -> None:
    page.goto(f"{stack.ui_url}/v2/runs/flow-run/{run['id']}")
    expect(page.get_by_text("Completed").first).to_be_visible()
    keep_picture(page, "flow-run.png", tabs(page))

    page.get_by_role("tab", name="Task Runs").click()

    expect(page.get_by_text("13 Task runs").first).to_be_visible()
    page.get_by_placeholder("Search by run name").fill("smoke test")
    expect(page.get_by_text("(pinned)").first).to_be_visible()
    expect(page.get_by_text("(by traffic)").first).to_be_visible()
    for name in TASKS:
        page.get_by_placeholder("Search by run name").fill(name)
        expect(page.get_by_role("link", name=name, exact=True).first).to_be_visible()


def test_the_report_is_an_artifact_with_a_timeline(page: Page, stack: Stack, run: dict[str, Any]) -> None:
    page.goto(f"{stack.ui_url}/v2/artifacts/artifact/{run['artifacts']['rollout-diabetes']}")

    expect(page.get_by_role("heading", name="diabetes: promoted")).to_be_visible()
    timeline = page.get_by_role("img", name="timeline")
    expect(timeline).to_be_visible()
    assert timeline.evaluate("image => image.naturalWidth") > 0, "the picture is drawn, not a broken link"
    expect(page.get_by_text("none serves traffic")).to_be_visible()
    keep_picture(page, "report.png")
    look_at(page, stack, run["artifacts"]["rollout-diabetes"], "diabetes: promoted")


def test_the_report_is_the_only_artifact_of_a_run_that_went_well(run: dict[str, Any]) -> None:
    assert list(run["artifacts"]) == ["rollout-diabetes"]


@pytest.mark.parametrize("version", ["", "/v2"])
def test_the_graph_has_an_arrow_from_each_task_to_the_next(
    page: Page, stack: Stack, run: dict[str, Any], version: str
) -> None:
    with page.expect_response(lambda one: one.url.endswith("/graph-v2")) as asked:
        page.goto(f"{stack.ui_url}{version}/runs/flow-run/{run['id']}")
    nodes = dict(asked.value.json()["nodes"])
    arrows = {(node["label"], nodes[child["id"]]["label"]) for node in nodes.values() for child in node["children"]}

    expect(page.locator("canvas").first).to_be_visible()
    assert (len(nodes), len(arrows)) == (13, 13), "\n".join(map(str, arrows))  # a chain, with two tasks side by side


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_page_of_the_local_azure_shows_the_rollout(
    page: Page, variables: dict[str, str], run: dict[str, Any], theme: Literal["dark", "light"]
) -> None:
    assert run
    browser = page.context.browser
    assert browser
    window = open_page(browser, viewport=WIDE, color_scheme=theme, ignore_https_errors=True)
    window.goto(emulator_url(variables))
    window.get_by_text("Try it").first.click()
    window.get_by_role("button", name="Send").first.click()

    expect(window.locator("output").first).to_contain_text("200 from diabetes-")
    assert measure(window.locator("main")) == NOTHING
    if theme == "light":
        keep_picture(window, "emulator-page.png", window.locator("main"))


@pytest.mark.parametrize(
    ("style", "found"),
    [
        ("color:#999;background:#fff", {"cut": [], "pale": ["some words (2.8)"]}),
        ("width:3em;overflow:hidden;white-space:nowrap", {"cut": ["P some words"], "pale": []}),
        ("position:absolute;left:1380px;white-space:nowrap", {"cut": ["P some words"], "pale": []}),
        ("color:#333;background:#fff", NOTHING),
    ],
    ids=["pale", "cut", "leaves", "fine"],
)
def test_what_is_cut_off_or_pale_is_found(page: Page, style: str, found: dict[str, list[str]]) -> None:
    page.set_content(f'<body><p style="{style}">some words</p></body>')

    assert measure(page.locator("body")) == found


@pytest.mark.parametrize("version", ["", "/v2"])
def test_a_link_of_an_alert_opens_a_form_that_is_filled_in(
    links: dict[str, str], page: Page, stack: Stack, version: str
) -> None:
    page.goto(links["abort"].replace(stack.ui_url, f"{stack.ui_url}{version}"))

    expect(page.get_by_text("Why; shown in the status and in reports.")).to_be_visible()
    has_reason = "[...document.querySelectorAll('input, textarea')].some(one => one.value === 'answer to the alert')"
    page.wait_for_function(has_reason)
    for text in (MODEL, "abort"):
        expect(page.get_by_text(text, exact=True).first).to_be_visible()


def test_the_form_of_a_rollout_offers_the_folders_and_explains_its_fields(
    page: Page, stack: Stack, deployed: dict[str, Any]
) -> None:
    page.goto(f"{stack.ui_url}/v2/deployments/deployment/{deployed['id']}/run")

    expect(page.get_by_text("Folder to roll out: its name in deployments/")).to_be_visible()
    expect(page.get_by_text("Percent of the traffic for the new online deployment")).to_be_visible()
    expect(page.get_by_role("switch").first).to_be_visible()
    keep_picture(page, "form.png")
    page.get_by_role("button", name="Select rollout").click()
    expect(page.get_by_role("option")).to_have_text([MODEL])


def test_a_workspace_block_is_filled_in_and_hides_its_secret(
    page: Page, stack: Stack, deployed: dict[str, Any]
) -> None:
    page.goto(f"{stack.ui_url}/v2/blocks/catalog/azureml-workspace/create")
    address = {"Subscription Id": "sub", "Resource Group": "rg", "Workspace": "ws"}
    principal = {"Tenant Id": "tenant", "Client Id": "client", "Client Secret": "hush"}
    page.get_by_label("Name", exact=True).fill("from-the-form")
    for label, value in {**address, **principal}.items():
        page.get_by_label(label).fill(value)
    page.get_by_role("button", name="Select identity").click()
    page.get_by_role("option", name="service principal").click()
    page.get_by_role("button", name="Save").click()

    expect(page.get_by_text("from-the-form").first).to_be_visible()
    blocks = PrefectApi(stack).http.get("/block_types/slug/azureml-workspace/block_documents").json()
    saved = next(one["data"] for one in blocks if one["name"] == "from-the-form")
    assert saved == {
        "subscription_id": "sub",
        "resource_group": "rg",
        "workspace": "ws",
        "identity": "service principal",
        "tenant_id": "tenant",
        "client_id": "client",
        "client_secret": "*" * 8,
    }


def test_a_person_starts_a_run_reads_why_it_failed_and_presses_retry(
    page: Page,
    stack: Stack,
    variables: dict[str, str],
    deployed: dict[str, Any],
    run: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rest, prefect = Rest(variables), PrefectApi(stack)
    # As after `source .venv/bin/activate`: the dossier then calls `rollway` by its name.
    monkeypatch.setenv("PATH", f"{Path(stack.python).parent}{os.pathsep}{os.environ['PATH']}")
    worker = stack.start_worker()
    try:
        refusal = {"error": {"code": "AuthorizationFailed", "message": "not today"}}
        rest.fault(method="PUT", path=f"/onlineEndpoints/{MODEL}$", status=403, body=refusal, count=None)
        page.goto(f"{stack.ui_url}/v2/deployments/deployment/{deployed['id']}/run")
        expect(page.get_by_text("Roll out again even if nothing changed.")).to_be_visible()
        page.get_by_role("switch").nth(1).click()  # force, because the rollout of the other tests is live
        submit = page.get_by_role("button", name="Submit")
        started = press_until_taken(page, submit.click, "/create_flow_run")["id"]
        assert prefect.wait(started)["name"] == "Failed", prefect.logs(started)
        rest.clear_faults()

        page.goto(f"{stack.ui_url}/v2/runs/flow-run/{started}")
        expect(page.get_by_text("Failed").first).to_be_visible()
        keep_picture(page, "failed-run.png", tabs(page))
        artifacts = prefect.artifact_ids(started)
        page.goto(f"{stack.ui_url}/v2/artifacts/artifact/{artifacts[f'failure-{MODEL}']}")
        expect(page.get_by_text("aborted at").first).to_be_visible()
        expect(page.get_by_text("AzureML Data Scientist").first).to_be_visible()
        expect(page.get_by_text(f"rollway deploy deployments/{MODEL} --force", exact=True).first).to_be_visible()
        keep_picture(page, "dossier.png")
        look_at(page, stack, artifacts[f"failure-{MODEL}"], "diabetes: aborted")
        look_at(page, stack, artifacts[f"rollout-{MODEL}"], "Create online deployment")

        page.goto(f"{stack.ui_url}/v2/runs/flow-run/{started}")

        def retry() -> None:
            page.get_by_role("button", name="Open menu").click()
            page.get_by_role("menuitem", name="Retry").click()
            page.get_by_role("button", name="Retry").click()

        press_until_taken(page, retry, "/set_state")
        assert prefect.wait(started, attempt=2)["name"] == "Completed", prefect.logs(started)
        page.reload()
        expect(page.get_by_text("Completed").first).to_be_visible()
        keep_picture(page, "retried-run.png", tabs(page))
    finally:
        rest.clear_faults()
        worker.stop()
