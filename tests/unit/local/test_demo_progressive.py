"""The folder of the demo of progressive rollouts is a valid one."""

from pathlib import Path

import pytest

from rollway.azure.folder import load_folder
from rollway.local.demo_progressive import STEPS, progressive_copy

ROOT = Path(__file__).parents[3]


def test_the_demos_folder_describes_a_progressive_rollout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)

    spec = load_folder(progressive_copy(tmp_path))

    assert spec.rollout.progression is not None
    assert [step.weight for step in spec.rollout.progression.steps] == [step["weight"] for step in STEPS]
    assert Path(spec.folder).is_relative_to(tmp_path)
