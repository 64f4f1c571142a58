"""The examples for Slurm and Kubernetes in the documentation: run, with a stand-in for the cluster's programs."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tfflows.cli.parser import make_parser

yaml = pytest.importorskip("yaml")

pytestmark = pytest.mark.backend_free
PAGE = Path(__file__).parents[2] / "docs" / "tutorials" / "devices.md"


def example(language):
    """The text of the page's one example in a language."""
    (text,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return text


@pytest.fixture
def programs(tmp_path):
    """A folder with `tfflows`, which prints its arguments, and two of Slurm's programs, for two nodes."""
    for name, text in {
        "tfflows": 'printf "%s\\n" "$@"; echo end',
        "scontrol": "printf 'node1\\nnode2\\n'",
        "srun": 'for SLURM_PROCID in 0 1; do export SLURM_PROCID; "$@"; done',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def run(script, programs, **environment):
    """What the command line makes of each call of `tfflows` in a script."""
    path = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": "/home/me"}
    done = subprocess.run(["bash", "-c", script], env={**path, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    calls = [call.splitlines() for call in done.stdout.split("end\n")[:-1]]
    return [make_parser().parse_args(call) for call in calls]


def test_slurm_starts_one_process_on_each_node(programs):
    found = run(example("bash"), programs, SLURM_JOB_NODELIST="node[1-2]")
    assert [(each.hosts, each.host_index) for each in found] == [(("node1:1234", "node2:1234"), i) for i in (0, 1)]
    assert all(each.resume and each.output == "/home/me/runs" for each in found)


def test_the_pods_of_a_jobset_find_each_other(programs):
    jobset = yaml.safe_load(example("yaml"))
    name, (job,) = jobset["metadata"]["name"], jobset["spec"]["replicatedJobs"]
    work = job["template"]["spec"]
    (container,) = work["template"]["spec"]["containers"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert environment["KERAS_BACKEND"] == "jax"
    assert container["command"][:2] == ["bash", "-c"]
    (found,) = run(container["command"][2], programs, **environment, JOB_COMPLETION_INDEX="1")
    assert work["completionMode"] == "Indexed"
    # JobSet's names: <jobset>-<replicated job>-<index of the job>-<index of the pod>.<jobset>
    pods = tuple(f"{name}-{job['name']}-0-{index}.{name}:1234" for index in range(work["completions"]))
    assert (found.hosts, found.host_index) == (pods, 1)
    mounts = [each["mountPath"] for each in container["volumeMounts"]]
    assert found.resume
    assert found.output in mounts
