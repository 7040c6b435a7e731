"""The pick-and-search world: find two of the given digits whose sum modulo ten is the target.

Thinking is a search. Each trial names two digits, their sum and, beside it, the target, so that
whether they agree can be read off two neighbouring tokens; then it goes on, stops, or gives up::

    Pick 1 2 6 7 8 9 > 0 A:<think> 8 + 9 = 7 > 0 wait 2 + 8 = 0 > 0 ok</think><answer> 2 8</answer>
    Pick 1 2 6 7 8 9 > 0 A:<think> 8 + 9 = 7 > 0 guess</think><answer> 1 6</answer>

The corpus teaches the search on its own, in textbook pages without question or tags that never give
up, while a reply to an actual question gives up after each failed trial with probability 0.6.

What this world shows: reinforcement learning finds that "wait" pays. Trials per reply, length and
accuracy rise together until the length limit cuts replies off, and rise again once it is raised.
As in sum_chain, the skill comes from the corpus; learning amplifies the patience, not the skill.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from r1core.worlds.sum_chain import SPLITS, Draws, check_domain, is_eval, reply

Pair = tuple[int, int]


@dataclass(frozen=True)
class Problem:
    """Ascending, distinct digits and the target of a pair's sum modulo ten."""

    digits: tuple[int, ...]
    target: int

    def pairs(self) -> list[Pair]:
        """Return every pair of given digits, right or wrong."""
        return list(combinations(self.digits, 2))

    def solutions(self) -> list[Pair]:
        """Return the pairs that hit the target."""
        return [pair for pair in self.pairs() if self.solved_by(pair)]

    def solved_by(self, pair: Pair) -> bool:
        """Tell whether a pair hits the target."""
        return sum(pair) % 10 == self.target

    def question(self) -> str:
        """Spell the problem: "1 2 6 7 8 9 > 0"."""
        return f"{' '.join(map(str, self.digits))} > {self.target}"

    def trial(self, pair: Pair) -> tuple[str, str]:
        """Spell a trial as what is chosen and what follows from it: " 8 + 9", " = 7 > 0"."""
        return f" {pair[0]} + {pair[1]}", f" = {sum(pair) % 10} > {self.target}"

    def accepted(self) -> list[str]:
        """Return every right answer, either way round: ["2 8", "8 2"]."""
        return [f"{a} {b}" for pair in self.solutions() for a, b in (pair, pair[::-1])]


