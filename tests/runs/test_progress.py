"""The line of progress of a training, and a quiet run."""

import dataclasses

from alexnet_jax import workflow
from alexnet_jax.training.reporting import memory_in_use, progress_parts

VALUES = {"train/loss": 0.5, "train/top1_error": 0.25, "train/learning_rate": 0.01}


def test_a_line_tells_rate_memory_best_and_time_left():
    parts = progress_parts(10, 10, 1.0, VALUES, 1234.5, 125.0, best_error=0.125)
    memory = parts.pop(7)
    assert "  ".join(parts) == (
        "step 10/10  epoch 1.00  loss 0.5000  error 25.0 %  best 12.5 %  rate 0.01  "
        "1,234 images/s  ETA 2 min 05 s"
    )
    assert float(memory.removesuffix(" GB")) > 0.01
    assert memory_in_use() > 10**7


def test_a_quiet_run_tells_its_result_only(config, dataset, tmp_path, capfd):
    data = dataclasses.replace(config.data, stored_size=10)
    config = dataclasses.replace(config, epochs=2, data=data)
    workflow.train(config, tmp_path / "aloud", dataset.path.parent)
    aloud = capfd.readouterr().out
    assert "validation error" in aloud and ("(the best)" in aloud or "(best " in aloud)
    workflow.train(config, tmp_path / "quiet", dataset.path.parent, quiet=True)
    quiet = capfd.readouterr().out
    assert quiet.splitlines()[0].startswith("test error") and "step " not in quiet
    assert len(quiet.splitlines()) == 5
