"""How long one answer takes: inference of one image, and of ten views of one image and of twelve.

python -m experiments.benchmarks.latency

Every call is timed by itself, so the spread is that of calls, not of turns. Writes
`results/latency.json` after each contest.
"""

from experiments.benchmarks import contestants as who
from experiments.benchmarks.contest import Rules
from experiments.benchmarks.networks import DEFAULT, options
from experiments.benchmarks.records import Record

QUESTION = "How long does one call of the network take?"
CASES = ((1, 1), (1, 10), (12, 10))
"""Pairs of images and views: one image, its ten views, and a batch of 120 views."""


def main() -> None:
    parser = options(__doc__, "latency.json", rounds=5)
    parser.add_argument("--networks", default=",".join(DEFAULT), help="names with commas between")
    arguments = parser.parse_args()
    rules = Rules(arguments.rounds, arguments.turn_seconds, each=True)
    record = Record(arguments.output, QUESTION)
    for network in arguments.networks.split(","):
        for images, views in CASES:
            entries = [
                who.contestant(name, network, "inference", images, views)
                for name in (who.OURS, who.OURS_BFLOAT16, *who.PYTORCH)
            ]
            facts = {"network": network, "images": images, "views": views}
            record.put_contest(f"{network}/{images}x{views}", facts, entries, rules)


if __name__ == "__main__":
    main()
