"""Benchmarks that are given too little say what they take."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize(("script", "takes"), [("large.py", "{layers,scipy,cosine,pearson}"), ("naive.py", "clips")])
def test_a_benchmark_without_arguments_says_what_it_takes(script, takes):
    run = subprocess.run([sys.executable, BENCHMARKS / script], check=False, capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr.startswith(f"usage: {script} [-h] {takes}")
    assert "Traceback" not in run.stderr
