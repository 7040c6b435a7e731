"""Grade completions: r1core's verifier beside Math-Verify, on one core.

Math-Verify parses gold and prediction and compares them, as TRL's accuracy reward has it do. Both
grade the same rows; one in three is wrong, and the share of right verdicts is kept with the case.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial

from common import Case, Side, compare, run_topic
from math_verify import parse, verify
from verify_rows import KINDS, Row, make_rows

from r1core.rewards import verify_math

ROWS, PEER_ROWS = 20_000, 500
LONG_ROWS, LONG_BYTES = 2_048, 8_192


def main() -> None:
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    run_topic("verify", cases)


def cases(rounds: int) -> Iterator[Case]:
    yield beside_math_verify("completions of 365 bytes", make_rows(PEER_ROWS), rounds)
    for kind in KINDS:
        rows = [row for row in make_rows(ROWS) if row.kind == kind][:60]
        yield beside_math_verify(kind, rows, max(1, rounds // 2), detail=True)
    yield alone(f"{ROWS:,} completions of 365 bytes, one thread", make_rows(ROWS), 1, rounds)
    yield alone(f"{LONG_ROWS:,} completions of 8 kB, two threads", long_rows(), 2, rounds)


def beside_math_verify(name: str, rows: Sequence[Row], rounds: int, **facts: bool) -> Case:
    """Time both on the same rows."""
    grade = partial(verify_math, *columns(rows), threads=1)
    shares = {
        "r1core_right": right_share(rows, [v.status == "correct" for v in grade()]),
        "math_verify_right": right_share(rows, by_math_verify(rows)),
    }
    sides = {"r1core": Side(grade), "Math-Verify": Side(partial(by_math_verify, rows))}
    return compare(name, sides, rounds=rounds, rows=len(rows), **shares, **facts)


def alone(name: str, rows: Sequence[Row], threads: int, rounds: int) -> Case:
    """Time r1core on more rows than a peer has patience for."""
    sides = {"r1core": Side(partial(verify_math, *columns(rows), threads=threads))}
    return compare(name, sides, rounds=2 * rounds, rows=len(rows), detail=True)


def columns(rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    return [row.completion for row in rows], [row.gold for row in rows]


def long_rows() -> list[Row]:
    """Return rows whose thoughts fill 8 kB."""
    rows = make_rows(LONG_ROWS)
    filler = rows[0].completion.partition("</think>")[0].removeprefix("<think>")
    return [
        Row(
            row.kind,
            (filler * (1 + LONG_BYTES // len(filler)))[: LONG_BYTES - len(row.completion)]
            + row.completion,
            row.gold,
            row.right,
        )
        for row in rows
    ]


def by_math_verify(rows: Sequence[Row]) -> list[bool]:
    return [bool(verify(parse(row.gold), parse(row.completion))) for row in rows]


def right_share(rows: Sequence[Row], verdicts: Sequence[bool]) -> float:
    """Return the share of verdicts that are right."""
    agree = [row.right == verdict for row, verdict in zip(rows, verdicts, strict=True)]
    return round(sum(agree) / len(agree), 4)


if __name__ == "__main__":
    main()
