"""What README.md claims is what the result files say."""

import json
from pathlib import Path

from experiments import table

ROOT = Path(__file__).resolve().parents[1]


def test_the_results_table_is_generated_from_the_records():
    text = (ROOT / "README.md").read_text()
    block = text.partition(table.BEGIN)[2].partition(table.END)[0]
    assert block.strip() == table.table()


def test_records_hold_versions_hardware_and_no_places():
    records = [path for path in ROOT.glob("experiments/*/results/*.json")]
    assert records
    for path in records:
        text = path.read_text()
        result = json.loads(text)
        place = result.get("run") or result.get("environment") or result
        assert place["versions"]["jax"] and place["processor"], path
        assert not [word for word in text.split('"') if word.startswith(("/", "~"))], path
