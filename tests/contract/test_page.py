"""The page on `/`, as a browser gets it."""

import base64
import colorsys
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import Literal

import httpx
import pytest
from azure.ai.ml import MLClient
from playwright.sync_api import expect, sync_playwright

from rollway.emulator.control import page
from tests.contract.conftest import PATIENT_MS, Served, create_endpoint
from tests.support.emulator_process import EmulatorProcess, running_emulator
from tests.support.looks import NOTHING, measure

CURL = shutil.which("curl")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def read_page(emulator: EmulatorProcess) -> str:
    """The HTML of the page."""
    with emulator.http() as http:
        return http.get(f"{emulator.url}/").raise_for_status().text


def read_section(emulator: EmulatorProcess, name: str) -> str:
    """The HTML of the page's section on one endpoint."""
    (section,) = [one for one in read_page(emulator).split("<section ") if f"<h2>{name}</h2>" in one]
    return section.partition("</section>")[0]


def text_of(html: str) -> str:
    """The words of a part of the page."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html.partition(">")[2])).split())


def commands_in(html: str) -> list[str]:
    """The commands that a part of the page offers to copy."""
    return [unescape(one) for one in re.findall(r"<div class=command><pre>(.*?)</pre>", html, re.DOTALL)]


def run(command: str) -> str:
    """The output of a command that is pasted into a shell that knows nothing: no venv, no variables, another folder."""
    bare = {"PATH": os.defpath, "HOME": "/nonexistent", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(["bash", "-c", command], env=bare, cwd="/", capture_output=True, text=True, check=True)
    return done.stdout


def trial(
    emulator: EmulatorProcess, endpoint: str, headers: dict[str, str] | None = None, **form: str
) -> httpx.Response:
    """The answer to the form of an endpoint, by its name."""
    found = re.search(rf'name=endpoint value="([^"]+/{endpoint})"', read_page(emulator))
    assert found
    with emulator.http() as http:
        data = {"endpoint": unescape(found[1]), "deployment": "", "body": "{}", **form}
        return http.post(f"{emulator.url}/_emulator/trial", data=data, headers=headers)


def test_the_page_shows_endpoints_weights_and_running_deployments(served: Served) -> None:
    text = text_of(read_section(served.emulator, served.name))

    assert text.startswith(f"{served.name} Succeeded local · westeurope · Managed · Key blue 100 %")
    assert "blue Succeeded 100 % – 2 of 2 shared-model:1" in text  # noqa: RUF001


def test_the_page_says_when_nothing_gets_traffic(client: MLClient, emulator: EmulatorProcess, name: str) -> None:
    create_endpoint(client, name)

    assert "no traffic No online deployments." in text_of(read_section(emulator, name))


def test_endpoints_are_sorted_by_name(client: MLClient, emulator: EmulatorProcess, name: str) -> None:
    for letter in "zam":
        create_endpoint(client, f"{letter}-{name}")

    names = re.findall("<h2>(.*?)</h2>", read_page(emulator))

    assert names == sorted(names)
    assert {f"a-{name}", f"z-{name}"} < set(names)


def test_the_page_of_an_empty_emulator_has_a_command_that_works(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator:
        page = read_page(emulator)
        (command,) = commands_in(page)
        told = run(f'{command} && echo "$AZURE_AUTHORITY_HOST"')

    assert "No endpoints yet" in page
    assert told == f"{emulator.url}\n"


def test_only_the_pages_own_style_and_script_run(emulator: EmulatorProcess) -> None:
    with emulator.http() as http:
        answer = http.get(emulator.url)

    policy = answer.headers["content-security-policy"].split("; ")
    script = answer.text.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy[:3] == ["default-src 'none'", "style-src 'unsafe-inline'", f"script-src 'sha256-{digest}'"]
    assert re.findall(r"<[^>]+ (?:src|href)=|@import|url\(", answer.text) == []


def test_the_form_scores_as_a_client_does(served: Served) -> None:
    pinned = trial(served.emulator, served.name, deployment="blue", body='{"data": [1]}')
    by_traffic = trial(served.emulator, served.name, body='{"data": [1]}')

    for answer in (pinned, by_traffic):
        assert re.match(r"200 from blue in \d+ ms\n\n.", answer.text), answer.text
    assert trial(served.emulator, served.name, deployment="green").text.startswith("404 from the gateway in ")


@pytest.mark.parametrize("auth_mode", ["key", "aml_token", "aad_token"])
def test_the_form_and_the_command_open_an_endpoint_in_any_auth_mode(
    client: MLClient, emulator: EmulatorProcess, name: str, auth_mode: str
) -> None:
    create_endpoint(client, name, auth_mode)
    (command,) = commands_in(read_section(emulator, name))

    status = trial(emulator, name).text.partition(" ")[0]
    token = run(f"echo {re.search(r'[$][(].*?[)]', command)[0]}")  # type: ignore[index]
    key = token.strip()

    with emulator.http() as http:
        url = client.online_endpoints.get(name).scoring_uri
        assert url
        scored = http.post(url, json={}, headers={"Authorization": f"Bearer {key}"})
        refused = http.post(url, json={}, headers={"Authorization": f"Bearer {key}x"})
    assert (scored.status_code, refused.status_code) == (int(status), 401)
    assert status not in ("401", "403")


def test_a_key_of_no_endpoint_is_refused_with_what_to_do(emulator: EmulatorProcess) -> None:
    command = [sys.executable, "-m", "rollway.emulator", "key", "nosuch", "--state", str(emulator.folder)]

    refused = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("error: there is no key to be read\n  where: nosuch\n")
    assert "the page of the emulator lists the endpoints" in refused.stderr


def test_an_endpoint_that_is_gone_is_said(emulator: EmulatorProcess) -> None:
    with emulator.http() as http:
        answer = http.post(f"{emulator.url}/_emulator/trial", data={"endpoint": "/subscriptions/s"})

    assert (answer.status_code, answer.text) == (404, "There is no such endpoint any more.")


def test_a_page_of_another_origin_cannot_send_the_form(served: Served) -> None:
    foreign = trial(served.emulator, served.name, {"Origin": "https://attacker.example"})

    assert (foreign.status_code, foreign.json()["error"]["code"]) == (403, "ForeignOrigin")


def test_the_page_shows_no_key(served: Served) -> None:
    assert served.key not in read_page(served.emulator)


@pytest.mark.skipif(CURL is None, reason="needs curl on the PATH")
def test_the_command_for_a_shell_repeats_the_last_request(served: Served) -> None:
    body = {"data": ["it's", "größer"]}
    answer = served.score(body).raise_for_status()

    (command,) = commands_in(read_section(served.emulator, served.name))

    assert json.loads(run(command)) == answer.json()


def test_charts_show_requests_failures_latency_and_weights(
    client: MLClient, served: Served, emulator: EmulatorProcess
) -> None:
    served.score({"data": [1]}).raise_for_status()
    assert served.score({"data": [1]}, key="wrong").status_code == 401

    section = read_section(emulator, served.name)

    labels = [unescape(one) for one in re.findall(r'aria-label="([^"]+)"', section)]
    assert [one.partition(":")[0] for one in labels] == ["requests per minute", "latency, 95th percentile", "weights"]
    assert re.fullmatch(r"requests per minute: \d+ in 15 min, [1-9]\d* failed, at most \d+ a minute", labels[0])
    assert re.fullmatch(r"latency, 95th percentile: \d+ ms now, \d+ ms at most", labels[1])
    assert labels[2] == "weights: blue 100 %"
    assert all("<rect " in figure for figure in section.split("<figure>")[1:])


def test_each_container_has_its_log(served: Served) -> None:
    section = read_section(served.emulator, served.name)

    logs = re.findall(r"<summary>Log of (.*?)</summary><pre[^>]*>(.*?)</pre>", section, re.DOTALL)

    assert [name for name, _ in logs] == ["blue, container 0", "blue, container 1"]
    assert all("Server" in text or "server" in text for _, text in logs)


@pytest.mark.parametrize(("card", "rule"), [("#ffffff", 0), ("#1d2127", 1)], ids=["light", "dark"])
def test_every_colour_of_a_weight_stands_out_from_its_text(card: str, rule: int) -> None:
    style = Path(page.__file__).with_name("page.css").read_text()
    lightness = int(re.findall(r"--lightness:(\d+)%", style)[rule]) / 100
    background = [int(card[at : at + 2], 16) / 255 for at in (1, 3, 5)]

    contrasts = {hue: contrast(colorsys.hls_to_rgb(hue / 360, lightness, 0.6), background) for hue in page.HUES}

    assert {hue: ratio for hue, ratio in contrasts.items() if ratio < 4.5} == {}


def contrast(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the contrast ratio of two colours, from 1 to 21 (WCAG 2.2)."""
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: Sequence[float]) -> float:
    """Return the relative luminance of red, green and blue from 0 to 1."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium on the PATH, such as Debian's `chromium`")
@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_fits_a_browser_in_both_themes_and_breaks_none_of_its_own_rules(
    served: Served, width: int, theme: Literal["dark", "light"]
) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENT_MS)
        page = browser.new_page(
            viewport={"width": width, "height": 700},
            ignore_https_errors=True,
            color_scheme=theme,
            permissions=["clipboard-write"],
        )
        page.set_default_timeout(PATIENT_MS)
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.goto(served.emulator.url)
        section = page.locator("section", has_text=served.name)
        for summary in section.locator("summary").all():
            summary.click()
        section.get_by_role("textbox", name="request").fill('{"data": [1]}')
        section.get_by_role("button", name="Send").click()
        expect(section.locator("output")).to_have_text(re.compile("200 from blue"), timeout=PATIENT_MS)
        page.evaluate("window.setTimeout = () => 0")  # after two seconds the button is called "Copy" again
        section.get_by_role("button", name="Copy").click()
        expect(section.get_by_role("button", name="Copied")).to_be_visible(timeout=PATIENT_MS)
        found = measure(page.locator("main"))
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        browser.close()

    assert (found, problems, overflow) == (NOTHING, [], 0)
