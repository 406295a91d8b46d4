"""The pages of the documentation as a reader uses them: commands to paste and files to save."""

import re
import shlex
import subprocess
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^(?P<indent> *)```(?P<kind>\w+)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_SAVED_AS = re.compile(r"[Ss]ave this as `(?P<file>[^`]+)`:\s*$")


def commands(page: str, heading: str = "") -> list[str]:
    """Return the commands of a page, or of one section of it, in their order and without comments."""
    found = [line for kind, text in _blocks(page, heading) if kind == "console" for line in text.splitlines()]
    return [_command(line) for line in found if line.startswith("$ ")]


def register_everything(checkout: Path, variables: Mapping[str, str]) -> None:
    """Create the work pool, the blocks and the Prefect deployments of a checkout as docs/operations.md says."""
    for command in commands("docs/operations.md", "Register everything"):
        if command.startswith("export "):  # `variables` have its values
            continue
        typed = ["bash", "-c", command]
        done = subprocess.run(typed, check=False, cwd=checkout, env=variables, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def answers(page: str) -> list[tuple[str, str]]:
    """Return the commands whose answer the page shows, with the last line of the answer."""
    lines = [line for kind, text in _blocks(page, "") if kind == "console" for line in text.splitlines()]
    return [
        (_command(line), answer)
        for line, answer in pairwise(lines)
        if line.startswith("$ ") and not answer.startswith("$ ")
    ]


def files(page: str) -> dict[str, str]:
    """Return the files that a page tells to save, by name."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = {}
    for block in _BLOCK.finditer(text):
        if name := _SAVED_AS.search(text[: block.start()]):
            found[name["file"]] = textwrap.dedent(block["text"])
    return found


def _blocks(page: str, heading: str) -> Iterator[tuple[str, str]]:
    text = (ROOT / page).read_text(encoding="utf-8")
    if heading:
        _, is_found, rest = text.partition(f"\n## {heading}\n")
        assert is_found, f"{page} has no section {heading}"
        text = rest.partition("\n## ")[0]
    for block in _BLOCK.finditer(text):
        yield block["kind"], textwrap.dedent(block["text"])


def _command(line: str) -> str:
    return re.sub(r"\s{2,}#.*", "", line.removeprefix("$ "))


def script(lines: Sequence[str]) -> str:
    """Return a script for one shell that runs every command, and prints its exit code in a line of its own."""
    return "".join(f"echo '>>> '{shlex.quote(line)}\n{line}\necho \"<<< $?\"\n" for line in lines)


def results(output: str) -> list[tuple[str, int, str]]:
    """Return command, exit code and output of each command of a `script`, from what it printed."""
    found = re.findall(r"^>>> (.*?)$\n(.*?)^<<< (\d+)$", output, re.MULTILINE | re.DOTALL)
    return [(command, int(code), text) for command, text, code in found]
