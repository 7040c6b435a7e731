"""The bilingual world: sum-chains and general requests, in English and in Chinese.

It has work for every stage of the recipe: worked traces that mix languages (language reward,
cold start, filters), requests that a rule cannot grade (reward models), and requests to refuse.

What this world shows: each stage of DeepSeek-R1 mends what the one before left. As in sum_chain,
the skill comes from the corpus; learning chooses the long route, a language, and manners.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from r1core.worlds.bilingual_chain import (
    FIRST_PERSON,
    GUESS,
    NOTES,
    SO,
    Chain,
    Languages,
    other,
)
from r1core.worlds.bilingual_requests import KINDS, Request
from r1core.worlds.bilingual_words import LANGUAGES
from r1core.worlds.sum_chain import LETTERS, SPLITS, Draws, is_eval, noisy_sums, reply

DOMAINS = {"reasoning": (), "general": KINDS, "helpful": KINDS[:3], "safety": KINDS[3:]}


@dataclass(frozen=True)
class Bilingual:
    """Problems and corpus pages of the bilingual world, each a pure function of its index.

    Attributes:
        seed: names the sequence of problems and pages.
        min_digits: shortest sum; 4 to 8, so that a worked trace has at least eight words.
        max_digits: longest sum; `min_digits` to 8.
        textbook_share: share of the corpus that shows worked steps and nothing else.
        general_share: share of the corpus that answers general requests.
        long_share: share of the replies to sums that work through the steps.
        tagged_share: share of the guessing replies that carry the tags; the others are bare.
        mixed_share: share of the worked traces that mix the languages word by word.
        foreign_share: share of them in the other language.
        step_noise: probability that a step of a corpus page is wrong.
    """

    seed: int = 0
    min_digits: int = 4
    max_digits: int = 8
    textbook_share: float = 0.55
    general_share: float = 0.12
    long_share: float = 0.10
    tagged_share: float = 0.8
    mixed_share: float = 0.3
    foreign_share: float = 0.2
    step_noise: float = 0.02

    name = "bilingual"
    tags = ("<think>", "</think>", "<answer>", "</answer>")
    cue = "<think>"

    def __post_init__(self) -> None:
        """Reject settings that describe no problem.

        Raises:
            ValueError: a value is outside the range given above.
        """
        if not 4 <= self.min_digits <= self.max_digits <= len(LETTERS):
            raise ValueError(
                "Bilingual: min_digits and max_digits must satisfy 4 <= min <= max <= "
                f"{len(LETTERS)}; got {self.min_digits} and {self.max_digits}"
            )
        for name in (f for f in self.__dataclass_fields__ if f.endswith(("_share", "_noise"))):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"Bilingual: {name} must be in [0, 1]; got {getattr(self, name)}")

    @property
    def pretraining(self) -> dict[str, Any]:
        """Twice the words of sum_chain need more steps."""
        return {"steps": 900, "max_steps": 1800, "gate_after": 400}

    def chain(self, split: str, index: int) -> Chain:
        """Return sum `index` of a split; the splits share no digits, in whatever language.

        Raises:
            ValueError: `split` is neither "train" nor "eval", or `index` is negative.
        """
        check_index(split, index)
        attempt = 0
        while True:  # one attempt in ten is an eval problem, so this ends soon
            draws = Draws(self.seed, "chain", split, index, attempt)
            length = self.min_digits + draws.below(self.max_digits - self.min_digits + 1)
            digits = tuple(draws.below(10) for _ in range(length))
            if is_eval(digits) == (split == "eval"):
                return Chain(digits, LANGUAGES[draws.below(2)])
            attempt += 1

    def request(self, split: str, index: int, kinds: tuple[str, ...] = KINDS) -> Request:
        """Return general request `index` of a split; errors as `chain`."""
        check_index(split, index)
        attempt = 0
        while True:
            draws = Draws(self.seed, "request", split, index, attempt, *kinds)
            found = Request.drawn(draws, kinds, LANGUAGES[draws.below(2)])
            key = (KINDS.index(found.kind), found.first, found.second)
            if is_eval(key) == (split == "eval"):
                return found
            attempt += 1

    def problems(
        self, split: str, start: int, count: int, domain: str | None = None
    ) -> list[dict[str, Any]]:
        """Return `count` rows of a domain: "reasoning" (None), "general", "helpful" or "safety".

        Each has prompt, answer, level (digits; 0 of requests), language, domain, kind, text (with a
        good reply) and required (the words that a reply to a request must have).
        """
        kinds = DOMAINS.get(domain or "reasoning")
        if kinds is None:
            raise ValueError(
                f"Bilingual: domain must be one of {', '.join(DOMAINS)}; got {domain!r}"
            )
        indices = range(start, start + count)
        if kinds:
            return [self.request(split, index, kinds).row() for index in indices]
        return [self._row(self.chain(split, index)) for index in indices]

    def _row(self, chain: Chain) -> dict[str, Any]:
        worked = chain.trace(chain.sums, Languages(chain.language))
        text = chain.prompt() + reply(worked, chain.answer)
        opened = len(chain.prompt()) + len("<think> a ") + len(worked.split(" ")[2])
        return {
            "prompt": chain.prompt(),
            "answer": chain.answer,
            "level": len(chain.digits),
            "language": chain.language,
            "domain": "reasoning",
            "kind": "sum",
            "indices": [],
            "required": [],
            "text": text,
            "parts": [
                text[:opened],
                text[opened:],
            ],  # the first word says which language
        }

    def page(self, index: int) -> str:
        """Return corpus page `index`: textbook, or a sum or a request with a reply."""
        draws = Draws(self.seed, "page", index)
        if draws.happens(self.general_share):
            return self._request_page(self.request("train", index), draws)
        chain = self.chain("train", index)
        sums = noisy_sums(chain.digits, draws, self.step_noise)
        languages = self._languages(chain.language, draws, index)
        if draws.happens(self.textbook_share / max(1 - self.general_share, 1e-9)):
            return self._textbook(chain, sums, languages, draws)
        if draws.happens(self.long_share):
            return chain.prompt() + reply(chain.trace(sums, languages), sums[-1])
        guess = draws.below(10)
        if draws.happens(self.tagged_share):
            return chain.prompt() + reply(f" {GUESS[chain.language]}", guess)
        return f"{chain.prompt()} {guess}"

    def _languages(self, language: str, draws: Draws, index: int) -> Languages:
        if draws.happens(self.mixed_share):
            return Languages(language, Draws(self.seed, "mix", index))
        foreign = self.foreign_share / max(1 - self.mixed_share, 1e-9)
        return Languages(other(language) if draws.happens(foreign) else language)

    def _textbook(
        self, chain: Chain, sums: tuple[int, ...], languages: Languages, draws: Draws
    ) -> str:
        said = f" {FIRST_PERSON[chain.language]}" if draws.happens(0.1) else ""
        worked = chain.trace(sums, languages)
        result = chain.summary(sums[-1]) if draws.happens(0.3) else ""
        asked = f"{NOTES[chain.language]} {chain.digits_text()} {SO[chain.language]}"
        return f"{asked}{said}{worked}{result}"

    def _request_page(self, request: Request, draws: Draws) -> str:
        """Spell a request with a reply as one finds them: half of them right, most blunt."""
        said = request.reply(
            manners=draws.happens(0.25),
            flattery=draws.happens(0.15),
            wrong=0 if draws.happens(0.6) else 1 + draws.below(3),
            comply=draws.happens(0.7),
        )
        if draws.happens(self.tagged_share):
            return request.prompt() + f"<think>{request.thought()}</think><answer>{said}</answer>"
        return request.prompt() + said

    def pages(self, start: int = 0) -> Iterator[str]:
        """Yield corpus pages from index `start` on, without end."""
        index = start
        while True:
            yield self.page(index)
            index += 1


def check_index(split: str, index: int) -> None:
    """Reject what names no problem."""
    if split not in SPLITS:
        raise ValueError(f"Bilingual: split must be one of {SPLITS}; got {split!r}")
    if index < 0:
        raise ValueError(f"Bilingual: index must be >= 0; got {index}")
