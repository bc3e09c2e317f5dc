"""Prints one of the README's two lines, for whatever runs the README as it stands: `main` or `tests`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def readme_line(name: str) -> str:
    """The command in the fenced block that follows `<!-- line: NAME -->`."""
    found = re.search(rf"<!-- line: {name} -->\s*```bash\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    if found is None:
        raise SystemExit(f"the README has no line {name!r}")
    return " ".join(line.rstrip("\\").strip() for line in found[1].strip().splitlines())


if __name__ == "__main__":
    sys.stdout.write(readme_line(sys.argv[1]) + "\n")
