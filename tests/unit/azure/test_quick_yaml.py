"""The SDK reads and writes YAML with the C library, and the same as with the Python one."""

import importlib
import io
from collections import OrderedDict
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import rollway.azure.folder  # noqa: F401 (makes the SDK quick)
from rollway.azure import quick_yaml

utils: Any = importlib.import_module("azure.ai.ml._utils.utils")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def test_the_sdk_parses_with_the_c_library() -> None:
    assert utils.yaml.safe_load is quick_yaml.safe_load
    assert utils.yaml.Dumper is yaml.CDumper


@given(VALUES)
def test_a_text_means_the_same_to_both_parsers(value: Any) -> None:
    for text in (yaml.safe_dump(value), yaml.safe_dump(value, default_flow_style=True, allow_unicode=True)):
        assert quick_yaml.safe_load(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    "text",
    ["a: 08", "a: 1_000", "on: yes", "a: 2020-01-01", "a: &x {b: 1}\nc: *x", "a: {<<: {b: 1}, c: 0x1F}", "a: 1:30"],
)
def test_the_peculiarities_of_yaml_1_1_are_the_same(text: str) -> None:
    assert quick_yaml.safe_load(io.StringIO(text)) == yaml.safe_load(text)


@given(st.dictionaries(st.text(), VALUES))
def test_what_the_sdk_writes_means_the_same(value: dict[str, Any]) -> None:
    text = utils.dump_yaml(OrderedDict(value), default_flow_style=False)

    assert yaml.safe_load(text) == value


def test_a_fault_is_the_same_error() -> None:
    with pytest.raises(yaml.YAMLError):
        utils.yaml.safe_load("a: [")
