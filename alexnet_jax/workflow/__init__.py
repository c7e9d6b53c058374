"""A complete experiment: data, training, the final test, the report."""

from alexnet_jax.workflow.evaluation import evaluate_ensemble, evaluate_run
from alexnet_jax.workflow.final import FinalTest, final_test
from alexnet_jax.workflow.run import train
from alexnet_jax.workflow.run_report import CARD, card_path, write_card, write_run_report

__all__ = [
    "CARD",
    "FinalTest",
    "card_path",
    "evaluate_ensemble",
    "evaluate_run",
    "final_test",
    "train",
    "write_card",
    "write_run_report",
]
