"""The sum-chain world and its tokenizer."""

import re
from itertools import islice

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from r1core.worlds import base, load_world
from r1core.worlds.sum_chain import SumChain, is_eval
from r1core.worlds.tokenizer import train_tokenizer

CONTROLS = ("<unk>", "<s>", "</s>", "<pad>")  # Hugging Face reads these in text, by design


def digits_of(text):
    return tuple(int(digit) for digit in re.findall(r"[a-h] (\d)", text))


# Problems -----------------------------------------------------------------------------------------


def test_problem_answers_are_the_sums_of_their_digits():
    for row in load_world("sum_chain").problems("train", 0, 300):
        digits = digits_of(row["prompt"])
        assert row["answer"] == str(sum(digits) % 10)
        assert row["level"] == len(digits)


def test_problem_texts_are_correct_worked_replies():
    for row in load_world("sum_chain").problems("eval", 0, 300):
        assert row["text"].startswith(row["prompt"] + "<think> a")
        thought, answer = re.fullmatch(
            r"<think>(.*)</think><answer> (\d)</answer>", row["text"][len(row["prompt"]) :]
        ).groups()
        steps = re.findall(r" ([a-h]) (\d) (\d)", thought)
        digits = digits_of(row["prompt"])
        assert tuple(int(digit) for _, digit, _ in steps) == digits
        assert [int(total) for *_, total in steps] == [
            sum(digits[: k + 1]) % 10 for k in range(len(digits))
        ]
        assert answer == row["answer"]


def test_problem_is_a_function_of_seed_split_and_index():
    world = load_world("sum_chain", seed=7)
    rows = world.problems("train", 0, 50)
    assert rows == load_world("sum_chain", seed=7).problems("train", 0, 50)
    assert rows[20:25] == world.problems("train", 20, 5)
    assert rows != load_world("sum_chain", seed=8).problems("train", 0, 50)


def test_problem_zero_of_seed_zero_stays_what_it_is():
    """A change here changes every base and every figure: raise `base.BASE_VERSION` with it."""
    first = load_world("sum_chain").problems("eval", 0, 1)[0]
    assert first["prompt"] == "Sum a 5 b 0 c 6 d 5 e 8 f 0 g 7 h 4 A:"


def test_splits_share_no_problem_under_any_seed():
    train = {SumChain(seed=0).digits("train", k) for k in range(3000)}
    evaluation = {SumChain(seed=1).digits("eval", k) for k in range(3000)}
    assert train.isdisjoint(evaluation)
    held_out = sum(is_eval((a, b, c)) for a in range(10) for b in range(10) for c in range(10))
    assert 60 < held_out < 140  # one in ten of the 1,000 shortest problems


