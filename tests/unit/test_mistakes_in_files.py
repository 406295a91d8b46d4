"""Mistakes in a rollout folder, each found by `rollway validate` without a network and told once."""

from pathlib import Path

import pytest
import yaml

from tests.support.builders import RolloutFolder
from tests.support.mistakes import Mistake, answer_to, assert_explained
from tests.unit.test_cli import plain

__all__ = ["plain"]

TABLE = Path(__file__).parents[1] / "fixtures" / "mistakes.yml"
IN_FILES = [
    Mistake(
        row["did"],
        "validate {folder}",
        row["what"],
        row["where"],
        row["next"],
        files=row.get("write", {}),
        changes=row.get("change", {}),
    )
    for row in yaml.safe_load(TABLE.read_text())
]
OF_FOLDERS = [
    Mistake("misspelt the folder", "validate diabtes", "no folder", "deployments", "did you mean 'diabetes'?"),
    Mistake("named a file", "validate {folder}/endpoint.yml", "is a file", "endpoint.yml", "name the folder that it"),
    Mistake("named nothing", "validate {nothing}", "is empty", "command line", "there are diabetes"),
    Mistake("named the folder of folders", "validate {folder}/..", "no rollout folder", "deploy", "deployments/diab"),
    Mistake("named a folder of code", "validate {folder}/code", "none of endpoint.yml", "code", "there are diabetes"),
    Mistake("forgot ./", "validate mine", "no folder", "deployments", "write ./mine"),
]


@pytest.fixture(autouse=True)
def checkout(folder: RolloutFolder, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder above deployments/, with another folder in it; commands are typed there."""
    root = folder.path.parents[1]
    (root / "mine").mkdir()
    monkeypatch.chdir(root)
    return root


@pytest.mark.parametrize("mistake", IN_FILES, ids=str)
def test_a_mistake_in_a_file_is_explained_once(
    mistake: Mistake, folder: RolloutFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mistake.prepare(folder, monkeypatch)

    answer = answer_to(mistake.arguments(folder.path), capsys)

    assert_explained(mistake, answer)
    assert len(answer.error["problems"]) == 1
    assert "rollway validate" in answer.error["next"]


@pytest.mark.parametrize("mistake", OF_FOLDERS, ids=str)
def test_a_folder_that_is_none_is_explained(
    mistake: Mistake, folder: RolloutFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_explained(mistake, answer_to(mistake.arguments(folder.path), capsys))


def test_a_file_in_another_encoding_is_explained(folder: RolloutFolder, capsys: pytest.CaptureFixture[str]) -> None:
    (folder.path / "endpoint.yml").write_bytes(b"\xff\xfe\x00")
    mistake = Mistake("saved another encoding", "validate {folder}", "cannot be read", "endpoint.yml", "as UTF-8")

    assert_explained(mistake, answer_to(mistake.arguments(folder.path), capsys))
