import importlib.util
import json
import math
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1core.rewards import (
    RewardSpec,
    cosine_length,
    cosine_length_reward,
    format_faults,
    format_reward,
    json_format_reward,
    language_consistency,
    language_consistency_reward,
    longest_periodic_suffix,
    repetition_penalty,
    repetition_penalty_reward,
    soft_overlong_punishment_reward,
    tag_count_reward,
    token_repetition_penalty,
)

ROOT = Path(__file__).parents[2]
GOOD = "<think>6 * 7</think><answer>42</answer>"
BAD = "<think>6 * 7</think><answer>43</answer>"
ENGLISH = "First we add the two numbers and then we divide."
CHINESE = "我们先把这两个数加起来。"
ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too
PIECES = st.lists(
    st.sampled_from(
        [
            "<think>",
            "</think>",
            "$",
            "\\(",
            "```",
            "`",
            "\\begin{a}",
            "https://",
            "wait ",
            "我",
            "{",
        ]
    )
    | ANY_TEXT
).map("".join)


def message(text):
    return [{"role": "assistant", "content": text}]


@settings(deadline=None)
@given(PIECES)
def test_any_text_scores_in_range(text):
    (share,) = language_consistency([text], min_words=1, part="all")
    assert math.isnan(share) or 0 <= share <= 1
    assert -2 <= repetition_penalty([text], ngram_size=2, max_penalty=-2)[0] <= 0
    (loop,) = longest_periodic_suffix([text], min_repeats=2, min_length=1)
    assert 0 <= 2 * loop.period <= loop.length <= len(text)
    assert json_format_reward(["q"], [text])[0] in (0, 1)
    assert -1 <= cosine_length_reward(["q"], [text], answer=["42"])[0] <= 1


def test_language_consistency_is_the_share_of_words_in_the_language():
    mixed = "First we add 两个 numbers and then we divide."
    shares = language_consistency([ENGLISH, mixed, CHINESE])
    assert shares == [1, 0.8, 0]
    assert language_consistency([ENGLISH, CHINESE], language=["en", "zh"]) == [1, 1]
    assert language_consistency([ENGLISH, CHINESE], language=["zh", "en"]) == [0, 0]
    assert language_consistency([f"<think>{ENGLISH}</think>{CHINESE}"], part="think") == [1]
    assert language_consistency([f"<think>{ENGLISH}</think>{CHINESE}"], part="all") < [1]


def test_language_consistency_says_nothing_of_a_short_text():
    assert math.isnan(language_consistency(["wait"])[0])
    reward = language_consistency_reward
    assert reward(["q"] * 2, ["wait", message(ENGLISH)]) == [None, 1]
    assert reward(["q"] * 2, ["wait", ENGLISH], short=0) == [0, 1]
    assert reward(["q"] * 2, [ENGLISH, CHINESE], language=["en", "zh"]) == [1, 1]


def test_language_consistency_tells_latin_languages_apart_on_request():
    french = "Nous avons donc une somme qui est le double, et le reste est dans la liste."
    assert language_consistency([french], language="en") == [1]
    assert language_consistency([french], language="en", function_words=True)[0] < 0.2
    assert language_consistency([french], language="fr", function_words=True)[0] > 0.8


@pytest.mark.parametrize(
    "options, rule",
    [
        ({"language": "klingon"}, "language must be one of en fr .*; got klingon"),
        ({"language": ["en", "fr"]}, "one code or one per text, 1; got 2"),
        ({"language": "pl", "function_words": True}, "function_words must be False for pl"),
        ({"min_words": -1}, "min_words must be >= 0; got -1"),
        ({"part": "answer"}, "part must be 'think' or 'all'; got 'answer'"),
    ],
)
def test_language_consistency_rejects(options, rule):
    with pytest.raises(ValueError, match=rule):
        language_consistency([ENGLISH], **options)


@pytest.mark.parametrize("short", [2, math.nan, "zero", None])
def test_language_consistency_reward_rejects_another_score_for_short_texts(short):
    with pytest.raises(ValueError, match="short must be 'abstain' or a number"):
        language_consistency_reward(["q"], [ENGLISH], short=short)


