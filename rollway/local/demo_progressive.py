"""The demo of progressive rollouts: a good version passes all steps, a bad one is caught at its first."""

import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import yaml

from rollway.errors import CanaryFailed
from rollway.local.example import ROLLOUT, deploy, deploy_command, register, running_example
from rollway.local.stack import Say, gone_wrong
from rollway.reports.svg import svgs_in

STEPS = [{"weight": 10, "bake_seconds": 9}, {"weight": 50, "bake_seconds": 9}, {"weight": 100, "bake_seconds": 9}]
JUDGE = {"source": "probes", "minimum_requests": 150, "probes": {"requests_per_second": 20}}
ONE_IN = 12  # requests that the bad version does not answer: 8 %
_BAD_SCRIPT = f'''

_answer, _count = run, 0


def run(raw_data):
    """Fail one request in {ONE_IN}."""
    global _count
    _count += 1
    if _count % {ONE_IN} == 0:
        raise RuntimeError("a bad version")
    return _answer(raw_data)
'''


def run(folder: Path, say: Say) -> None:
    """Roll out a first version, then a good one in steps and a bad one in steps, while a client keeps scoring."""
    started = time.monotonic()
    with running_example(folder, say) as (stack, models, variables):
        from rollway.local.load import Load  # importing the SDK reads the variables

        rollout = progressive_copy(folder)
        register(models["1"], "1", say)
        deploy(rollout, variables, say, "the first version has nothing to be compared with: all traffic at once")
        with Load(rollout) as load:
            register(models["2"], "2", say)
            weights = ", ".join(f"{step['weight']} %" for step in STEPS)
            deploy(rollout, variables, say, f"a good version, in steps of {weights}")
            register(models["2"], "3", say)
            _make_bad(rollout)
            say(f"a bad version, which fails one request in {ONE_IN}: rollway deploy {rollout}")
            code = subprocess.run(deploy_command(rollout), env=variables, check=False).returncode
            if code != CanaryFailed.exit_code:
                raise gone_wrong(f"the bad version was not caught: exit code {code}")
        failed = dict(load.failed_by)
        print(f"the client made {load.requests} requests; failed, by online deployment: {json.dumps(failed)}")
        if len(failed) > 1:
            raise gone_wrong("more online deployments than the bad version failed", load.errors)
        print(f"the pictures of the bad version: {', '.join(map(str, _save_pictures(stack.ui_url, folder)))}")
    print(f"done in {time.monotonic() - started:.0f} s")


def _save_pictures(ui_url: str, folder: Path) -> list[Path]:
    """Save the pictures of the last report of progress; return their files."""
    query = json.dumps({"artifacts": {"key": {"any_": [f"progress-{Path(ROLLOUT).name}"]}}}).encode()
    url = f"{ui_url}/api/artifacts/latest/filter"
    request = urllib.request.Request(url, query, {"Content-Type": "application/json"})  # noqa: S310 (loopback)
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        (artifact,) = json.load(response)
    files = []
    for number, picture in enumerate(svgs_in(artifact["data"]), start=1):
        file = folder / f"progress-{number}.svg"
        file.write_text(picture, encoding="utf-8")
        files.append(file)
    return files


def progressive_copy(folder: Path) -> str:
    """Return a copy of the example's folder that rolls out in short steps."""
    copy = folder / ROLLOUT
    shutil.copytree(ROLLOUT, copy)
    shutil.copytree("scoring", folder / "scoring")
    file = copy / "rollout.yml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content |= {"strategy": "progressive", "steps": STEPS, "judge": JUDGE}
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(copy)


def _make_bad(rollout: str) -> None:
    script = Path(rollout).parents[1] / "scoring" / "diabetes" / "score.py"
    script.write_text(script.read_text(encoding="utf-8") + _BAD_SCRIPT, encoding="utf-8")
