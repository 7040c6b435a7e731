"""A table of labelled pairs of answers: what a careful mathematician calls the same, by kind."""

import json
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest

from r1core.rewards import math_equal, verify_math

DATA = Path(__file__).resolve().parents[1] / "data"


class Pair(NamedTuple):
    """One row of answer_pairs.tsv."""

    kind: str
    answer: str
    gold: str
    same: bool
    why: str


def read_pairs():
    """Return the rows by kind; the fields are raw text between tabs, without escapes."""
    kinds = defaultdict(list)
    text = (DATA / "answer_pairs.tsv").read_bytes().decode()
    for line in text.removesuffix("\n").split("\n"):
        kind, answer, gold, same, why = line.split("\t")
        assert same in "01" and why, line
        kinds[kind].append(Pair(kind, answer, gold, same == "1", why))
    return dict(kinds)


PAIRS = read_pairs()
ALL = [pair for pairs in PAIRS.values() for pair in pairs]
COMPLETIONS = [
    json.loads(line) for line in (DATA / "completions.jsonl").read_bytes().decode().splitlines()
]


def is_same(answer, gold):
    """Say whether the verifier takes the two for one."""
    return math_equal(answer, gold).status == "correct"


def listed(faults):
    """Return the faults one a line under their number."""
    return "\n".join([f"{len(faults)} rows", *faults])


def test_table_has_five_hundred_rows_of_either_label_in_every_kind():
    assert len(ALL) >= 500
    assert len({pair[:3] for pair in ALL}) == len(ALL)
    assert 0.4 < sum(pair.same for pair in ALL) / len(ALL) < 0.6
    assert all({pair.same for pair in pairs} == {True, False} for pairs in PAIRS.values())


@pytest.mark.parametrize("kind", PAIRS)
def test_pairs_get_their_label(kind):
    faults = [
        f"{'equal' if pair.same else 'unequal'}: {pair.answer!r} and {pair.gold!r} ({pair.why}); "
        f"got {math_equal(pair.answer, pair.gold).status}"
        for pair in PAIRS[kind]
        if is_same(pair.answer, pair.gold) is not pair.same
    ]
    assert not faults, listed(faults)


def test_order_of_answer_and_gold_does_not_matter():
    faults = [
        f"{pair.kind}: {pair.answer!r} and {pair.gold!r}"
        for pair in ALL
        if is_same(pair.answer, pair.gold) is not is_same(pair.gold, pair.answer)
    ]
    assert not faults, listed(faults)


def test_every_gold_equals_itself():
    faults = [
        f"{pair.kind}: {pair.gold!r}; got {math_equal(pair.gold, pair.gold).status}"
        for pair in ALL
        if not is_same(pair.gold, pair.gold)
    ]
    assert not faults, listed(faults)


def test_completions_get_their_status():
    assert len(COMPLETIONS) >= 80
    verdicts = verify_math(
        [row["completion"] for row in COMPLETIONS], [row["gold"] for row in COMPLETIONS]
    )
    faults = [
        f"{row['status']}: {row['completion']!r} against {row['gold']!r}; got {verdict.status}"
        for row, verdict in zip(COMPLETIONS, verdicts, strict=True)
        if verdict.status != row["status"]
    ]
    assert not faults, listed(faults)
