"""Make the README's tables of a results file.

    python tests/bench/table.py                # print this machine's
    python tests/bench/table.py --readme       # fill the README's markers again
    python tests/bench/table.py --check        # fail where the README differs from its results

Each pair of markers names the results file between them.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"(?<=<!-- bench: )(\S+)( -->\n).*?(?=<!-- /bench -->)", re.DOTALL)
TITLES = {
    "generate": "Sampling with log-probabilities",
    "llama_cpp": "Sampling beside llama.cpp",
    "sample_tokens": "`sample_tokens`",
    "loss_from_logits": "`grpo_loss_from_logits`, with gradient",
    "loss_from_hidden": "`grpo_loss_from_hidden`, with gradients",
    "forward": "Forward and backward",
    "verify": "Grading",
    "step": "GRPO step",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--readme", action="store_true")
    choice.add_argument("--check", action="store_true")
    options = parser.parse_args()
    text = README.read_text()
    if options.readme:
        README.write_text(filled(text))
    elif options.check:
        if filled(text) != text:
            sys.exit("README.md differs from its results: run table.py --readme")
    else:
        from common import results_path

        print(tables(json.loads(results_path().read_text())))


def filled(readme: str) -> str:
    """Return the README with each results file's tables between its markers."""

    def block(match: re.Match[str]) -> str:
        return match[1] + match[2] + tables(json.loads((RESULTS / match[1]).read_text()))

    return BLOCK.sub(block, readme)


def tables(results: dict[str, Any]) -> str:
    """Return the comparison, then the phases of a step, as markdown."""
    lines = ["| | r1core | peer | | ratio | memory |", "|---|---|---|---|---|---|"]
    for topic, title in TITLES.items():
        for case in shown(results, topic):
            lines += rows(title, case)
    return "\n".join([*lines, "", *phases(results)]) + "\n"


def shown(results: dict[str, Any], topic: str) -> list[dict[str, Any]]:
    """Return a topic's cases for the table; a `detail` is for the results file alone."""
    return [case for case in results.get(topic, {}).get("cases", []) if not case.get("detail")]


def rows(title: str, case: dict[str, Any]) -> Iterator[str]:
    """Yield a row for each peer of a case; the case is named in the first."""
    name, mine = f"{title}, {case['case']}", case["sides"]["r1core"]
    for peer, ratio in case["ratios"].items():
        theirs = case["sides"][peer]
        sides = f"{time(mine, case)} | {peer} | {time(theirs, case)}"
        times = f"{float(f'{ratio:.3g}'):,}".removesuffix(".0") if ratio >= 1000 else f"{ratio:.3g}"
        yield f"| {name} | {sides} | **{times}x** | {memory(mine, theirs)} |"
        name = ""


def time(side: dict[str, Any], case: dict[str, Any]) -> str:
    """Return the median, with tokens a second where the case draws tokens."""
    median = side["median_ms"]
    text = f"{median / 1e3:.3g} s" if median >= 1000 else f"{median:.3g} ms"
    if "tokens" not in case:
        return text
    rate = 1e3 * case["tokens"] / median
    return f"{text} ({float(f'{rate:.3g}'):,.0f} tokens/s)"


def memory(mine: dict[str, Any], theirs: dict[str, Any]) -> str:
    """Return the growth of the resident set, r1core's and the peer's."""
    if "peak_growth_mb" not in mine:
        return ""
    return f"{mine['peak_growth_mb']:,.0f} / {theirs['peak_growth_mb']:,.0f} MB"


def phases(results: dict[str, Any]) -> Iterator[str]:
    """Yield the table of a step's phases, in milliseconds."""
    cases = shown(results, "step")
    if not cases:
        return
    names = list(cases[0]["sides"]["r1core"]["phases_ms"])
    yield "| GRPO step, ms | " + " | ".join(name.replace("_", ", ") for name in names) + " |"
    yield "|---" * (len(names) + 1) + "|"
    for case in cases:
        for side, measured in case["sides"].items():
            cells = " | ".join(f"{measured['phases_ms'][name]:,.0f}" for name in names)
            model, beta = case["case"].partition(":")[0], case["case"].rpartition(", ")[2]
            yield f"| {side}, {model}, {beta} | {cells} |"


if __name__ == "__main__":
    main()
