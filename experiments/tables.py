"""Writes the README's result tables from the committed JSON: every number there was produced by a script.

python experiments/tables.py            rewrite README.md
python experiments/tables.py --check    fail if it is not up to date
"""

import json
import re
import sys
from pathlib import Path

from contract import RESULTS, table

README = Path(__file__).parent.parent / "README.md"
# a name, and the metric to show if not all of them
BLOCK = re.compile(r"(<!-- results: (\w+)(?:: ([^>]+))? -->\n).*?(<!-- end -->)", re.DOTALL)


def rendered(readme: str) -> str:
    """The README with each result block made anew."""

    def block(match: re.Match[str]) -> str:
        path = RESULTS / f"{match[2]}.json"
        content = json.loads(path.read_text())
        made = f"`experiments/{match[2]}.py`: {content['protocol']}. {content['date']}, {content['device']}, "
        made += f"jax {content['versions']['jax']}, {content['seconds'] / 60:.0f} minutes in all."
        rows = [row for row in content["rows"] if match[3] is None or row["metric"] == match[3]]
        return f"{match[1]}{made}\n\n{table(rows)}\n{match[4]}"

    return BLOCK.sub(block, readme)


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
