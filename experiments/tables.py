"""Writes the README's result tables from the committed JSON: every number there was produced by a script.

python experiments/tables.py            rewrite README.md
python experiments/tables.py --check    fail if it is not up to date
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from contract import RESULTS, aligned, number, table

README = Path(__file__).parent.parent / "README.md"
# a name, the metrics to show if not all of them, and what the names of the methods to show end in: two
# metrics or more are columns of one row a method
BLOCK = re.compile(r"(<!-- results: (\w+)(?:: ([^>:]+))?(?:: ([^>:]+))? -->\n).*?(<!-- end -->)", re.DOTALL)


def rendered(readme: str) -> str:
    """The README with each result block made anew."""

    def block(match: re.Match[str]) -> str:
        path = RESULTS / f"{match[2]}.json"
        content = json.loads(path.read_text())
        made = f"`experiments/{match[2]}.py`: {content['protocol']}. {content['date']}, {content['device']}, "
        made += f"jax {content['versions']['jax']}, {content['seconds'] / 60:.0f} minutes in all."
        metrics = [] if match[3] is None else match[3].split("; ")
        rows = [row for row in content["rows"] if row["method"].endswith(match[4] or "")]
        rows = [{**row, "method": row["method"].removesuffix(match[4] or "")} for row in rows]
        if len(metrics) > 1:
            shown = wide(rows, metrics)
        else:
            shown = table([row for row in rows if not metrics or row["metric"] == metrics[0]])
        return f"{match[1]}{made}\n\n{shown}\n{match[5]}"

    return BLOCK.sub(block, readme)


def wide(rows: list[dict[str, Any]], metrics: list[str]) -> str:
    """One line a method and a column a metric; methods that nobody has run are named below."""
    methods: dict[str, dict[str, str]] = {}
    for row in rows:
        cells = methods.setdefault(row["method"], {})
        if row["measured"] is not None:
            cells[row["metric"]] = number(row["measured"], row["uncertainty"])
    lines = [["method", *metrics]]
    lines += [
        [method, *(cells.get(m, "") for m in metrics)] for method, cells in methods.items() if metrics[0] in cells
    ]
    pending = [method for method, cells in methods.items() if not cells]
    return aligned(lines) + (f"\n\nPending: {'; '.join(pending)}." if pending else "")


def main() -> None:
    before = README.read_text()
    after = rendered(before)
    if "--check" in sys.argv[1:]:
        if after != before:
            sys.exit("README.md is not what the results say: run python experiments/tables.py")
    elif after != before:
        README.write_text(after)


if __name__ == "__main__":
    main()
