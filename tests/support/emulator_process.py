"""The emulator in a process of its own, as `rollway.emulator.testing` gives it to everybody."""

from pathlib import Path

from rollway.emulator.testing import EmulatorProcess, own_environment, read_env, running_emulator

REPOSITORY = Path(__file__).parents[2]

__all__ = ["REPOSITORY", "EmulatorProcess", "own_environment", "read_env", "running_emulator"]
