"""What goes with a model to MLflow: its requirements are what it imports, and no more."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import packages_distributions, requires

import pytest

from tasks.track.logged_folder import REQUIRED, signature_of
from tests.builders.pipelines import ROOT, clean_environment, first_run, small_data

CODE = """
import builtins, json, sys
plain, found = builtins.__import__, set()

def noted(name, globals=None, locals=None, fromlist=(), level=0):
    if level == 0 and (globals or {}).get("__name__", "").partition(".")[0] == "gridcast":
        found.add(name.partition(".")[0])
    return plain(name, globals, locals, fromlist, level)

builtins.__import__ = noted
import pandas as pd
import gridcast

model = gridcast.load_model(sys.argv[1])
loads = pd.read_csv(sys.argv[2]).sort_values("Datetime").tail(500)
times = pd.to_datetime(loads["Datetime"])
frame = pd.DataFrame({"region": "AEP", "timestamp": times, "load_mw": loads["AEP_MW"]})
assert len(model.forecast(frame)) == 48
print(json.dumps(sorted(found - set(sys.stdlib_module_names) - {"gridcast"})))
"""


@pytest.mark.prefect
@pytest.mark.slow
def test_a_served_model_requires_what_it_imports_and_mlflow() -> None:
    (folder,) = (first_run().artifacts / "models").glob("mean-seed0-*")
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(folder), str(small_data() / "AEP_hourly.csv")],
        cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    of_module = packages_distributions()
    imported = {of_module[name][0].replace("_", "-") for name in json.loads(done.stdout)}
    assert {"torch", "pandas", "holidays"} <= imported
    assert imported - set(REQUIRED) <= brought_along(set(REQUIRED))
    assert set(REQUIRED) - imported == {"mlflow"}


def brought_along(names: set[str]) -> set[str]:
    """What these packages require themselves, as they are called there."""
    lines = [line for name in names for line in requires(name) or [] if "extra ==" not in line]
    return {re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines}


def test_times_go_in_as_text_and_quantiles_come_out_as_numbers() -> None:
    signature = signature_of(["q05", "q95"])
    assert signature.inputs.input_types_dict().keys() == {"region", "timestamp", "load_mw"}
    assert [str(each.name) for each in signature.inputs.input_types()] == [
        "string", "string", "double",
    ]  # fmt: skip
    made = signature.outputs.input_names()
    assert made[:5] == ["region", "issue_time", "timestamp", "lead", "load_mw"]
    assert {"q05", "q95", "fallback", "model_sha256"} <= set(made)
    assert {each.name: each.default for each in signature.params.params} == {
        "as_of": "", "horizon": 0,
    }  # fmt: skip
