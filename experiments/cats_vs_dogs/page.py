"""Writes what README.md tells of the commands from their record.

python -m experiments.cats_vs_dogs.page          # rewrites it
python -m experiments.cats_vs_dogs.page --check  # exits with 1 if it is out of date
"""

import json
import sys
from pathlib import Path

from experiments.generated import made_with, rewrite, with_parts

README = Path(__file__).parent / "README.md"
RECORD = Path(__file__).parent / "results" / "kaggle.json"


def updated(text: str) -> str:
    """Returns the README's text with the commands as the record has them."""
    record = json.loads(RECORD.read_text("utf-8"))
    typed = ["\n".join([f"$ {step['command']}", *step["said"]]) for step in record["steps"]]
    part = "\n\n".join(
        [
            "```text\n" + "\n\n".join(typed) + "\n```",
            f"Against the key: **{100 * record['accuracy']:.1f} %** of {record['photos']} photos "
            f"are right, which the first edition scores; the log loss that the later one scores is "
            f"{record['log_loss']:.3f} (0.693 is that of guessing).",
            made_with(record, RECORD.name, ("torch",)),
        ]
    )
    return with_parts(text, {"kaggle": part}, "experiments.cats_vs_dogs.page")


PAGES = {README: updated}

if __name__ == "__main__":
    rewrite(PAGES, sys.argv[1:])
