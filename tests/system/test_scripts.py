"""Programs of other people that use the library."""

import os
import subprocess
import sys

import compiling
import numpy as np
import PIL.Image
import pytest

PROGRAM = """
import dataclasses, sys
from pathlib import Path
import alexnet_jax
print("begun", flush=True)
root = Path(sys.argv[1])
config = alexnet_jax.PRESETS["digits"]
data = dataclasses.replace(
    config.data, name="photos", source=str(root / "photos"), source_kind="folder",
    validation_split="validation", validation_fraction=0.25,
)
config = dataclasses.replace(config, data=data, batch_size=8, epochs=1, workers=2)
state = alexnet_jax.train(config, root / "run", root / "data")
print("ended at", int(state.step))
"""


@pytest.mark.slow
def test_a_script_trains_with_worker_processes_without_asking_whether_it_is_main(tmp_path):
    random = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(20):
            pixels = random.integers(0, 256, (32, 32, 3), np.uint8)
            PIL.Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.png")
    script = tmp_path / "script.py"
    script.write_text(PROGRAM)
    words = [sys.executable, script, tmp_path]
    sooner = os.environ | compiling.SOONER
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, env=sooner)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("begun") == 1 and "ended at 4" in done.stdout
