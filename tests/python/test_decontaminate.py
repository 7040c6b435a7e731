"""n-gram decontamination: what is removed, what is not, and where it applies."""

import json
import time

import pytest
from models import qwen2_policy

from r1core.data import DataSpec, decontaminate, load_examples, load_questions

QUESTION = (
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May."
)
WORDS = QUESTION.split()
CLEAN = "A train leaves the station at noon and another one leaves it two hours later. When?"


def removed(text, questions=(QUESTION,), **settings):
    return [match.index for match in decontaminate([text], questions, **settings).removed] == [0]


def test_a_text_is_removed_with_the_gram_that_it_shares():
    found = decontaminate(
        [CLEAN, f"Read this. {QUESTION} How many?", CLEAN], [CLEAN[:20], QUESTION]
    )
    assert found.kept == [0, 2]
    match = found.removed[0]
    assert (match.index, match.question) == (1, 1)
    assert match.gram == "natalia sold clips to 48 of her friends in april"


def test_ten_words_are_a_match_and_nine_are_not():
    assert removed("Once " + " ".join(WORDS[3:13]) + " more")
    assert not removed("Once " + " ".join(WORDS[3:12]) + " more")
    assert removed("Once " + " ".join(WORDS[3:12]) + " more", n=9)


@pytest.mark.parametrize("changed", range(len(WORDS)))
def test_one_changed_word_in_the_middle_hides_a_gram_only_if_none_is_left(changed):
    words = [*WORDS[:changed], "seven", *WORDS[changed + 1 :]]
    assert removed(" ".join(words)) == (changed >= 10 or len(WORDS) - changed - 1 >= 10)


def test_case_punctuation_and_white_space_do_not_hide_a_match():
    shouted = QUESTION.upper().replace(",", " --").replace(" ", " \n ")
    assert removed(f"**{shouted}!!**")
    assert removed("Ｎａｔａｌｉａ" + QUESTION[7:])  # the same letters, full width


def test_both_apostrophes_are_one():
    assert removed("Janet\u2019s ducks", ["janet's ducks"])


def test_words_out_of_order_are_no_match():
    assert not removed(" ".join(WORDS[::-1]))


def test_short_texts_match_whole_or_not_at_all():
    assert removed("what is 2+2", ["What is 2 + 2?"])
    assert not removed("Tell me what is 2 + 2 and why", ["What is 2 + 2?"])
    assert not removed("What is 2 + 3?", ["What is 2 + 2?"])
    assert not removed(" ".join(WORDS[:9]))  # a short text against a long question
    assert not removed("", ["", "?!"])


def test_chinese_is_compared_by_the_character():
    question = "小明有三个苹果，又买了五个苹果，一共有多少个？"
    assert removed("请问：小明有三个苹果，又买了几个？", [question])
    assert not removed("小红有三个苹果", [question])


def test_a_gram_needs_a_word():
    with pytest.raises(ValueError, match="n must be >= 1; got 0"):
        decontaminate([CLEAN], [QUESTION], n=0)
    with pytest.raises(ValueError, match=r"texts must be a list of texts; got 'A train"):
        decontaminate(CLEAN, [QUESTION])
    with pytest.raises(ValueError, match=r"questions must be a list of texts; got 'Natalia"):
        decontaminate([CLEAN], QUESTION)


def test_a_million_words_take_seconds():
    texts = [" ".join(f"w{(k * 7919 + n) % 5003}" for k in range(100)) for n in range(10_000)]
    start = time.perf_counter()
    assert not decontaminate(texts, [QUESTION] * 100).removed
    assert time.perf_counter() - start < 20  # about one here


@pytest.fixture
def files(tmp_path):
    def write(name, rows):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    train = [{"prompt": CLEAN, "answer": "2"}, {"prompt": f"Hm. {QUESTION}", "answer": "72"}]
    return {
        "train": write("train.jsonl", train),
        "sft": write(
            "sft.jsonl",
            [
                {"prompt": "Who?", "completion": f"I think of this: {QUESTION}"},
                {"prompt": "What?", "completion": "Nothing."},
            ],
        ),
        "test": write("test.jsonl", [{"question": QUESTION, "answer": "72"}]),
        "bad": write("bad.jsonl", [{"x": 1}]),
    }


def test_a_recipes_data_is_decontaminated(files):
    spec = DataSpec(path=files["train"], decontaminate=[files["test"]])
    questions = load_questions(spec)
    assert [row["prompt"] for row in questions.rows] == [CLEAN]
    assert (questions.contaminated, questions.dropped) == (1, 0)
    lenient = spec.model_copy(update={"decontaminate_ngram": 40})
    assert len(load_questions(lenient)) == 2


def test_a_named_set_decontaminates(files, monkeypatch):
    import datasets

    rows = datasets.Dataset.from_list([{"question": QUESTION, "answer": "#### 72"}])
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: rows)
    assert len(load_questions(DataSpec(path=files["train"], decontaminate=["gsm8k"]))) == 1


def test_examples_are_decontaminated_by_their_completions_too(files):
    policy = qwen2_policy()
    assert len(load_examples(DataSpec(path=files["sft"]), policy)[0]) == 2
    spec = DataSpec(path=files["sft"], decontaminate=[files["test"]])
    assert len(load_examples(spec, policy)[0]) == 1


def test_the_evaluation_itself_is_not_decontaminated(files):
    spec = DataSpec(path="openai/gsm8k", decontaminate=["gsm8k"])
    assert spec.held_out().decontaminate == []


def test_what_is_no_set_of_questions_is_named(files):
    with pytest.raises(ValueError, match="rows must have a column question.*row 0 of .*bad.jsonl"):
        load_questions(DataSpec(path=files["train"], decontaminate=[files["bad"]]))
    with pytest.raises(ValueError, match="must leave rows"):
        load_questions(
            DataSpec(path=files["test"], prompt="question", decontaminate=[files["test"]])
        )
