"""What a schedule does from here on, in words: for a run whose rates or length change midway."""

from alexnet_jax.config import Config, Phase
from alexnet_jax.training.schedule import CurrentRates, PlateauState, rates_at

_MOST = 4  # drops named; the schedules of 2012 have no more to come


def outlook(before: Config, now: Config, finished: float, plateau: PlateauState) -> list[str]:
    """Returns lines for the user: the rate in force, drops past and to come, how to have others.

    `finished` passes over the data may be fractional.
    """
    rates = rates_at(now.schedule, now.optimizer, finished, now.epochs, plateau)
    was = rates_at(before.schedule, before.optimizer, finished, before.epochs, plateau)
    force = f"after {finished:.4g} of {now.epochs:g} epochs the rate is {_described(now, rates)}"
    if was.weights != rates.weights:
        force += f"; it was {was.weights:.3g}"
    if now.schedule.kind == "plateau":
        lines = [force, *_plateau(now, finished, plateau)]
    else:
        lines = [force, _drops(now, finished), *_remedy(before, now, finished, rates)]
    return [f"{'schedule' if line is force else '':<12}{line}" for line in lines]


def _described(config: Config, rates: CurrentRates) -> str:
    factors = dict(config.optimizer.layer_learning_rate)
    own = {name: rates.weights * factor for name, factor in factors.items()} | rates.layers
    layers: dict[float, list[str]] = {}
    for name, rate in own.items():
        layers.setdefault(rate, []).append(name)
    text = f"{rates.weights:.3g} (biases {rates.biases:.3g})"
    for rate, names in layers.items():
        span = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        text += f", {span} {rate:.3g}" + " (frozen)" * (not rate)
    own_biases = ", ".join(f"{name} {rate:.3g}" for name, rate in rates.layer_biases.items())
    text += f", biases of {own_biases}" * bool(own_biases)
    return text + ", without colour noise" * (not rates.colour_noise)


def _drops(config: Config, finished: float) -> str:
    past, coming, beyond = [], [], []
    earlier = None
    for begin in [0.0, *_changes(config)]:
        rates = rates_at(config.schedule, config.optimizer, begin, config.epochs)
        text = f"{_described(config, rates)} from epoch {begin + 1:.4g}"
        last, earlier = earlier, rates
        if last is None or last == rates:
            continue
        place = beyond if begin >= config.epochs else past if begin <= finished + 1e-9 else coming
        place.append(text)
    left = f"{config.epochs - finished:.4g} epochs that remain"
    parts = [f"past: {_listed(past[-_MOST:])}"] if past else []
    if coming:
        parts.append(f"to come: {_listed(coming[:_MOST])}" + ", …" * (len(coming) > _MOST))
    else:
        parts.append(f"no change is to come: that rate is for all of the {left}")
    parts += [f"beyond the end: {_listed(beyond)}"] if beyond else []
    return "; ".join(parts)


def _changes(config: Config) -> list[float]:
    """Returns the finished epochs at which rates may change, in order, after the start."""
    schedule = config.schedule
    if schedule.kind == "step":
        places = {phase.epoch - 1 for phase in schedule.phases}
    elif schedule.kind == "dexp":
        stairs = (schedule.stairs, schedule.bias_stairs)
        places = {config.epochs * i / count for count in stairs for i in range(1, count)}
    else:
        places = set()
    return sorted(place for place in places if place > 0)


def _plateau(config: Config, finished: float, plateau: PlateauState) -> list[str]:
    schedule, optimizer = config.schedule, config.optimizer
    what = "the run ends" if plateau.drops >= schedule.drops else "the next comes"
    wait = max(0.0, schedule.patience_epochs - plateau.stalled_epochs)
    never = ", which cannot be before the end" * (finished + wait > config.epochs)
    lines = [
        f"past: {plateau.drops} of {schedule.drops} divisions by {schedule.factor:g}; {what} after "
        f"{wait:g} more epochs without a better validation error{never}"
    ]
    if plateau.drops:
        rate, bias = (
            value * schedule.factor
            for value in (optimizer.learning_rate, optimizer.bias_learning_rate)
        )
        options = f"--optimizer.learning-rate {rate:.4g} --optimizer.bias-learning-rate {bias:.4g}"
        lines.append(f"to take back one division: --retune {options}")
    return lines


def _remedy(before: Config, now: Config, finished: float, rates: CurrentRates) -> list[str]:
    """Returns the options that stretch a schedule over more epochs, or else keep the rate."""
    schedule = now.schedule
    if schedule.kind == "dexp":
        options = f"--schedule.kind constant --optimizer.learning-rate {rates.weights:.4g} "
        options += f"--optimizer.bias-learning-rate {rates.biases:.4g}"
        return [
            f"the stairs are spread over all {now.epochs:g} epochs; to hold: --retune {options}"
        ]
    if schedule.kind != "step" or schedule.phases != before.schedule.phases:
        return []
    lines = []
    if now.epochs > before.epochs and (places := _stretched(before, now, finished)):
        options = " ".join(f"--schedule.phases.{i}.epoch {place}" for i, place in places)
        lines.append(
            f"the drops stay where {before.epochs:g} epochs had them; to move them: --retune "
            f"--epochs {now.epochs:g} {options}"
        )
    place = _in_force(schedule.phases, finished)
    asked = now.optimizer.learning_rate
    if place is not None and asked != before.optimizer.learning_rate:
        lines.append(
            f"optimizer.learning_rate has no effect now: phase {place} has its own rate: "
            f"--retune --schedule.phases.{place}.learning-rate {asked:g}"
        )
    return lines


def _stretched(before: Config, now: Config, finished: float) -> list[tuple[int, str]]:
    """Returns index and epoch of the phases that would be to come, were all moved with the end.

    Where none would, the last one comes in the middle of what remains.
    """
    phases = [(i, p) for i, p in enumerate(now.schedule.phases) if 1 < p.epoch <= before.epochs + 1]
    stretch = now.epochs / before.epochs
    places = [(i, (phase.epoch - 1) * stretch) for i, phase in phases]
    coming = [(i, begin) for i, begin in places if finished < begin < now.epochs]
    if not coming and phases:
        last = max(phases, key=lambda pair: pair[1].epoch)[0]
        coming = [(last, (finished + now.epochs) / 2)]
    return [(i, _epoch(begin, finished, now.epochs)) for i, begin in coming]


def _epoch(begin: float, finished: float, end: float) -> str:
    """Returns the number of the epoch that begins after `begin` passes, a whole one if it can."""
    whole = round(begin)
    return f"{1 + (whole if finished < whole < end else begin):.4g}"


def _in_force(phases: tuple[Phase, ...], finished: float) -> int | None:
    """Returns the index of the phase whose rate is in force; None: it is the optimiser's."""
    begun = [
        (phase.epoch, i)
        for i, phase in enumerate(phases)
        if phase.learning_rate is not None and phase.epoch - 1 <= finished + 1e-9
    ]
    return max(begun)[1] if begun else None


def _listed(texts: list[str]) -> str:
    return ", then ".join(texts)
