"""kill -9 at random moments leaves no half of anything; `tools/faults.py` has the same with more kills."""

import os
import runpy
from pathlib import Path

import pytest

pytestmark = [pytest.mark.skipif(os.name == "nt", reason="SIGKILL"), pytest.mark.backend_free]
FAULTS = runpy.run_path(str(Path(__file__).resolve().parents[1] / "tools" / "faults.py"))


def test_writing_killed_20_times_leaves_whole_versions_alone(tmp_path):
    counts = FAULTS["writing"](tmp_path, kills=20)
    assert counts["in the middle of a version"] > 0
    assert counts["whole versions"] > 20


def test_training_killed_twice_goes_on_after_the_last_whole_epoch(tmp_path):
    assert FAULTS["training"](tmp_path, kills=2, epochs=20, seconds=12)["epochs lost by one kill"] <= 1
