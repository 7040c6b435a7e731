"""Rejection sampling: which completions are kept, and why the others are not."""

import pytest
import torch

from r1core.selection import SelectionConfig, select
from r1core.types import RewardTable, Rollouts, SamplingParams


class Words:
    """A tokenizer whose ids are indices into a list of texts."""

    def __init__(self, texts):
        self.texts = texts

    def decode(self, ids, skip_special_tokens=False):
        return self.texts[ids[0]]


def rollouts_of(texts, prompts=1, lengths=None, reasons=None):
    N = len(texts)
    lengths = lengths or [1] * N
    T = max(lengths)
    tokens = torch.zeros(N, T, dtype=torch.int64)
    tokens[:, 0] = torch.arange(N)
    blank = torch.zeros(N, T)
    return Rollouts(
        prompts=["?"] * prompts,
        prompt_tokens=[torch.tensor([0])] * prompts,
        group_size=N // prompts,
        tokens_NT=tokens,
        logprobs_NT=blank,
        truncated_logprobs_NT=blank,
        entropies_NT=blank,
        lengths_N=torch.tensor(lengths),
        mask_NT=blank.bool(),
        finish_reasons=reasons or ["stop"] * N,
        sampling=SamplingParams(n=N // prompts),
        prompt_uids=list(range(prompts)),
        tokenizer=Words(texts),
    )


def table_of(scores, total=None, group_size=None):
    scores = torch.tensor(scores)
    total = scores if total is None else torch.tensor(total)
    return RewardTable({"accuracy": scores}, {"accuracy": 1.0}, total, group_size or len(scores))


GOOD = "<think> We add two and two and carry nothing, which is clear.</think> The answer is 4."
OTHER = "<think> Doubling two by hand leads straight to the result we want.</think> It is 4."


def kept(texts, config=None, columns=None, **given):
    rollouts = rollouts_of(texts, **given)
    found = select(rollouts, table_of([1.0] * len(texts)), columns, config)
    return found.kept, found.rejected


def test_only_correct_and_finished_completions_are_kept():
    rollouts = rollouts_of([GOOD, OTHER, GOOD + " x", OTHER], reasons=["stop"] * 3 + ["length"])
    table = table_of([1.0, 0.0, float("nan"), 1.0])
    found = select(rollouts, table, config=SelectionConfig(per_prompt=4))
    assert found.kept == [0]
    assert found.rejected == {"wrong": 2, "unfinished": 1}


@pytest.mark.parametrize(
    ("text", "config", "reason"),
    [
        (GOOD.replace("carry nothing", "进位 没有 任何 东西 在 这里"), {}, "mixed_language"),
        ("<think> " + "again and " * 40 + "</think> 4", {}, "repetition"),
        (GOOD, {"max_paragraph": 10}, "long_paragraph"),
        (GOOD + "\n```python\nprint(4)\n```", {}, "code_block"),
    ],
)
def test_what_is_hard_to_read_is_dropped_and_counted(text, config, reason):
    assert kept([text], SelectionConfig(**config)) == ([], {reason: 1})


def test_rules_can_be_switched_off():
    mixed = GOOD.replace("carry nothing", "进位 没有 任何 东西 在 这里")
    assert kept([mixed], SelectionConfig(min_language=0))[0] == [0]
    assert kept([GOOD + "\n```\n4\n```"], SelectionConfig(code_blocks=True))[0] == [0]


def test_the_language_is_the_questions_own():
    chinese = "<think> 我们 把 二 和 二 加 起来 得到 四 没有 进位</think> 答案 是 4"
    assert kept([chinese], columns={"language": ["zh"]})[0] == [0]
    assert kept([chinese], columns={"language": ["en"]})[1] == {"mixed_language": 1}


def test_near_duplicates_of_a_better_one_are_dropped():
    found, rejected = kept(
        [GOOD, GOOD.replace("clear", "plain"), OTHER],
        SelectionConfig(per_prompt=3, max_overlap=0.5),
    )
    assert found == [0, 2]
    assert rejected == {"duplicate": 1}


def test_the_best_few_of_each_prompt_by_reward_then_length():
    texts = [GOOD, OTHER, GOOD, OTHER]
    rollouts = rollouts_of(texts, prompts=2, lengths=[5, 3, 2, 2])
    table = table_of([1.0] * 4, total=[1.0, 1.0, 1.0, 2.0], group_size=2)
    assert select(rollouts, table).kept == [1, 3]
    longest = SelectionConfig(best="longest")
    assert select(rollouts, table, config=longest).kept == [0, 3]
    assert select(rollouts, table).rejected == {"surplus": 2}
