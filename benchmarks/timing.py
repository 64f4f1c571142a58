"""What the benchmarks share: sides that take turns, so that a noisy machine is noisy for all, and their results."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def take_turns(sides, rounds=20, warmup=2):
    """{"side": {"min": s, "median": s}} for functions of no argument that compute to the end, called in turn."""
    times = {name: [] for name in sides}
    for turn in range(rounds + warmup):
        for name, function in sides.items():
            start = time.perf_counter()
            measured = function()
            elapsed = time.perf_counter() - start if measured is None else measured  # a side may measure itself
            if turn >= warmup:
                times[name].append(elapsed)
    return {name: {"min": min(found), "median": statistics.median(found)} for name, found in times.items()}


def fresh(code, *arguments, python=sys.executable):
    """Returns what `code` prints last, as JSON, in a new process."""
    command = [python, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    if done.returncode:
        raise RuntimeError(f"a measured process failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def write(name, results):
    """Write and print `benchmarks/results/<name>.json`."""
    RESULTS.mkdir(exist_ok=True)
    results = {"device": f"{platform.machine()}, {os.cpu_count()} cores", "date": time.strftime("%Y-%m-%d"), **results}
    (RESULTS / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))
