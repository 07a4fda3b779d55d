"""What gradient checkers say of the same wrong layers, as a Markdown table.

    python tests/museum/peers/compare.py [--chainer PYTHON]

PYTHON is an interpreter with Chainer 7.8.1 and the NumPy that it needs:

    python3.11 -m venv chainer && chainer/bin/pip install "numpy<1.24" "setuptools<70" wheel
    chainer/bin/pip install --no-build-isolation chainer==7.8.1

Without it Chainer's columns are left out.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2]))  # minigen, from a clone

import minigen_faults  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch_faults  # noqa: E402
from faults import FAULTS  # noqa: E402

FRAMEWORKS = {
    "minigen": ["minigen"],
    "PyTorch": list(torch_faults.CHECKERS),
    "Chainer": ["check_backward", "check_double_backward"],
}
VERDICTS = {
    "names it": "named",
    "numbers differ": "numbers differ",
    "something else": "something else",
    "passes": "not noticed",
}
SHOWN = {"passes": "—", "names it": "**names it**", "a note": "— (a note)"}  # the rest as it is


def of_chainer(python):
    answer = subprocess.run([python, "chainer_faults.py"], cwd=HERE, check=True, stdout=subprocess.PIPE)
    return json.loads(answer.stdout)


def gather(chainer=None):
    """(versions, {fault: {column: (verdict, decisive line)}})."""
    rows = {
        name: {"minigen": minigen_faults.verdict(fault)} | torch_faults.verdicts(fault)
        for name, fault in FAULTS.items()
    }
    versions = f"PyTorch {torch.__version__}, NumPy {np.__version__}"
    if chainer:
        answer = of_chainer(chainer)
        versions += f"; {answer['versions']}"
        rows = {name: row | answer["verdicts"][name] for name, row in rows.items()}
    return versions, rows


def cells(row):
    """The row of the table: {column: (verdict, decisive line)} -> words."""
    return [SHOWN.get(word, word) for word, _ in row.values()]


def table(rows):
    columns = list(next(iter(rows.values())))
    yield f"| fault | {' | '.join(columns)} |"
    yield "|---" * (len(columns) + 1) + "|"
    for name, row in rows.items():
        yield f"| {name.replace('_', ' ')} | {' | '.join(cells(row))} |"


def summary(rows):
    """How many faults the checks of each framework name, and otherwise what the first that fails says."""
    yield "| | " + " | ".join(VERDICTS.values()) + " |"
    yield "|---" * (len(VERDICTS) + 1) + "|"
    for framework, columns in FRAMEWORKS.items():
        if columns[0] not in next(iter(rows.values())):
            continue
        best = []
        for name, row in rows.items():
            words = [plainly(row[column][0], FAULTS[name]) for column in columns]
            best.append("names it" if "names it" in words else next((w for w in words if w != "passes"), "passes"))
        yield f"| {framework} | {' | '.join(str(best.count(word)) for word in VERDICTS)} |"


def plainly(word, fault):
    """A verdict on `fault`, of minigen too, as one of VERDICTS."""
    if word in (fault.kind, "a note") and word != "unknown":
        return "names it"
    return {"unknown": "numbers differ"}.get(word, word if word in VERDICTS else "something else")


def quotations(rows):
    """What was said, other than that numbers differ; each sentence once, with who says it of what."""
    said = {}
    for name, row in rows.items():
        for column, (word, line) in row.items():
            if word in ("names it", "something else", "a note"):
                said.setdefault((name, line), []).append(column)
    for (name, line), columns in said.items():
        yield f"- {name.replace('_', ' ')}: {', '.join(columns)}: `{line}`"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--chainer", metavar="PYTHON", help="an interpreter that has Chainer")
    versions, rows = gather(parser.parse_args().chainer)
    right = {name: row for name, row in rows.items() if FAULTS[name].kind == "right"}
    wrong = {name: row for name, row in rows.items() if name not in right}
    accused = [name for name, row in right.items() if any(word != "passes" for word, _ in row.values())]
    print(*summary(wrong), "", *table(wrong), "", *quotations(wrong), "", sep="\n")
    print(f"{len(right)} right layers, accused by some checker: {', '.join(accused) or 'none'}. {versions}.")


if __name__ == "__main__":
    main()
