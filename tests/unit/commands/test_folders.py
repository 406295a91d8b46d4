"""Commands for rollout folders, run as a person does in a checkout."""

import os
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from rollway.commands import folders
from rollway.prefect.yaml_entries import missing_entries
from rollway.settings import known_rollouts
from tests.support.command_line import code_of

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the files that the commands read, as the working directory, in a wide terminal without colours."""
    for part in ("deployments", "scoring"):
        shutil.copytree(ROOT / part, tmp_path / part)
    shutil.copy(ROOT / "prefect.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def files_of(folder: str) -> set[str]:
    """Return the paths of all files below a folder."""
    return {str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "arguments",
    [
        ["churn"],
        ["deployments/churn"],
        ["churn", "--model", "churn:7", "--instance-type", "Standard_F4s_v2", "--instance-count", "3"],
        ["churn", "--model", "scoring/diabetes"],
        ["churn", "--script", "scoring/diabetes/score.py", "--conda", "scoring/diabetes/conda.yaml"],
        ["churn", "--model", "churn:1", "--mlflow", "--request", "scoring/diabetes/sample-request.json"],
    ],
    ids=" ".join,
)
def test_a_new_folder_is_valid_at_once_and_prefect_knows_it(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of("new", *arguments) == 0

    captured = capsys.readouterr()
    assert captured.out == "deployments/churn is valid\n"
    assert "wrote deployments/churn: endpoint.yml, deployment.yml, " in captured.err
    assert "prefect.yaml: added churn" in captured.err
    assert captured.err.endswith("rollway deploy deployments/churn\n")
    assert code_of("validate") == 0
    assert capsys.readouterr().out == "deployments/churn is valid\ndeployments/diabetes is valid\n"
    assert missing_entries(Path("prefect.yaml").read_text(), known_rollouts()) == ()


def test_a_new_folder_says_what_was_given() -> None:
    model = Path("model.joblib")
    model.write_bytes(b"a model")

    code_of("new", "churn", "--model", "model.joblib", "--instance-type", "Standard_F4s_v2", "--instance-count", "3")

    made = yaml.safe_load(Path("deployments/churn/deployment.yml").read_text())
    assert made["model"] == {"name": "churn", "path": "../../model.joblib"}
    assert (made["instance_type"], made["instance_count"]) == ("Standard_F4s_v2", 3)


def test_a_terminal_is_asked_if_no_option_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def ask(question: str, default: str) -> str:
        asked.append((question, default))
        return ["churn:7", "scoring/diabetes/score.py", "Standard_F4s_v2"][len(asked) - 1]

    monkeypatch.setattr(folders, "_ask", ask)
    monkeypatch.setattr(sys, "stdin", os.fdopen(os.openpty()[1]))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)

    assert code_of("new", "churn") == 0
    made = yaml.safe_load(Path("deployments/churn/deployment.yml").read_text())
    assert made["model"] == "azureml:churn:7"
    assert made["code_configuration"] == {"code": "../../scoring/diabetes", "scoring_script": "score.py"}
    assert made["instance_type"] == "Standard_F4s_v2"
    assert [default for _, default in asked] == ["churn@latest", "new", "Standard_D2as_v4"]


def test_the_answer_mlflow_makes_a_folder_without_a_script() -> None:
    answers = iter(["churn:7", "mlflow", "Standard_F4s_v2"])

    assert folders.ask_choices("churn", lambda *_: next(answers)) == ("churn:7", None, True, "Standard_F4s_v2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["my_model"], "error: 'my_model' cannot be the name of an endpoint"),
        (["diabetes"], "error: deployments/diabetes exists already, and nothing is overwritten"),
        (["schema"], "error: deployments/schema exists already, and nothing is overwritten"),
        (["churn", "--model", "churn"], "error: 'churn' is neither a registered model nor a local file or folder"),
        (["churn", "--model", "a/b.joblib"], "  try: write b:1 or b@latest for a registered one"),
        (["churn", "--script", "no.py"], "error: there is no file no.py"),
        (["churn", "--request", "scoring"], "error: there is no file scoring"),
        (["churn", "--mlflow", "--script", "scoring/diabetes/score.py"], "error: --mlflow goes without --script"),
        (["churn", "--instance-count", "0"], "Must be >= 1"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_made_leaves_nothing_behind(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before, entries = files_of("deployments"), Path("prefect.yaml").read_text()

    assert code_of("new", *arguments) == 2

    assert message in capsys.readouterr().err
    assert files_of("deployments") == before
    assert Path("prefect.yaml").read_text() == entries


def test_a_script_whose_folder_holds_the_project_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("score.py").write_text("def init(): ...\ndef run(data): ...\n")

    assert code_of("new", "churn", "--script", "score.py") == 2

    error = capsys.readouterr().err
    assert "error: the folder of score.py cannot be uploaded" in error
    assert "move the script to a folder of its own, such as scoring/churn/" in error


def test_a_script_that_cannot_serve_is_named_and_the_folder_stays_to_be_corrected(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("src").mkdir()
    Path("src/score.py").write_text("def init(): ...\n")

    assert code_of("new", "churn", "--script", "src/score.py") == 2

    assert "has no run()" in capsys.readouterr().err
    assert "deployment.yml" in files_of("deployments/churn")


def test_a_folder_without_prefect_yaml_is_made_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    Path("prefect.yaml").unlink()

    assert code_of("new", "churn") == 0
    assert "prefect.yaml" not in capsys.readouterr().err


def test_a_prefect_yaml_without_marks_does_not_stop_a_new_folder(capsys: pytest.CaptureFixture[str]) -> None:
    Path("prefect.yaml").write_text("deployments: []\n")

    assert code_of("new", "churn") == 0
    assert "prefect.yaml has no entry for churn: prefect.yaml cannot be written" in capsys.readouterr().err


def test_a_folder_without_an_entry_is_named_with_the_command_that_writes_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree("deployments/diabetes", "deployments/churn")

    assert code_of("validate") == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error: not every folder has a Prefect deployment" in captured.err
    assert "prefect.yaml: deployments: has no entry for churn" in captured.err
    assert "rollway prefect-yaml`, then run `prefect deploy --all`" in captured.err
    assert code_of("validate", "churn") == 0, "a folder by its name is checked alone"

    assert code_of("prefect-yaml") == 0
    assert "prefect.yaml: added churn; run `prefect deploy --all`\n" in capsys.readouterr().out
    assert code_of("validate") == 0
    assert code_of("prefect-yaml") == 0
    assert "prefect.yaml: has an entry for each folder\n" in capsys.readouterr().out


def test_all_folders_are_checked_and_all_problems_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("churn", "fraud"):
        shutil.copytree("deployments/diabetes", f"deployments/{name}")
        Path(f"deployments/{name}/rollout.yml").write_text("strateg: x\n")
    Path("deployments/fraud/rollout.yml").unlink()

    assert code_of("validate") == 2

    error = capsys.readouterr().err
    assert "error: 2 of 3 folders do not describe a rollout" in error
    assert "deployments/churn/rollout.yml: strateg: unknown key" in error
    assert "deployments/fraud/rollout.yml: the file is missing" in error


def test_no_folder_at_all_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree("deployments")

    assert code_of("validate") == 2
    assert "there is no rollout folder in deployments" in capsys.readouterr().err


def test_prefect_yaml_is_written_only_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    Path("prefect.yaml").unlink()

    assert code_of("prefect-yaml") == 2
    assert "error: there is no prefect.yaml here" in capsys.readouterr().err
