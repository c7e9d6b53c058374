"""Ends text files with exactly one newline and no blanks at line ends; exit 1 if any changed."""

import re
import sys
from pathlib import Path


def main(names: list[str]) -> int:
    """Rewrites the named files in place where needed and returns the exit code."""
    changed = 0
    for path in map(Path, names):
        text = path.read_bytes()
        tidy = re.sub(rb"[ \t]+(\r?)$", rb"\1", text, flags=re.MULTILINE).rstrip() + b"\n"
        if text and tidy != text:
            path.write_bytes(tidy)
            print(f"tidied {path}")
            changed = 1
    return changed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
