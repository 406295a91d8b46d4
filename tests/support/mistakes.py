"""A mistake of a person, and what the command line must say about it: what, where, and what to do next."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders import RolloutFolder
from tests.support.command_line import code_of


@dataclass(frozen=True)
class Mistake:
    """A mistake and the words of the answer.

    Attributes:
        did: What the person did; the name of the test.
        command: The arguments, with `{folder}` for the rollout folder.
        what: Words of what happened, or of the reason.
        where: Words of the place.
        next: Words of the next step.
        exit_code: Exit code of the process.
        files: Texts of files in the folder; None deletes one.
        changes: Keys of its YAML files that change; None removes one.
        variables: Environment variables; None removes one.
    """

    did: str
    command: str
    what: str
    where: str
    next: str
    exit_code: int = 2
    files: Mapping[str, str | None] = field(default_factory=dict)
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    variables: Mapping[str, str | None] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.did

    def prepare(self, folder: RolloutFolder, monkeypatch: pytest.MonkeyPatch) -> None:
        """Write the files and set the variables."""
        for name, keys in self.changes.items():
            folder.change(name, **keys)
        for name, text in self.files.items():
            path = folder.path / name
            if text is None:
                path.unlink()
            else:
                path.write_text(text)
        for name, value in self.variables.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    def arguments(self, folder: Path) -> list[str]:
        """Return the arguments of the command."""
        return [word.replace("{folder}", str(folder)).replace("{nothing}", "") for word in self.command.split()]


@dataclass(frozen=True)
class Answer:
    """The answer to a mistake: the exit code, the text for people, and the error of the JSON document."""

    exit_code: int
    text: str
    error: dict[str, Any]

    def words(self, *keys: str) -> str:
        """Return parts of the error together with the problems of the files."""
        problems = [f"{one['file']}: {one['field']}: {one['message']}" for one in self.error.get("problems", ())]
        return " ".join([*(str(self.error[key]) for key in keys), *problems, str(self.error.get("details") or "")])


def answer_to(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> Answer:
    """Run a command twice, for people and for programs, and return what it answers."""
    capsys.readouterr()
    code = code_of(*arguments)
    for_people = capsys.readouterr()
    assert for_people.out == "", "an error is no answer"
    assert code_of(*arguments, "--json") == code
    return Answer(code, for_people.err, json.loads(capsys.readouterr().out)["error"])


def assert_explained(mistake: Mistake, answer: Answer) -> None:
    """Check that an answer has what, where and the next step, for people and for programs, and no traceback."""
    error = answer.error
    assert answer.exit_code == error["exit_code"] == mistake.exit_code, answer.text
    assert {"what", "where", "why", "next", "exit_code"} <= error.keys()
    assert "Traceback" not in answer.text
    for key, words in (("what", mistake.what), ("where", mistake.where), ("next", mistake.next)):
        assert error[key], f"it does not say {key}: {answer.text}"
        found = answer.words("what", "why") if key == "what" else answer.words(key)
        assert words in found, f"{key}: {found}"
    assert f"error: {error['what']}\n" in answer.text
    assert f"\n  where: {error['where']}\n" in answer.text
    assert "\n  try: " in answer.text
