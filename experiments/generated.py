"""The generated parts of a README: what stands between a marker and its end, and tables for it."""

from collections.abc import Mapping, Sequence


def with_parts(text: str, parts: Mapping[str, str], command: str) -> str:
    """Returns `text` with its generated parts made anew.

    A part stands between `<!-- name: python -m command -->` and `<!-- end of name -->`.

    Args:
      text: a README.
      parts: Markdown by name.
      command: module that makes the parts, e.g. `experiments.parity.page`.

    Raises:
      ValueError: the text has no place for a part.
    """
    for name, part in parts.items():
        begin, end = f"<!-- {name}: python -m {command} -->", f"<!-- end of {name} -->"
        if begin not in text or end not in text:
            raise ValueError(f"the README has no place for '{name}'")
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{part}\n{end}{rest.partition(end)[2]}"
    return text


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
