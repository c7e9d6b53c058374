"""A whole experiment: data, training, the final test, the report.

`alexnet_jax.train` is `train` here; the loop itself is `training/train.py`.
"""

from alexnet_jax.experiment.evaluation import evaluate_ensemble, evaluate_run
from alexnet_jax.experiment.final import FinalTest, final_test
from alexnet_jax.experiment.report import CARD, card_beside, write_card, write_run_report
from alexnet_jax.experiment.run import train

__all__ = [
    "CARD",
    "FinalTest",
    "card_beside",
    "evaluate_ensemble",
    "evaluate_run",
    "final_test",
    "train",
    "write_card",
    "write_run_report",
]
