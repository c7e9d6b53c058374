"""Copies the outcomes of experiments/runtimes into the package, for the model cards of exports.

python -m experiments.tried_runtimes
"""

import json
from pathlib import Path
from typing import Any

from alexnet_jax.weights import tried_runtimes

RECORD = Path(__file__).parent / "runtimes" / "results" / "runtimes.json"
TABLE = Path(tried_runtimes.__file__).with_suffix(".json")


def rows_of(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns a row for each runtime and kind of file: versions, and networks right in all."""
    rows: dict[tuple, dict[str, Any]] = {}
    for tried in record["rows"]:
        if not tried["networks"]:  # it could not be installed
            continue
        kind = {
            "runtime": f"{tried['runtime']} {tried['option']}".strip(),
            "format": tried["kind"],
            "form": tried["form"],
            "batch": "free" if tried["batch"] == "free" else "fixed",
        }
        row = rows.setdefault(tuple(kind.values()), kind | {"versions": [], "outcomes": []})
        row["versions"].append(tried["version"])
        row["outcomes"].append(
            {
                name: outcome.get("error", float("inf")) <= tried["tolerance"]
                for name, outcome in tried["networks"].items()
            }
        )
    for row in rows.values():
        outcomes = row.pop("outcomes")
        names = set.intersection(*(set(one) for one in outcomes))
        row["right"] = sum(all(one[name] for one in outcomes) for name in names)
        row["networks"] = len(names)
    return list(rows.values())


def main() -> None:
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    table["rows"] = rows_of(record)
    rows = [f"  {json.dumps(row)}" for row in table["rows"]]
    jax = [f"  {json.dumps(row)}" for row in table["jax"]]
    text = '{{\n "rows": [\n{}\n ],\n "jax": [\n{}\n ]\n}}\n'
    TABLE.write_text(text.format(",\n".join(rows), ",\n".join(jax)), encoding="utf-8")


if __name__ == "__main__":
    main()