def test_levels_are_spread_evenly():
    levels = [row["level"] for row in load_world("sum_chain").problems("train", 0, 3000)]
    for level in range(3, 9):
        assert levels.count(level) == pytest.approx(500, abs=80)  # four standard deviations


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"name": "sumchain"},
            r"name must be one of \['bilingual', 'pick_search', 'sum_chain'\]; got 'sumchain'",
        ),
        ({"name": "sum_chain", "max_digit": 5}, r"got 'max_digit' \(nearest: 'max_digits'\)"),
        ({"name": "sum_chain", "max_digits": 9}, r"1 <= min <= max <= 8; got 3 and 9"),
        ({"name": "sum_chain", "long_share": 1.5}, r"long_share must be in \[0, 1\]; got 1.5"),
    ],
)
def test_load_world_names_the_mistake(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_world(**arguments)


def test_problems_rejects_an_unknown_split_and_a_negative_index():
    with pytest.raises(ValueError, match=r"split must be one of .*; got 'test'"):
        load_world("sum_chain").problems("test", 0, 1)
    with pytest.raises(ValueError, match=r"index must be >= 0; got -1"):
        load_world("sum_chain").problems("train", -1, 1)


# Corpus -------------------------------------------------------------------------------------------


def test_corpus_has_the_configured_shares():
    pages = list(islice(load_world("sum_chain").pages(), 20_000))
    questions = [page for page in pages if page.startswith("Sum")]
    long = [page for page in questions if "<think> a" in page]
    guesses = [page for page in questions if "<think> a" not in page]
    tagged = [page for page in guesses if "<think> guess</think><answer>" in page]
    textbook = [page for page in pages if page.startswith("Note")]
    assert len(textbook) + len(questions) == len(pages)
    assert len(textbook) / len(pages) == pytest.approx(0.6, abs=0.015)
    assert len(long) / len(questions) == pytest.approx(0.10, abs=0.015)
    assert len(tagged) / len(guesses) == pytest.approx(0.8, abs=0.02)


def test_corpus_steps_are_wrong_as_often_as_configured():
    steps = wrong = 0
    for page in islice(load_world("sum_chain", textbook_share=1.0).pages(), 5000):
        total = 0
        for _, digit, written in re.findall(r"([a-h]) (\d) (\d)", page.split(" so ")[1]):
            steps += 1
            wrong += int(written) != (total + int(digit)) % 10
            total = int(written)  # a wrong sum is built upon
    assert wrong / steps == pytest.approx(0.02, abs=0.005)


def test_corpus_guesses_are_right_by_chance_only():
    pages = islice(load_world("sum_chain", textbook_share=0.0, long_share=0.0).pages(), 5000)
    right = [int(re.search(r"(\d)(?:</answer>)?$", p)[1]) == sum(digits_of(p)) % 10 for p in pages]
    assert sum(right) / len(right) == pytest.approx(0.1, abs=0.02)


def test_corpus_holds_no_eval_problem():
    world = load_world("sum_chain", textbook_share=0.0)
    for page in islice(world.pages(), 2000):
        assert not is_eval(digits_of(page.split(" A:")[0]))


# Tokenizer ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    world = load_world("sum_chain")
    train_tokenizer(islice(world.pages(), base.TOKENIZER_PAGES), world.tags, path)
    return path


@pytest.fixture(scope="module")
def tokenizer(directory):
    return AutoTokenizer.from_pretrained(str(directory))


@pytest.fixture(scope="module")
def processor(directory):
    return sentencepiece.SentencePieceProcessor(model_file=str(directory / "tokenizer.model"))


def test_tokenizer_training_is_deterministic(directory, tmp_path):
    world = load_world("sum_chain")
    train_tokenizer(islice(world.pages(), base.TOKENIZER_PAGES), world.tags, tmp_path)
    for file in directory.iterdir():
        assert (tmp_path / file.name).read_bytes() == file.read_bytes()


def test_tokenizer_gives_sentencepiece_ids_on_the_corpus(tokenizer, processor):
    pages = list(islice(load_world("sum_chain").pages(50_000), 2000))
    assert tokenizer(pages)["input_ids"] == processor.encode(pages)
    assert tokenizer.batch_decode(tokenizer(pages)["input_ids"]) == pages


def test_tokenizer_gives_sentencepiece_ids_on_its_whole_vocabulary(tokenizer, processor):
    assert len(tokenizer) == processor.vocab_size()
    for index in range(processor.vocab_size()):
        piece = processor.id_to_piece(index)
        assert tokenizer.convert_ids_to_tokens(index) == piece
        if piece not in CONTROLS:
            text = piece.replace("▁", " ")
            assert tokenizer.encode(text) == processor.encode(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "   a   b",
        "\n\t\r\n",
        "\x00",
        "▁a",
        "Sumsum",
        "12 345",
        "<answer",
        "< think>",
        "<think><think> a</answer>",
        " <think> a 4 4 </think> <answer> 4 </answer> ",
        "日本 héllo 🎉 e\u0301 ﬁ \u200b",
    ],
)
def test_tokenizer_gives_sentencepiece_ids_on_odd_text(tokenizer, processor, text):
    assert tokenizer.encode(text) == processor.encode(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text.replace("▁", " ")


@given(st.text().filter(lambda text: not any(control in text for control in CONTROLS)))
def test_tokenizer_gives_sentencepiece_ids_on_any_text(tokenizer, processor, text):
    assert tokenizer.encode(text) == processor.encode(text)


def test_tokenizer_keeps_tags_whole_and_adds_nothing(tokenizer):
    tags = load_world("sum_chain").tags
    assert [len(tokenizer.encode(tag)) for tag in tags] == [1, 1, 1, 1]
    assert tokenizer.tokenize(" A:<think> a 4") == ["▁A", ":", "<think>", "▁a", "▁4"]
    assert tokenizer.eos_token_id == 2 and tokenizer.pad_token_id == 3


def test_tokenizer_survives_save_pretrained(tokenizer, tmp_path):
    tokenizer.save_pretrained(str(tmp_path))
    again = AutoTokenizer.from_pretrained(str(tmp_path))
    for text in (*islice(load_world("sum_chain").pages(), 200), "  x\n日本", "<think> "):
        assert again.encode(text) == tokenizer.encode(text)
        assert again.decode(again.encode(text)) == text


def test_chat_template_spells_a_question_as_the_corpus_does(tokenizer):
    row = load_world("sum_chain").problems("train", 0, 1)[0]
    messages = [{"role": "user", "content": row["prompt"].removesuffix(" A:")}]
    asked = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert asked == row["prompt"]
    messages.append({"role": "assistant", "content": row["text"].removeprefix(row["prompt"])})
    assert tokenizer.apply_chat_template(messages, tokenize=False) == row["text"] + "</s>"
