"""Great Expectations makes a configuration where ``ge_private.py`` finds it."""

from __future__ import annotations

import tomllib
from importlib.metadata import version

import pytest
from great_expectations.expectations.core.expect_column_values_to_not_be_null import (
    ExpectColumnValuesToNotBeNull,
)
from great_expectations.expectations.expectation import Expectation
from packaging.requirements import Requirement

from tasks.ingest.gate.ge_private import configurations_kept
from tests.builders.pipelines import ROOT

pytestmark = pytest.mark.slow  # GE takes seconds to import


def make_expectation() -> Expectation:
    return ExpectColumnValuesToNotBeNull(column="load_mw")


def test_a_configuration_is_made_once_for_each_expectation_and_is_the_same() -> None:
    """A canary: where GE makes it elsewhere, an evaluation takes longer and nothing else."""
    before = vars(Expectation)["configuration"]
    one, other = make_expectation(), make_expectation()
    assert one.configuration is not one.configuration  # else there is nothing left to do here
    with configurations_kept():
        assert one.configuration is one.configuration
        assert one.configuration is not other.configuration
        kept = one.configuration
    assert kept.to_json_dict() == one.configuration.to_json_dict()
    assert vars(Expectation)["configuration"] is before


def test_it_is_as_before_also_after_an_evaluation_that_failed() -> None:
    before = vars(Expectation)["configuration"]
    with pytest.raises(ZeroDivisionError), configurations_kept():
        _ = 1 / 0
    assert vars(Expectation)["configuration"] is before


@pytest.mark.parametrize("name", ["great-expectations", "kagglesdk"])
def test_libraries_whose_inner_parts_are_used_are_capped_at_what_was_tried(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    texts = [*project["dependencies"], *project["optional-dependencies"]["kaggle"]]
    (found,) = (each for each in map(Requirement, texts) if each.name == name)
    assert any(each.operator == "<" for each in found.specifier)
    assert found.specifier.contains(version(name))
