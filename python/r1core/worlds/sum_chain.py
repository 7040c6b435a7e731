"""The sum-chain world: add three to eight digits modulo ten, by guess or step by step.

A question names its digits, and a reply either guesses or works through them, one letter at a
time: the letter, its digit, the running sum::

    Sum a 4 b 7 c 5 A:<think> guess</think><answer> 3</answer>
    Sum a 4 b 7 c 5 A:<think> a 4 4 b 7 1 c 5 6</think><answer> 6</answer>

The corpus teaches the step-by-step skill on its own, in textbook pages without question, tags or
answer, while nine replies in ten to an actual question are guesses. A base model pretrained on it
can reason but hardly ever does: it scores little more than chance.

What this world shows, and what it does not: reinforcement learning finds the rare long route,
because it is rewarded more often, and amplifies it. Accuracy and length rise together, as in
DeepSeek-R1-Zero. It does not conjure reasoning from nothing: without the textbook pages, or when
started before the skill has formed, the same training only learns to guess in the right format.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

LETTERS = "abcdefgh"
SPLITS = ("train", "eval")
EVAL_SHARE = 10  # one problem in this many belongs to the eval split


class Draws:
    """A short run of random numbers that depends on nothing but its key.

    Hash bits are used rather than `random.Random`: three times faster to set up, and the same
    numbers under every Python version.
    """

    def __init__(self, *key: object) -> None:
        """Start the run named by `key`, whose parts are compared by their text."""
        digest = blake2b("/".join(map(str, key)).encode()).digest()
        self._bits = int.from_bytes(digest, "little")

    def below(self, bound: int) -> int:
        """Return an integer in [0, bound); uses up log2(bound) of the 512 bits."""
        self._bits, value = divmod(self._bits, bound)
        return value

    def happens(self, share: float) -> bool:
        """Return True with probability `share`, to one part in 65,536."""
        return self.below(1 << 16) < share * (1 << 16)


def is_eval(digits: tuple[int, ...]) -> bool:
    """Tell which split a problem belongs to: its own hash decides, whatever the seed."""
    return (
        int.from_bytes(blake2b(bytes(digits), digest_size=8).digest(), "little") % EVAL_SHARE == 0
    )


def check_domain(world: str, domain: str | None) -> None:
    """Reject a domain that a world of one kind of problems does not have."""
    if domain not in (None, "reasoning"):
        raise ValueError(f"{world}: its problems are of domain 'reasoning'; got {domain!r}")


def question(digits: tuple[int, ...]) -> str:
    """Spell the digits with their letters: "a 4 b 7 c 5"."""
    return " ".join(f"{letter} {digit}" for letter, digit in zip(LETTERS, digits, strict=False))


def trace(digits: tuple[int, ...], sums: tuple[int, ...]) -> str:
    """Spell each step as letter, digit, running sum: " a 4 4 b 7 1 c 5 6"."""
    steps = zip(LETTERS, digits, sums, strict=False)
    return "".join(f" {letter} {digit} {total}" for letter, digit, total in steps)


def running_sums(digits: tuple[int, ...]) -> tuple[int, ...]:
    """Add up the digits modulo ten, keeping every partial sum."""
    return noisy_sums(digits, Draws(), 0.0)


def noisy_sums(digits: tuple[int, ...], draws: Draws, noise: float) -> tuple[int, ...]:
    """Add up the digits; a step goes wrong with probability `noise` and is built upon."""
    total, sums = 0, []
    for digit in digits:
        total += digit
        if noise and draws.happens(noise):
            total += 1 + draws.below(9)
        total %= 10
        sums.append(total)
    return tuple(sums)


def reply(thought: str, answer: int | str) -> str:
    """Put a thought and an answer in the tags that the format reward demands."""
    return f"<think>{thought}</think><answer> {answer}</answer>"


@dataclass(frozen=True)
class SumChain:
    """Problems and corpus pages of the sum-chain world, each a pure function of its index.

    Attributes:
        seed: names the sequence of problems and pages.
        min_digits: shortest problem; 1 to 8.
        max_digits: longest problem; `min_digits` to 8.
        textbook_share: share of the corpus that shows worked steps and nothing else.
        long_share: share of the question pages whose reply works through the steps.
        tagged_share: share of the guessing replies that carry the tags; the others are bare.
        step_noise: probability that a step of a corpus page is wrong.
    """

    seed: int = 0
    min_digits: int = 3
    max_digits: int = 8
    textbook_share: float = 0.6
    long_share: float = 0.10
    tagged_share: float = 0.8
    step_noise: float = 0.02

    name = "sum_chain"
    tags = ("<think>", "</think>", "<answer>", "</answer>")
    cue = "<think> a"
    """What a reply must begin with to take the long route."""

    @property
    def pretraining(self) -> dict[str, Any]:
        """Nothing: the defaults were chosen for this world."""
        return {}

    def __post_init__(self) -> None:
        """Reject settings that describe no problem.

        Raises:
            ValueError: a value is outside the range given above.
        """
        if not 1 <= self.min_digits <= self.max_digits <= len(LETTERS):
            raise ValueError(
                "SumChain: min_digits and max_digits must satisfy 1 <= min <= max <= "
                f"{len(LETTERS)}; got {self.min_digits} and {self.max_digits}"
            )
        for name in ("textbook_share", "long_share", "tagged_share", "step_noise"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"SumChain: {name} must be in [0, 1]; got {getattr(self, name)}")

    def digits(self, split: str, index: int) -> tuple[int, ...]:
        """Return problem `index` of a split; the splits share no problem.

        Raises:
            ValueError: `split` is neither "train" nor "eval", or `index` is negative.
        """
        if split not in SPLITS:
            raise ValueError(f"SumChain: split must be one of {SPLITS}; got {split!r}")
        if index < 0:
            raise ValueError(f"SumChain: index must be >= 0; got {index}")
        attempt = 0
        while True:  # one attempt in ten is an eval problem, so this ends soon
            draws = Draws(self.seed, split, index, attempt)
            length = self.min_digits + draws.below(self.max_digits - self.min_digits + 1)
            digits = tuple(draws.below(10) for _ in range(length))
            if is_eval(digits) == (split == "eval"):
                return digits
            attempt += 1

    def problems(
        self, split: str, start: int, count: int, domain: str | None = None
    ) -> list[dict[str, Any]]:
        """Return `count` rows: prompt, answer, level (number of digits), text (a worked page)."""
        check_domain(self.name, domain)
        return [self._problem(self.digits(split, start + k)) for k in range(count)]

    def _problem(self, digits: tuple[int, ...]) -> dict[str, Any]:
        sums = running_sums(digits)
        prompt = f"Sum {question(digits)} A:"
        return {
            "prompt": prompt,
            "answer": str(sums[-1]),
            "level": len(digits),
            "text": prompt + reply(trace(digits, sums), sums[-1]),
        }

    def page(self, index: int) -> str:
        """Return corpus page `index`: a textbook page, or a question with a reply."""
        digits = self.digits("train", index)
        draws = Draws(self.seed, "page", index)
        sums = noisy_sums(digits, draws, self.step_noise)
        if draws.happens(self.textbook_share):
            return f"Note {question(digits)} so{trace(digits, sums)}"
        prompt = f"Sum {question(digits)} A:"
        if draws.happens(self.long_share):
            return prompt + reply(trace(digits, sums), sums[-1])
        guess = draws.below(10)
        tagged = draws.happens(self.tagged_share)
        return prompt + (reply(" guess", guess) if tagged else f" {guess}")

    def pages(self, start: int = 0) -> Iterator[str]:
        """Yield corpus pages from index `start` on, without end."""
        index = start
        while True:
            yield self.page(index)
            index += 1
