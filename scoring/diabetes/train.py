# /// script
# requires-python = ">=3.11"
# dependencies = ["joblib==1.6.0", "numpy==2.4.6", "scikit-learn==1.9.1"]
# ///
"""Train the diabetes model on scikit-learn's data: `uv run train.py --version 2 --output outputs/2`.

Version 1 averages the nearest patients; version 2 is a linear model. The script writes `model.joblib` and prints one
line with the score.
"""

import argparse
from pathlib import Path

import joblib
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

SEED = 20


def build(version: int) -> Pipeline:
    """Return an untrained model of version 1 or 2."""
    regressor = KNeighborsRegressor(n_neighbors=15) if version == 1 else Ridge(alpha=20.0)
    return make_pipeline(StandardScaler(), regressor)


def main() -> None:
    """Train the model, save it and print its score."""
    parser = argparse.ArgumentParser(description="Train the diabetes model.")
    parser.add_argument("--version", type=int, choices=(1, 2), default=1)
    parser.add_argument("--output", type=Path, default=Path("outputs"), help="folder for model.joblib")
    arguments = parser.parse_args()

    # Not scaled, because clients send age in years and blood pressure in mm Hg.
    features, target = load_diabetes(return_X_y=True, scaled=False)
    model = build(arguments.version)
    scores = cross_val_score(model, features, target, cv=KFold(5, shuffle=True, random_state=SEED), scoring="r2")
    model.fit(features, target)

    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "model.joblib"
    joblib.dump(model, path, compress=3)
    print(f"version {arguments.version}: R2 {scores.mean():.3f} +/- {scores.std():.3f} (5 folds), saved to {path}")


if __name__ == "__main__":
    main()
