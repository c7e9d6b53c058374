"""Warns when a run learns nothing."""

from alexnet_jax.config import Config
from alexnet_jax.display import Display
from alexnet_jax.evaluation.guessing import STEPS, Guess, Watch
from alexnet_jax.training.schedule import CurrentRates


class LearningWatch:
    """Warns once that nothing is learnt, and says once that this is over."""

    def __init__(self, config: Config, guess: Guess, display: Display):
        self._config, self._display = config, display
        self._watch = Watch(guess)

    def add(self, step: int, loss: float, rates: CurrentRates) -> None:
        """Counts the mean loss of the steps since the last call, in nats."""
        watch, was_stuck = self._watch, self._watch.stuck
        watch.add(step, loss, self._config.log_every_steps)
        if watch.stuck == was_stuck or len(watch.stretches) > 1:
            return
        if watch.stuck:
            self._display.warn(
                f"the network is not learning yet: the loss of the last {STEPS} steps is that of "
                f"guessing ({loss:.3f}); {what_helps(self._config, rates)}"
            )
        else:
            self._display.warn(f"the network is learning now: the loss is {loss:.3f}")


def what_helps(config: Config, rates: CurrentRates) -> str:
    phases = config.schedule.phases[:1] if config.schedule.kind == "step" else ()
    set_there = any(p.epoch <= 1 and p.learning_rate is not None for p in phases)
    option = "--schedule.phases.0.learning-rate" if set_there else "--optimizer.learning-rate"
    larger = "--network original (larger initial weights) or " * (config.network == "paper")
    return (
        f"if it stays so, start in another --workdir with {larger}another rate ({option}, now "
        f"{rates.weights:g}: a third or three times of it)"
    )
