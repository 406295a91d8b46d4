"""The entries of prefect.yaml that come from the rollout folders."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rollway.errors import ConfigurationError
from rollway.prefect.yaml_entries import ENTRYPOINT, missing_entries, with_entries
from rollway.settings import known_rollouts
from rollway.spec import NAME_RULE

ROOT = Path(__file__).parents[3]
OWN = (ROOT / "prefect.yaml").read_text(encoding="utf-8")
NAMES = st.from_regex(NAME_RULE, fullmatch=True) | st.sampled_from(["yes", "null", "off"])


def entries_of(text: str) -> dict[str, dict[str, Any]]:
    """Return the Prefect deployments of rollouts by their name."""
    found: list[dict[str, Any]] = yaml.safe_load(text)["deployments"]
    return {one["name"]: one for one in found if one["entrypoint"] == ENTRYPOINT}


def test_the_file_of_the_project_is_the_one_that_its_folders_give() -> None:
    assert with_entries(OWN, known_rollouts(ROOT / "deployments")).text == OWN, "run `rollway prefect-yaml`"


@given(st.sets(NAMES, max_size=6))
def test_every_folder_has_its_entry_and_no_other_has_one(names: set[str]) -> None:
    made = with_entries(OWN, sorted(names))

    entries = entries_of(made.text)
    assert set(entries) == names
    assert set(made.added) == names - {"diabetes"}
    for name, entry in entries.items():
        assert entry["parameters"] == {"rollout": name}
        assert entry["tags"] == ["rollway", f"rollout:{name}"], "alerts find its runs by these tags"
    others = [one["name"] for one in yaml.safe_load(OWN)["deployments"] if one["entrypoint"] != ENTRYPOINT]
    assert [one["name"] for one in yaml.safe_load(made.text)["deployments"]][len(names) :] == others
    assert with_entries(made.text, sorted(names)) == made.model_copy(update={"added": (), "removed": ()})


def test_the_same_folders_in_any_order_of_time_give_the_same_file() -> None:
    at_once = with_entries(OWN, ["churn", "diabetes", "fraud"]).text

    first = with_entries(OWN, ["diabetes", "fraud"]).text
    assert with_entries(first, ["churn", "diabetes", "fraud"]).text == at_once


def test_what_a_person_added_to_an_entry_stays() -> None:
    own = "    # every morning\n    schedules:\n      - {cron: 0 6 * * *}\n\n"
    changed = OWN.replace("    parameters: {rollout: diabetes}\n", f"    parameters: {{rollout: diabetes}}\n{own}")

    made = with_entries(changed, ["aaa", "diabetes", "zzz"])

    assert own in made.text
    assert entries_of(made.text)["diabetes"]["schedules"] == [{"cron": "0 6 * * *"}]
    assert with_entries(made.text, ["diabetes"]).text == changed


def test_a_comment_above_an_entry_goes_with_it() -> None:
    changed = OWN.replace("  - name: diabetes\n", "  # of team blue\n  - name: diabetes\n")

    assert "  # of team blue\n  - name: diabetes\n" in with_entries(changed, ["aaa", "diabetes"]).text
    assert "team blue" not in with_entries(changed, ["aaa"]).text


def test_a_second_entry_for_a_folder_stays_beside_the_first() -> None:
    second = "  - {name: nightly, <<: *rollout, parameters: {rollout: diabetes, force: true}}\n"
    changed = OWN.replace("  # </folders>\n", f"{second}  # </folders>\n")

    made = with_entries(changed, ["diabetes", "fraud"])

    assert list(entries_of(made.text)) == ["diabetes", "nightly", "fraud"]
    assert made.removed == ()


def test_an_entry_outside_of_the_marks_counts_and_is_left_alone() -> None:
    entry = "  - {name: churn, <<: *rollout, parameters: {rollout: churn}}\n"
    changed = OWN + entry

    assert missing_entries(changed, ["churn", "diabetes"]) == ()
    assert with_entries(changed, ["churn", "diabetes"]).text == changed
    assert entry in with_entries(changed, []).text


def test_the_entry_of_a_folder_that_is_gone_is_removed() -> None:
    made = with_entries(with_entries(OWN, ["churn", "diabetes"]).text, ["diabetes"])

    assert made.text == OWN
    assert str(made) == "prefect.yaml: removed churn"


def test_a_folder_without_an_entry_is_named() -> None:
    assert missing_entries(OWN, ["churn", "diabetes", "fraud"]) == ("churn", "fraud")
    assert str(with_entries(OWN, ["churn", "diabetes", "fraud"])) == "prefect.yaml: added churn, fraud"
    assert str(with_entries(OWN, ["diabetes"])) == "prefect.yaml: has an entry for each folder"


@pytest.mark.parametrize(
    ("old", "new", "why", "hint"),
    [
        ("# <folders>", "#", "the place of the folders' entries is not marked", "put `# <folders>` and `# </folders>`"),
        ("# </folders>", "# <folders>", "the place of the folders' entries is not marked", "put `# <folders>`"),
        ("rollout: &rollout", "rollout: &another", "found undefined alias 'rollout'", "the anchor &rollout"),
        ("flows/deploy.py", "flows/other.py", "the entries of churn, diabetes do not run", "correct the anchor"),
        ("deployments:\n", "deployments: [\n", "expected the node content", "correct it"),
    ],
)
def test_a_file_that_cannot_be_written_says_what_to_do(old: str, new: str, why: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        with_entries(OWN.replace(old, new, 1), ["churn", "diabetes"])

    assert raised.value.what == "prefect.yaml cannot be written"
    assert why in str(raised.value.why)
    assert hint in str(raised.value.hint)
