"""The logs of containers: the exception that tells most, whatever the servers write around it."""

from pathlib import Path

import pytest

from rollway.errors import CouldNotMeasure, ProvisioningFailed
from rollway.rollout.container_log import MOST_CHARACTERS, last_exception, remedy, with_log

LOGS = Path(__file__).parents[2] / "fixtures" / "container_logs"
FRAMES = 'Traceback (most recent call last):\n  File "score.py", line 5, in init\n    load()\n'


@pytest.mark.parametrize(
    ("log", "exception"),
    [
        ("init_raises", "RuntimeError: broken_init: the weights are from another planet"),
        ("run_raises", "ValueError: raises: this request cannot be scored"),
        ("import_fails", "ModuleNotFoundError: No module named 'lightgbm'"),
        ("no_run", "azureml_inference_server_http.server.user_script.UserScriptError: User script at "),
        ("no_server", "ImportError: No module named azureml_inference_server_http"),
        (
            "mlflow",
            "mlflow.exceptions.MlflowException: Failed to enforce schema of data ' y 0 1' with schema '['x': double "
            "(required)]'. Error: Model is missing inputs ['x']. Note that there were extra inputs: ['y']",
        ),
        ("gunicorn", "NameError: name 'moddel' is not defined"),
    ],
)
def test_the_scripts_own_exception_is_found_in_a_real_log(log: str, exception: str) -> None:
    found = last_exception((LOGS / f"{log}.log").read_text())

    assert found is not None
    assert found.startswith(exception) if log == "no_run" else found == exception


@pytest.mark.parametrize(
    ("log", "exception"),
    [
        ("", None),
        ("starting\nall is well\n", None),
        ("Error: 3\n  ValueError: indented\nstarting", None),
        (f"{FRAMES}KeyError: 'age'", "KeyError: 'age'"),
        (f"{FRAMES}AssertionError", "AssertionError"),
        (f"{FRAMES}weights.NotThere: v3", "weights.NotThere: v3"),
        (f"{FRAMES}KeyError: 'age'\n2026-01-01 00:00:00 I [7] restarting\n{FRAMES}OSError: full", "OSError: full"),
        (f"{FRAMES}SystemExit: 3", "SystemExit: 3"),
        (f"{FRAMES}KeyError: 'age'\n\n{FRAMES}SystemExit: 3", "KeyError: 'age'"),
        (
            f"{FRAMES}FileNotFoundError: a\n\nDuring handling of the above exception, another exception occurred:\n\n"
            f"{FRAMES}ValueError: no weights",
            "ValueError: no weights",
        ),
        (f"{FRAMES}ValueError: two\nlines\n\nmore", "ValueError: two lines"),
        (
            "/usr/bin/python: No module named azureml_inference_server_http",
            "No module named azureml_inference_server_http",
        ),
        (
            "[2026-01-01 00:00:00 +0000] [1] [ERROR] Worker (pid:72) was sent SIGKILL! Perhaps out of memory?",
            "Worker (pid:72) was sent SIGKILL! Perhaps out of memory?",
        ),
        ("cut off, without its frames\nValueError: no weights", "ValueError: no weights"),
        (
            "  File \"score.py\", line 3\n    def init(\n            ^\nSyntaxError: '(' was never closed",
            "SyntaxError: '(' was never closed",
        ),
    ],
)
def test_the_last_exception_is_the_one_that_counts(log: str, exception: str | None) -> None:
    assert last_exception(log) == exception


def test_an_exception_has_one_short_line_and_no_secret() -> None:
    found = last_exception(f"{FRAMES}ValueError: \x1b[31mpassword=hunter22-abc {'x' * 1000}")

    assert found is not None
    assert found.startswith("ValueError: password=*** xxx")
    assert (len(found), found[-1]) == (MOST_CHARACTERS, "…")


@pytest.mark.parametrize(
    ("exception", "hint"),
    [
        ("ModuleNotFoundError: No module named 'lightgbm'", "add the package that has lightgbm to the environment's"),
        ("ModuleNotFoundError: No module named 'sklearn.svm'", "add the package that has sklearn to"),
        ("ImportError: No module named azureml_inference_server_http", "add azureml-inference-server-http to"),
        ("No module named azureml_inference_server_http", "add azureml-inference-server-http to"),
        ("ImportError: cannot import name 'x' from 'y'", "another version of it"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'm.pkl'", "AZUREML_MODEL_DIR"),
        ("MemoryError", "more memory"),
        ("Worker (pid:72) was sent SIGKILL! Perhaps out of memory?", "more memory"),
    ],
)
def test_an_exception_with_a_known_remedy_says_what_to_do(exception: str, hint: str) -> None:
    assert hint in str(remedy(exception))


def test_another_exception_has_no_remedy_of_its_own() -> None:
    assert remedy("ValueError: no weights") is None


def test_the_exception_comes_first_and_the_log_stays_out_of_the_text() -> None:
    log = (LOGS / "import_fails.log").read_text()
    error = with_log(ProvisioningFailed("the online deployment 'x' did not become ready", hint="read the log"), log)

    assert str(error).splitlines()[0] == (
        "ModuleNotFoundError: No module named 'lightgbm' (the online deployment 'x' did not become ready)"
    )
    assert "add the package that has lightgbm" in str(error.hint)
    assert "Traceback" not in str(error)
    assert error.with_log == f"{error}\n\n{log.rstrip()}"


def test_without_an_exception_the_error_stays_as_it_is() -> None:
    error = with_log(ProvisioningFailed("it failed", hint="read the log"), "all is well")

    assert (error.what, error.hint, error.log) == ("it failed", "read the log", "all is well")


def test_an_exception_that_is_not_the_cause_is_only_in_the_log() -> None:
    error = with_log(CouldNotMeasure("it failed", hint="again"), f"{FRAMES}KeyError: 'age'", is_cause=False)

    assert (error.what, error.hint) == ("it failed", "again")
    assert error.with_log.endswith("KeyError: 'age'")
