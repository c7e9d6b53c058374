"""The configuration of a run as text, and the digest by which records know it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from alexnet_jax.config import Config
from experiments.sweep.variants import Variant


def config_text(variant: Variant, seed: int, places: Path) -> str:
    """Returns a run's configuration, with the folder below `places` of the run before it."""
    config = json.loads(variant.config.to_json()) | {"seed": seed}
    if variant.before is not None:
        config["transfer"]["run"] = str(places / digest_of(variant.before, seed))
    return json.dumps(config, indent=2)


def digest_of(variant: Variant, seed: int) -> str:
    """Returns the digest of a run's configuration, which names it in a record."""
    return text_digest(config_text(variant, seed, Path()))


def text_digest(text: str) -> str:
    """Returns a digest of a configuration, without the place of its images.

    Only values that differ from the defaults count, so that a new field of the library whose
    default changes nothing keeps all digests (except a field of the schedule's phases). If a
    default changes, digests do not notice.
    """
    config = json.loads(text)
    config["data"]["source"] = ""
    config["transfer"]["run"] = Path(config["transfer"]["run"]).name
    text = json.dumps(_not_default(config, json.loads(Config().to_json())), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _not_default(config: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _not_default(value, default[name]) if isinstance(value, dict) else value
        for name, value in config.items()
        if value != default[name]
    }
