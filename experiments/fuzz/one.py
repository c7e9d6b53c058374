"""Fuzzes one reader in this process; `run.py` starts it.

    python -m experiments.fuzz.one TARGET CORPUS FINDINGS [options of libFuzzer]

Exceptions that no reader may raise are written to the folder of findings, each once, with the input
that caused it, and the fuzzer continues. A crash, a hang and a reader that takes too much memory
end the process, and libFuzzer writes the input.
"""

import hashlib
import io
import json
import random
import sys
import traceback
import zipfile
from pathlib import Path
from typing import Any

import atheris

instrument: Any = atheris.instrument_imports  # pyright: ignore[reportAttributeAccessIssue]
with instrument(include=["alexnet_jax"], enable_loader_override=False):
    from alexnet_jax.program import quiet_libraries
    from experiments.fuzz import targets
    from experiments.fuzz.seeds import narrow_networks, zipped

INTERESTING = (0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 1e308, 0.5, True, None, "", "\x1b[31m", "é")
"""Values that often break programs."""


def main() -> None:
    name, corpus, findings, *options = sys.argv[1:]
    quiet_libraries()
    narrow_networks()
    with targets.in_memory() as root:
        target = targets.targets(root)[name]()
        Path(corpus).mkdir(parents=True, exist_ok=True)
        for data in target.seeds:
            (Path(corpus) / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
        seen: set[str] = set()

        def one(data: bytes) -> None:
            try:
                targets.answer(target.call, data)
            except Exception as error:
                _write_finding(error, data, Path(findings), seen)

        longest = max(map(len, target.seeds)) * 2
        words = [sys.argv[0], corpus, *options, f"-max_len={longest}", "-print_final_stats=1"]
        mutators = {"json": _mutate_json, "zip": _mutate_zip}
        mutator = mutators.get(target.form)
        atheris.Setup(words, one, **({"custom_mutator": mutator} if mutator else {}))
        atheris.Fuzz()


def _write_finding(error: Exception, data: bytes, folder: Path, seen: set[str]) -> None:
    """Writes a finding, unless one of its kind and place is known."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "alexnet_jax" in frame.filename]
    place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
    kind = f"{type(error).__name__} at {place}"
    if kind in seen:
        return
    seen.add(kind)
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(kind.encode()).hexdigest()[:12]
    (folder / f"{digest}.input").write_bytes(data)
    text = "".join(traceback.format_exception(error))
    (folder / f"{digest}.txt").write_text(f"{kind}\n{text}", "utf-8")


def _mutate_json(data: bytes, longest: int, seed: int) -> bytes:
    """Changes the structure of JSON, of one or of many lines, two times out of three."""
    chance = random.Random(seed)
    lines = data.split(b"\n") if data.count(b"\n{") > 2 else [data]
    place = chance.randrange(len(lines))
    try:
        value = json.loads(lines[place])
    except (ValueError, RecursionError):
        return atheris.Mutate(data, longest)
    if chance.random() < 1 / 3:
        return atheris.Mutate(data, longest)
    lines[place] = json.dumps(_changed(value, chance)).encode()
    mutated = b"\n".join(lines)
    return mutated if len(mutated) <= longest else data


def _changed(value: Any, chance: random.Random) -> Any:
    """Returns JSON with one value inserted, removed, doubled or replaced at a random place."""
    if isinstance(value, dict | list) and value and chance.random() < 0.8:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key: Any = chance.choice(list(keys))
        value = dict(value) if isinstance(value, dict) else list(value)
        match chance.randrange(6):
            case 0:
                del value[key]
            case 1 if isinstance(value, list):
                value.append(value[key])
            case 2 if isinstance(value, dict):
                value[chance.choice(["", "x", "class_names", "\x1b"])] = value[key]
            case _:
                value[key] = _changed(value[key], chance)
        return value
    if isinstance(value, int | float) and chance.random() < 0.5:
        return value + chance.choice([-1, 1, 0.5, 1000])
    return chance.choice([*INTERESTING, [value], {"a": value}, [], {}])


def _mutate_zip(data: bytes, longest: int, seed: int) -> bytes:
    """Changes one member of a zip and keeps its check sums right, or changes bytes."""
    chance = random.Random(seed)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            content = {name: archive.read(name) for name in archive.namelist()[:200]}
    except Exception:  # `zipfile` raises many kinds for mutated bytes
        return atheris.Mutate(data, longest)
    if not content or chance.random() < 1 / 3:
        return atheris.Mutate(data, longest)
    name = chance.choice(list(content))
    if chance.random() < 0.05:
        del content[name]
    else:
        content[name] = bytes(atheris.Mutate(content[name], len(content[name]) + 64))
    mutated = zipped(content)
    return mutated if len(mutated) <= longest else data


if __name__ == "__main__":
    main()
