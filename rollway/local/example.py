"""The example of the demo: a scikit-learn model of the progression of diabetes, in two versions."""

import asyncio
from pathlib import Path

import uv

from rollway.local.stack import Say, run_or_raise

ROLLOUT = "deployments/diabetes"
MODEL = "diabetes"
_SCRIPT = Path("scoring/diabetes/train.py")


def train(folder: Path, version: str, say: Say) -> Path:
    """Train a version in the script's own environment; return the model file."""
    say(f"training model version {version} with scikit-learn")
    output = folder / f"model-{version}"
    script = [str(_SCRIPT), "--version", version, "--output", str(output)]
    run_or_raise([uv.find_uv_bin(), "run", "--quiet", "--no-project", *script], hint="run it in a checkout of Rollway")
    return output / "model.joblib"


def register(model: Path, version: str, say: Say) -> None:
    """Register a model file in the workspace of the environment."""
    # Importing the SDK reads the environment, which is complete only now.
    from rollway.azure.assets import register_model
    from rollway.azure.session import open_session
    from rollway.settings import workspace_from_environment

    async def call() -> str:
        session = await open_session(workspace_from_environment())
        return str(await register_model(session, str(model), MODEL, version))

    say(f"registered model {asyncio.run(call())}")