def load_script_table():
    path = ROOT / "build_support/make_script_table.py"
    spec = importlib.util.spec_from_file_location("make_script_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_table_is_the_one_that_its_script_writes():
    module = load_script_table()
    committed = module.TABLE.read_text()
    if f"Unicode {unicodedata.unidata_version};" not in committed:
        pytest.skip("this Python has another version of Unicode")
    assert module.table() == committed


def repeated_share(tokens, n):
    """Return the formula of TRL and open-r1, from their documentation."""
    ngrams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return 1 - len(set(ngrams)) / len(ngrams) if ngrams else 0


@settings(deadline=None)
@given(st.lists(st.sampled_from(["wait", "Wait", "so", "4."])), st.integers(1, 5))
def test_repetition_penalty_is_that_of_open_r1(words, n):
    (penalty,) = repetition_penalty(["  ".join(words)], ngram_size=n, max_penalty=-0.5)
    expected = -0.5 * repeated_share([word.lower() for word in words], n)
    assert penalty == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(st.lists(st.integers(0, 4)), st.integers(1, 5))
def test_token_repetition_penalty_is_that_of_trl(ids, n):
    expected = pytest.approx([-repeated_share(ids, n)], abs=1e-12)
    assert token_repetition_penalty([ids], ngram_size=n) == expected
    reward = repetition_penalty_reward(["q"], ["text"], [ids], ngram_size=n, unit="tokens")
    assert reward == expected


def test_repetition_penalty_reads_chinese_by_character_and_messages():
    assert repetition_penalty(["等等等等等"], ngram_size=2) == [-0.75]
    assert repetition_penalty(["", "wait", "Éa éa ÉA"], ngram_size=2) == [0, 0, -0.5]
    assert repetition_penalty_reward(["q"], [message("a a a a")], ngram_size=2) == [1 / 3 - 1]


def test_repetition_penalty_rejects_what_is_out_of_range():
    with pytest.raises(ValueError, match="max_penalty must be <= 0; got 1"):
        repetition_penalty(["a"], max_penalty=1)
    with pytest.raises(ValueError, match="ngram_size must be >= 1; got 0"):
        repetition_penalty(["a"], ngram_size=0)
    with pytest.raises(ValueError, match="'tokens' with completion_ids; got 'tokens'"):
        repetition_penalty_reward(["q"], ["a"], unit="tokens")


def test_longest_periodic_suffix_sees_the_text_go_round():
    loops = longest_periodic_suffix(["So: " + "wait, no. " * 9, "等" * 30, "So it is four."])
    assert loops == [(91, 10), (30, 1), (0, 0)]
    assert longest_periodic_suffix(["wait wait"], min_repeats=2, min_length=4) == [(0, 0)]
    with pytest.raises(ValueError, match="min_repeats must be >= 2; got 1"):
        longest_periodic_suffix(["a"], min_repeats=1)


def test_soft_overlong_punishment_reward_counts_tokens():
    ids = [[0] * 5, [0] * 8, [0] * 12]
    assert soft_overlong_punishment_reward(["q"] * 3, [""] * 3, ids, max_length=10, cache=4) == [
        0,
        -0.5,
        -1,
    ]


def cosine_of_open_r1(length, right, max_len):
    cosine = math.cos(length / max_len * math.pi)
    low, high = (0.5, 1.0) if right else (-0.5, -1.0)
    return low + 0.5 * (high - low) * (1.0 + cosine)


@given(st.integers(0, 1000), st.booleans())
def test_cosine_length_is_that_of_open_r1_up_to_the_limit(length, right):
    expected = cosine_of_open_r1(length, right, 1000)
    assert cosine_length([length], [right]) == pytest.approx([expected], abs=1e-12)


def test_cosine_length_stays_at_its_bounds():
    assert cosine_length([0, 1000, 1500, 9999], [True] * 4) == [1, 0.5, 0.5, 0.5]
    assert cosine_length([0, 1000, 1500, 9999], [False] * 4) == [-1, -0.5, -0.5, -0.5]
    with pytest.raises(ValueError, match="max_len must be >= 1; got 0"):
        cosine_length([1], [True], max_len=0)
    with pytest.raises(ValueError, match="correct must be one per length, 2; got 1"):
        cosine_length([1, 2], [True])


def test_cosine_length_reward_judges_and_counts_tokens():
    scores = cosine_length_reward(
        ["q"] * 3, [GOOD, message(BAD), GOOD], [[0] * 500] * 3, answer=["42", "42", "?"]
    )
    assert scores == [pytest.approx(0.75), pytest.approx(-0.75), None]
    assert cosine_length_reward(["q"], [GOOD], solution=["42"], max_len=3) == [0.5]  # three words


@pytest.mark.parametrize(
    "text, score",
    [
        ('{"a": [1, 2.5e3, null]}', 1),
        (' <think>{</think>\n{"a": 1} ', 1),
        ('<think>x</think><answer>{"a": 1}</answer>', 1),
        ('<think>x</think>Here:\n```json\n{"a": 1}\n```\nDone.', 1),
        ('<answer>\n```\n{"a": 1}\n```\n</answer>', 1),
        ('```python\nx\n```\n```json\n{"a": 1}\n```', 1),
        (f'{{"a": {"7" * 10_000}}}', 1),
        ('<think>{"a": 1}', 0),
        ('The JSON: {"a": 1}', 0),
        ('{"a": 1} {"a": 1}', 0),
        ("{'a': 1}", 0),
        ('{"a": 1,}', 0),
        ('{"a": NaN}', 0),
        ('{"a": -Infinity}', 0),
        ('{"a": "\n"}', 0),
        ("", 0),
        ("[" * 100_000, 0),
        ("[" * 100_000 + "]" * 100_000, 0),
        ('{"a":' * 100_000, 0),
    ],
)
def test_json_format_reward_takes_only_json(text, score):
    assert json_format_reward(["q"] * 2, [text, message(text)]) == [score, score]


def test_json_format_reward_asks_for_keys():
    texts = ['{"a": 1, "b": 2}', '{"a": 1}', '["a", "b"]', '"ab"']
    assert json_format_reward(["q"] * 4, texts, keys=["a", "b"]) == [1, 0, 0, 0]
    with pytest.raises(ValueError, match="keys must be a list of names; got 'ab'"):
        json_format_reward(["q"], texts[:1], keys="ab")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_json_format_reward_takes_all_that_json_writes(value):
    body = json.dumps(value)
    assert json_format_reward(["q"], [f"<think>x</think>\n```json\n{body}\n```"]) == [1]


def test_format_rewards_see_what_the_prompt_opened():
    rest = GOOD.removeprefix("<think>")
    prompts = ["User: 6 * 7? Assistant: <think>\n", "q", "q <think>", [{"content": "<think>"}]]
    completions = [rest, rest, GOOD, rest]
    assert format_reward(prompts, completions) == [1, 0, 1, 0]
    assert tag_count_reward(prompts, completions) == [1, 0.75, 1, 0.75]
    assert format_reward(["q", "q <think>"], [rest, rest], prefix="<think>") == [1, 1]
    assert format_reward(["q <think>"], [rest], prefix="") == [0]
    assert format_faults([rest]) == ["no <think> where it belongs"]


def test_rewards_resolve_by_path_with_options():
    spec = RewardSpec.resolve("r1core.rewards:language_consistency_reward", language="zh")
    assert spec.function(prompts=["q"], completions=[CHINESE]) == [1]


@pytest.mark.parametrize(
    "grade",
    [
        language_consistency,
        repetition_penalty,
        longest_periodic_suffix,
        lambda texts: json_format_reward(["q"], texts),
    ],
    ids=["language", "repetition", "suffix", "json"],
)
@pytest.mark.parametrize("piece", ["wait, so ", "等一下", "$a ", "`` ` ", "\\begin{a}", "<a", "["])
def test_a_megabyte_takes_no_time(grade, piece):
    text = piece * (1_000_000 // len(piece.encode()))
    started = time.perf_counter()
    grade([text])
    assert time.perf_counter() - started < 2  # measured: at most 0.1 on two busy cores
