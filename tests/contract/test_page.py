"""The page on `/`, as a browser gets it."""

import re
import shutil
from html import unescape
from pathlib import Path

import pytest
from azure.ai.ml import MLClient
from playwright.sync_api import sync_playwright

from tests.contract.conftest import Served, create_endpoint
from tests.support.emulator_process import EmulatorProcess, running_emulator

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def read_section(emulator: EmulatorProcess, name: str) -> str:
    """The text of the page's section on one endpoint."""
    with emulator.http() as http:
        page = http.get(f"{emulator.url}/").raise_for_status().text
    (section,) = [one for one in page.split("<section>") if f"<h2>{name}</h2>" in one]
    return unescape(re.sub(r"<[^>]+>", " ", section.partition("</section>")[0]))


def test_the_page_shows_endpoints_weights_and_running_deployments(served: Served) -> None:
    text = " ".join(read_section(served.emulator, served.name).split())

    assert text.startswith(f"{served.name} Succeeded local · westeurope · Managed · Key blue 100 %")
    assert text.endswith("blue Succeeded 100 % – 2 of 2 shared-model:1")  # noqa: RUF001


def test_the_page_says_when_nothing_gets_traffic(client: MLClient, emulator: EmulatorProcess, name: str) -> None:
    create_endpoint(client, name)

    assert "no traffic No online deployments." in " ".join(read_section(emulator, name).split())


def test_the_page_of_an_empty_emulator_says_how_to_begin(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator, emulator.http() as http:
        answer = http.get(emulator.url)

    assert "No endpoints yet" in answer.text
    assert f'eval "$(rollway emulator env --state {tmp_path})"' in unescape(answer.text)
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium on the PATH, such as Debian's `chromium`")
@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_fits_a_browser_and_breaks_none_of_its_own_rules(served: Served, width: int) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 700}, ignore_https_errors=True)
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.goto(served.emulator.url)
        shown = page.locator("section", has_text=served.name).inner_text()
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        browser.close()

    assert "blue 100 %" in shown
    assert (problems, overflow) == ([], 0)
