"""Numbers with colons: text in rollout.yml, and what Azure's SDK reads in Azure's files."""

from pathlib import Path

import pytest
import yaml

from rollway.files.yaml_files import read_yaml
from rollway.spec import Problem

TEXT = "{a: 16:00, b: 1:30:00, c: 190:20:30.15, d: 16, e: 1.5, f: 0x10, g: 2026-01-02, h: a:b}"


@pytest.mark.parametrize("name", ["endpoint.yml", "deployment.yml"])
def test_azures_files_are_read_as_the_sdk_reads_them(tmp_path: Path, name: str) -> None:
    problems = list[Problem]()
    (tmp_path / name).write_text(TEXT)

    assert read_yaml(tmp_path / name, problems) == yaml.safe_load(TEXT)
    assert problems == []


def test_a_time_in_rollout_yml_is_text_and_all_else_is_as_before(tmp_path: Path) -> None:
    problems = list[Problem]()
    (tmp_path / "rollout.yml").write_text(TEXT)

    assert read_yaml(tmp_path / "rollout.yml", problems) == {
        **yaml.safe_load(TEXT),
        "a": "16:00",
        "b": "1:30:00",
        "c": "190:20:30.15",
    }
    assert problems == []