@dataclass(frozen=True)
class PickSearch:
    """Problems and corpus pages of the pick-and-search world, pure functions of their index.

    Attributes:
        seed: names the sequence of problems and pages.
        min_digits: fewest digits to choose from; 2 to 7.
        max_digits: most digits to choose from; `min_digits` to 7; of more, too many
            pairs hit any target.
        max_solutions: most pairs that hit the target; >= 1. The fewer, the longer the search.
        max_trials: longest search of a corpus page; >= 1.
        textbook_share: share of the corpus that shows searches and nothing else.
        give_up: probability that a reply gives up after a failed trial.
        tagged_share: share of the replies that think; the others are bare guesses.
    """

    seed: int = 0
    min_digits: int = 5
    max_digits: int = 7
    max_solutions: int = 2
    max_trials: int = 12
    textbook_share: float = 0.6
    give_up: float = 0.6
    tagged_share: float = 0.8

    name = "pick_search"
    tags = ("<think>", "</think>", "<answer>", "</answer>")
    cue = "<think>"

    def __post_init__(self) -> None:
        """Reject settings that describe no problem.

        Raises:
            ValueError: a value is outside the range given above.
        """
        if not 2 <= self.min_digits <= self.max_digits <= 7:
            raise ValueError(
                "PickSearch: min_digits and max_digits must satisfy 2 <= min <= max <= 7; "
                f"got {self.min_digits} and {self.max_digits}"
            )
        for name in ("max_solutions", "max_trials"):
            if getattr(self, name) < 1:
                raise ValueError(f"PickSearch: {name} must be >= 1; got {getattr(self, name)}")
        for name in ("textbook_share", "give_up", "tagged_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"PickSearch: {name} must be in [0, 1]; got {getattr(self, name)}")

    @property
    def pretraining(self) -> dict[str, Any]:
        """Rows that hold the longest page: up to 21 tokens and `max_trials` trials of eight.

        A page is right only if all its trials are, so the gate asks for less than the default; and
        later, since a search gets better for long after its single steps are right.
        """
        return {
            "rows": 18,
            "row_length": 21 + 8 * self.max_trials,
            "steps": 1000,
            "max_steps": 4000,  # by seed, the gate holds after 1,500 to 2,500
            "gate_threshold": 0.75,
            "gate_after": 1000,
        }

    def problem(self, split: str, index: int) -> Problem:
        """Return problem `index` of a split; the splits share no problem, and all can be solved.

        Raises:
            ValueError: `split` is neither "train" nor "eval", or `index` is negative.
        """
        if split not in SPLITS:
            raise ValueError(f"PickSearch: split must be one of {SPLITS}; got {split!r}")
        if index < 0:
            raise ValueError(f"PickSearch: index must be >= 0; got {index}")
        attempt = 0
        while True:  # about every second target has a solution and not too many of them
            draws = Draws(self.seed, "pick", split, index, attempt)
            length = self.min_digits + draws.below(self.max_digits - self.min_digits + 1)
            left = list(range(10))
            digits = tuple(sorted(left.pop(draws.below(len(left))) for _ in range(length)))
            found = Problem(digits, draws.below(10))
            right_split = is_eval((*digits, found.target)) == (split == "eval")
            if right_split and 1 <= len(found.solutions()) <= self.max_solutions:
                return found
            attempt += 1

    def problems(
        self, split: str, start: int, count: int, domain: str | None = None
    ) -> list[dict[str, Any]]:
        """Return `count` rows.

        prompt, answer (one of them), accepted (all), level (number of digits), text (with a correct
        reply) and parts (the text in pieces, for the gate).
        """
        check_domain(self.name, domain)
        return [self._row(split, start + k) for k in range(count)]

    def _row(self, split: str, index: int) -> dict[str, Any]:
        problem = self.problem(split, index)
        trials = search(problem, Draws(self.seed, "trials", split, index), self.max_trials)
        prompt = f"Pick {problem.question()} A:"
        return {
            "prompt": prompt,
            "answer": spell(trials[-1]),
            "accepted": problem.accepted(),
            "level": len(problem.digits),
            "text": prompt + reply(thought(problem, trials, "ok"), spell(trials[-1])),
            "parts": pieces(problem, trials),
        }

    def page(self, index: int) -> str:
        """Return corpus page `index`: a textbook page, or a question with a reply."""
        problem = self.problem("train", index)
        draws = Draws(self.seed, "page", index)
        is_textbook, is_tagged = (
            draws.happens(self.textbook_share),
            draws.happens(self.tagged_share),
        )
        guess = problem.pairs()[draws.below(len(problem.pairs()))]
        trials = search(problem, Draws(self.seed, "trials", "page", index), self.max_trials)
        if is_textbook:
            worked = thought(problem, trials, "ok")
            return f"Note {problem.question()} so{worked} {spell(trials[-1])}"
        prompt = f"Pick {problem.question()} A:"
        if not is_tagged:
            return f"{prompt} {spell(guess)}"
        for count in range(1, len(trials)):  # after each failed trial
            if draws.happens(self.give_up):
                return prompt + reply(thought(problem, trials[:count], "guess"), spell(guess))
        return prompt + reply(thought(problem, trials, "ok"), spell(trials[-1]))

    def pages(self, start: int = 0) -> Iterator[str]:
        """Yield corpus pages from index `start` on, without end."""
        index = start
        while True:
            yield self.page(index)
            index += 1


def search(problem: Problem, draws: Draws, max_trials: int) -> list[Pair]:
    """Try pairs in random order, none twice, until one hits the target.

    A search that would take longer than `max_trials` hits it in the last of them.
    """
    left = problem.pairs()
    trials: list[Pair] = []
    while len(trials) < max_trials - 1:
        trials.append(left.pop(draws.below(len(left))))
        if problem.solved_by(trials[-1]):
            return trials
    return [*trials, problem.solutions()[0]]


def thought(problem: Problem, trials: list[Pair], ending: str) -> str:
    """Spell trials: " 8 + 9 = 7 > 0 wait 2 + 8 = 0 > 0 ok"."""
    return " wait".join("".join(problem.trial(pair)) for pair in trials) + f" {ending}"


def pieces(problem: Problem, trials: list[Pair]) -> list[str]:
    """Spell a correct reply in pieces, by turns free choices and what follows from them.

    Free are the digits of a trial, and to go on after a failed one.
    """
    parts, opening = [], f"Pick {problem.question()} A:<think>"
    for pair in trials:
        choice, outcome = problem.trial(pair)
        parts += [opening + choice, outcome]
        opening = " wait"
    parts[-1] += f" ok</think><answer> {spell(trials[-1])}</answer>"
    return parts


def spell(pair: Pair) -> str:
    """Spell a pair: "2 8"."""
    return f"{pair[0]} {pair[1]}"
