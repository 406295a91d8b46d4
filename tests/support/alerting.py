"""Files and texts of the tests of alerts."""

from pathlib import Path
from typing import Any

from tests.support.receiver import Delivery
from tests.support.world import Rollout

ROOT = Path(__file__).parents[2]


def documented_block(url: str, token: str) -> str:
    """The code of docs/alerts.md that creates a webhook, with another address and token."""
    code = (ROOT / "docs" / "alerts.md").read_text().partition("```python\n")[2].partition("```")[0]
    assert "https://hooks.example.com/rollway" in code
    return code.replace("https://hooks.example.com/rollway", url).replace("the-token", token)


def prefect_file(folder: Path, rollouts: dict[str, Rollout]) -> dict[str, Any]:
    """Return a prefect.yaml with these rollouts and the check of silent runs."""
    env = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
    work_pool = {"name": "rollway", "job_variables": {"env": env}}
    return {
        "pull": [{"prefect.deployments.steps.set_working_directory": {"directory": str(folder)}}],
        "deployments": [
            {
                "name": name,
                "entrypoint": "flows/deploy.py:deploy_endpoint",
                "tags": ["rollway", f"rollout:{name}"],
                "parameters": {"rollout": name},
                "work_pool": work_pool,
            }
            for name in rollouts
        ]
        + [
            {
                "name": "check-silent-run",
                "entrypoint": "flows/reap.py:check_silent_run",
                "work_pool": work_pool,
            }
        ],
    }


def lines(alert: Delivery) -> dict[str, str]:
    """The labelled lines of an alert; a value ends where the next label begins."""
    found: dict[str, str] = {}
    label = ""
    for line in alert.body.splitlines():
        name, colon, value = line.partition(": ")
        if colon and not line.startswith(" "):
            label, found[name] = name, value
        elif label:
            found[label] += f"\n{line}"
    return found
