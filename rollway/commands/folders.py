"""Commands for rollout folders: make one, check all, and keep prefect.yaml in step with them."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from rollway.commands.shared import AsJson, Rollout
from rollway.errors import ConfigurationError, InvalidRollout
from rollway.prefect.yaml_entries import COMMAND, FILE, missing_entries, update_prefect_yaml
from rollway.settings import deployments_folder, folder_path, rollout_name
from rollway.spec import Problem, RolloutSpec
from rollway.spec.starter import INSTANCE_TYPE, Starter, as_reference, require_name, texts
from rollway.terminal import answer, as_called, program, say

SCHEMA = "schema/rollout.schema.json"
MLFLOW = "mlflow"
Ask = Callable[[str, str], str]  # the question and the default; returns the answer


def new(
    name: str,
    *,
    model: str | None = None,
    script: Path | None = None,
    mlflow: Annotated[bool, Parameter(negative="")] = False,
    conda: Path | None = None,
    request: Path | None = None,
    instance_type: str = INSTANCE_TYPE,
    instance_count: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=50))] = 1,
) -> None:
    """Make a rollout folder that can be rolled out. It registers nothing and overwrites nothing.

    At a terminal it asks for model, script and instance type if no option is given. See docs/your-own-model.md.

    Parameters
    ----------
    name
        Name of the folder in deployments/ and of the endpoint.
    model
        A registered model, such as churn:1 or churn@latest, or a local file or folder, which the first rollout
        registers; default: NAME@latest.
    script
        Your scoring script, with init() and run(). Its folder is uploaded; default: write one for scikit-learn.
    mlflow
        The model is an MLflow model, which Azure serves without a scoring script.
    conda
        Your conda file; default: write one.
    request
        A request that the model must answer before it gets traffic; default: write an example to correct.
    instance_type
        Size of the machines.
    instance_count
        Number of machines.
    """
    name = rollout_name(name) if name.startswith(f"{deployments_folder()}/") else name
    require_name(name)
    folder = Path(folder_path(name))
    if folder.exists():
        raise ConfigurationError(
            f"{folder} exists already, and nothing is overwritten",
            where=str(folder),
            hint="choose another name, or remove it first",
        )
    is_given = any([model, script, mlflow, conda, request, instance_type != INSTANCE_TYPE, instance_count != 1])
    if not is_given and sys.stdin.isatty() and sys.stderr.isatty():
        model, script, mlflow, instance_type = ask_choices(name, _ask)
    starter = starter_of(
        folder,
        model or f"{name}@latest",
        script=script,
        is_mlflow=mlflow,
        conda=conda,
        request=request,
        instance_type=instance_type,
        instance_count=instance_count,
    )
    files = texts(starter)
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    say(f"wrote {folder}: {', '.join(files)}")
    _add_entry(name)
    load_offline([str(folder)])
    answer(f"{folder} is valid")
    to_correct = ", ".join(path for path in ("code/score.py", "conda.yaml", "request.json") if path in files)
    say(f"next: correct {to_correct} for your model, then:" if to_correct else "next:")
    print(f"    {program()} plan {folder}\n    {program()} deploy {folder}", file=sys.stderr)


def prefect_yaml() -> None:
    """Write the entries of the rollout folders in prefect.yaml again.

    It adds an entry for each folder that has none, and removes those of folders that are gone. All others stay as they
    are, with your schedules and parameters.
    """
    if not Path(FILE).is_file():
        raise ConfigurationError(
            f"there is no {FILE} here", where=str(Path.cwd()), hint="run it in the folder that holds deployments/"
        )
    entries = update_prefect_yaml()
    answer(f"{entries}; run `prefect deploy --all`" if entries.is_change else str(entries))


def validate(*rollouts: Rollout, as_json: AsJson = False) -> None:
    """Check rollout folders; default: all of deployments/, and that prefect.yaml has them. Needs no network."""
    from rollway.files.check import is_surely_valid

    given = rollouts or find_all()
    folders = [folder_path(one) for one in given]
    specs = load_offline(given) if as_json or not all(map(is_surely_valid, folders)) else ()
    if not rollouts:
        require_entries([rollout_name(folder) for folder in folders])
    if as_json:
        documents = [spec.model_dump(mode="json") for spec in specs]
        answer(json.dumps(documents[0] if len(rollouts) == 1 else documents, indent=2))
    else:
        answer("\n".join(f"{folder} is valid" for folder in folders))


def find_all() -> list[str]:
    """Return the paths of all rollout folders; raises InvalidRollout if there are none.

    A folder without a rollout.yml is one of them if it has any other YAML: reading it says what is missing.
    """
    root = Path(deployments_folder())
    found = sorted({str(path.parent) for suffix in ("yml", "yaml") for path in root.glob(f"*/*.{suffix}")})
    if not found:
        hint = as_called("make one with `rollway new NAME`")
        raise InvalidRollout(f"there is no rollout folder in {root}", where=str(root), hint=hint)
    return found


def require_entries(folders: Sequence[str]) -> None:
    """Raise InvalidRollout if prefect.yaml is here and has no entry for one of the folders."""
    path = Path(FILE)
    missing = missing_entries(path.read_text(encoding="utf-8"), folders) if path.is_file() else ()
    if missing:
        message = f"has no entry for {', '.join(missing)}, so there will be no Prefect deployment"
        problem = Problem(file=FILE, field="deployments", message=message)
        hint = f"write it with `{COMMAND}`, then run `prefect deploy --all`"
        raise InvalidRollout("not every folder has a Prefect deployment", [problem], where=str(path), hint=hint)


def load_offline(folders: Sequence[str]) -> tuple[RolloutSpec, ...]:
    """Return the rollouts of the folders without the network; raises InvalidRollout."""
    # Otherwise importing the SDK fetches the metadata of the cloud, azure/ai/ml/_azure_environments.py.
    for variable in ("ARM_CLOUD_METADATA_URL", "AZUREML_CURRENT_CLOUD"):
        os.environ.pop(variable, None)
    from rollway.azure.folder import load_all_folders

    return load_all_folders(folders)


def starter_of(
    folder: Path,
    model: str,
    *,
    script: Path | None = None,
    is_mlflow: bool = False,
    conda: Path | None = None,
    request: Path | None = None,
    instance_type: str = INSTANCE_TYPE,
    instance_count: int = 1,
) -> Starter:
    """Return the choices of a new folder; raises ConfigurationError if a file is missing or two do not fit together."""
    if is_mlflow and (script or conda):
        raise ConfigurationError(
            "--mlflow goes without --script and --conda",
            where="command line",
            why="Azure makes script and environment from the MLflow model",
            hint="leave --mlflow out to serve the model with a script of your own",
        )
    for option, path in (("--script", script), ("--conda", conda), ("--request", request)):
        if path is not None and not path.is_file():
            raise ConfigurationError(
                f"there is no file {path}", where=f"command line: {option}", hint="correct the path"
            )
    if script is not None and folder.absolute().is_relative_to(script.parent.absolute()):
        raise ConfigurationError(
            f"the folder of {script} cannot be uploaded",
            where="command line: --script",
            why=f"it holds {folder.parent}, and all other files of this project",
            hint=f"move the script to a folder of its own, such as scoring/{folder.name}/",
        )
    reference, path = _model_of(model)
    schema = folder.parent / SCHEMA
    return Starter(
        name=folder.name,
        model=reference,
        model_path=_from(folder, path),
        code=_from(folder, script.parent if script else None),
        script=script.name if script else "score.py",
        is_mlflow=is_mlflow,
        conda_file=_from(folder, conda),
        request_file=_from(folder, request),
        instance_type=instance_type,
        instance_count=instance_count,
        schema_file=_from(folder, schema if schema.is_file() else None),
    )


def ask_choices(name: str, ask: Ask) -> tuple[str, Path | None, bool, str]:
    """Return the answers of a person: model, scoring script, whether it is an MLflow model, and instance type."""
    model = ask("Model: name:version, name@latest, or a local file or folder", f"{name}@latest")
    script = ask(f"Scoring script: a file, `{MLFLOW}` for an MLflow model without one, or `new`", "new")
    instance_type = ask("Instance type", INSTANCE_TYPE)
    return model, None if script in ("new", MLFLOW) else Path(script), script == MLFLOW, instance_type


def _model_of(model: str) -> tuple[str | None, Path | None]:
    """Return the reference of a registered model, or the path of a local one; a file that is there comes first."""
    path = Path(model)
    if path.exists():
        return None, path
    if (reference := as_reference(model)) is not None:
        return reference, None
    raise ConfigurationError(
        f"{model!r} is neither a registered model nor a local file or folder",
        where="command line: --model",
        hint=f"write {path.stem}:1 or {path.stem}@latest for a registered one, or correct the path",
    )


def _from(folder: Path, path: Path | None) -> str | None:
    return None if path is None else Path(os.path.relpath(path, folder)).as_posix()


def _add_entry(name: str) -> None:
    if not Path(FILE).is_file():  # Rollway as a package, without Prefect deployments
        return
    try:
        say(str(update_prefect_yaml()))
    except ConfigurationError as error:
        say(f"{FILE} has no entry for {name}: {error}")


def _ask(question: str, default: str) -> str:
    from rich.console import Console
    from rich.prompt import Prompt

    return Prompt.ask(question, default=default, console=Console(stderr=True)).strip()
