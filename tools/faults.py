"""Kills training, and the writing of artefacts, at random moments: python tools/faults.py training|writing [--kills 20]

Whatever the moment, every version folder must be whole; training must continue with --resume and lose no epoch but the
one that was running. Processes and SIGKILL are real; every figure that is printed was counted.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tfflows.zoo import store

ROOT = Path(__file__).resolve().parents[1]
RECIPE = """
name = "killed"
description = "Small enough for an epoch to take a moment."
data = { dataset = "digits", shape = [8, 8, 1], num_values = 17, source_values = 17 }
train = { epochs = EPOCHS, batch_size = 32, ema = 0.9 }
[model]
family = "nice"
arguments = { num_couplings = 2, hidden = [16] }
"""
WRITER = """
import os, pathlib, sys
from tfflows.zoo import store

def write(folder):
    for name in "abcd":
        (folder / name).write_bytes(os.urandom(300_000))

# Each line asks for another process that writes: a fork, since importing takes longer than all of the writing.
for _ in sys.stdin:
    if process := os.fork():
        os.waitpid(process, 0)
        print("killed", flush=True)
    else:
        print(os.getpid(), flush=True)
        while True:
            store.publish(pathlib.Path(sys.argv[1]), write)
"""


def writing(folder, kills=20, seed=0):
    """Kills a process that publishes one version after another; returns the counts if every version is whole."""
    draw, half_written = random.Random(seed), 0
    command, pipes = [sys.executable, "-c", WRITER, folder], {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as parent:
        for _ in range(kills):
            print(file=parent.stdin, flush=True)
            writer = int(parent.stdout.readline())
            time.sleep(draw.uniform(0, 0.2))
            os.kill(writer, signal.SIGKILL)
            parent.stdout.readline()
            half_written += (folder / store.PARTIAL).exists()
            verify(folder)
    last = store.publish(folder, lambda partial: (partial / "a").write_text("after all kills"))
    verify(folder)
    if (folder / store.PARTIAL).exists() or int(last.name) != len(store.versions(folder)):
        raise AssertionError(f"{folder} has something half-written, or a number without a version")
    return {"kills": kills, "in the middle of a version": half_written, "whole versions": int(last.name), "corrupt": 0}


def training(folder, kills=20, epochs=200, seconds=20.0, seed=0):
    """Kills `tfflows train --resume` within `seconds` of its start, again and again, then lets it end; the counts."""
    draw, kept, published, lost, in_training = random.Random(seed), 0, 0, 0, 0
    recipe, parent = folder / "killed.toml", folder / "killed"
    recipe.write_text(RECIPE.replace("EPOCHS", str(epochs)))
    options = ["--resume", "--limit", "96", "--output", str(folder)]
    command = [sys.executable, "-m", "tfflows", "train", str(recipe), *options]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    for _ in range(kills):
        with tempfile.TemporaryFile("w+") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
            try:
                process.wait(draw.uniform(0, seconds))
            except subprocess.TimeoutExpired:
                process.kill()
            if process.wait() not in (0, -signal.SIGKILL):
                log.seek(0)
                raise AssertionError(f"training ended by itself: {log.read()[-1000:]}")
            log.seek(0)
            begun = [int(epoch) for epoch in re.findall(r"epoch (\d+)/", log.read())]
        verify(parent)
        verify(parent / ".training")
        before, kept = kept, max(store.versions(parent / ".training"), default=0)
        before_published, published = published, len(store.versions(parent))
        if published > before_published:  # all epochs are in the new version, whether or not the process could end
            continue
        if begun:
            in_training += 1
            if begun[0] != before + 1:
                raise AssertionError(f"epoch {before} was kept and training went on with {begun[0]}")
            lost = max(lost, begun[-1] - kept)
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    verify(parent)
    history = json.loads((parent / str(store.versions(parent)[-1]) / "metrics.json").read_text())["history"]
    if [epoch["epoch"] for epoch in history] != list(range(1, epochs + 1)) or lost > 1:
        raise AssertionError(f"epochs were lost or repeated: up to {lost} by one kill")
    return {"kills": kills, "during an epoch": in_training, "epochs lost by one kill": lost, "corrupt": 0}


def verify(parent):
    for version in store.versions(parent):
        store.verify(parent / str(version))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("training", "writing"))
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        print({"training": training, "writing": writing}[options.what](Path(name), options.kills))
