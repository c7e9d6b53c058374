"""Images per second against the batch size: this library and PyTorch with channels_last.

python -m experiments.benchmarks.scaling

Writes `results/scaling.json` after each batch size.
"""

from experiments.benchmarks import contestants as who
from experiments.benchmarks.contest import Rules
from experiments.benchmarks.networks import options
from experiments.benchmarks.records import Record

QUESTION = "How does the speed depend on the batch size?"
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def main() -> None:
    parser = options(__doc__, "scaling.json", rounds=3)
    parser.add_argument("--network", default="original")
    parser.add_argument("--batches", default=",".join(map(str, BATCHES)))
    parser.add_argument("--what", default="train,inference", help="train, inference, or both")
    arguments = parser.parse_args()
    rules = Rules(arguments.rounds, arguments.turn_seconds)
    record = Record(arguments.output, QUESTION)
    network = arguments.network
    for what in arguments.what.split(","):
        for batch in map(int, arguments.batches.split(",")):
            entries = [
                who.contestant(name, network, what, batch) for name in (who.OURS, who.CHANNELS_LAST)
            ]
            facts = {"network": network, "what": what, "batch": batch}
            record.put_contest(f"{network}/{what}/{batch}", facts, entries, rules)


if __name__ == "__main__":
    main()
