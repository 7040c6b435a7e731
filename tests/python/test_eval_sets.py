"""Evaluation sets: each read from a small file in the columns it is published in."""

import json
from pathlib import Path

import pytest

from r1core.data import R1_ZERO_TEMPLATE
from r1core.eval_sets import EVAL_SETS, MATH_DIRECTIVE, find_eval_set, load_eval_set
from r1core.rewards import verify_choice, verify_math

GSM8K = [
    {
        "question": f"What is {n} + 2?",
        "answer": f"It is {n}+2=<<{n}+2={n + 2}>>{n + 2}.\n#### {n + 2}",
    }
    for n in range(20)
]
MATH = {
    "problem": "What is $1+1$?",
    "solution": "We get $\\boxed{2}$.",
    "answer": "2",
    "subject": "Prealgebra",
    "level": 1,
    "unique_id": "test/prealgebra/1.json",
}
AIME = {"id": 60, "problem": "Find $n$.", "solution": "So 25.", "answer": "025", "year": "2024"}
MMLU = {"question": "Two?", "subject": "algebra", "choices": ["1", "2", "3", "4"], "answer": 1}
MMLU_PRO = {
    "question_id": 1,
    "question": "The sixth?",
    "options": ["p", "q", "r", "s", "t", "u"],
    "answer": "F",
    "answer_index": 5,
    "cot_content": "A: Let's think step by step. The answer is (F).",
    "category": "law",
    "src": "x",
}
GPQA = {
    "Question": "Which particle?\n",
    "Correct Answer": "the muon\n",
    "Incorrect Answer 1": "the pion",
    "Incorrect Answer 2": "the kaon",
    "Incorrect Answer 3": "the tau",
    "Explanation": "By its mass.",
    "High-level domain": "Physics",
    "Writer's Difficulty Estimate": "Hard graduate level",
}
CODE = {
    "livecodebench": {
        "question_content": "Add two numbers.",
        "starter_code": "",
        "difficulty": "easy",
        "public_test_cases": "[]",
        "private_test_cases": "eJ",
    },
    "humaneval": {
        "task_id": "HumanEval/0",
        "prompt": "def f(x):\n",
        "canonical_solution": "    return x\n",
        "test": "def check(c): pass",
        "entry_point": "f",
    },
    "codeforces": {
        "id": "1/A",
        "description": "Add two numbers.",
        "input_format": "Two integers.",
        "output_format": "Their sum.",
        "examples": [{"input": "1 2", "output": "3"}],
        "rating": 800,
        "official_tests": [{"input": "1 2", "output": "3"}],
    },
}
ROWS = {
    "gsm8k": GSM8K[0],
    "math_500": MATH,
    "aime_2024": AIME,
    "aime_2025": {"problem": "Find $n$.", "answer": "7", "id": "0"},
    "mmlu": MMLU,
    "mmlu_pro": MMLU_PRO,
    "gpqa_diamond": GPQA,
    **CODE,
}


REAL = Path(__file__).parents[3] / "shared" / "data" / "gsm8k"


@pytest.mark.skipif(not REAL.is_dir(), reason=f"needs GSM8K in {REAL}")
def test_every_gsm8k_solution_as_a_worked_example_ends_in_its_gold():
    rows = load_eval_set("gsm8k", path=REAL).questions.rows
    verdicts = verify_math([row["worked"] for row in rows], [row["answer"] for row in rows])
    assert len(rows) == 1319 and {verdict.status for verdict in verdicts} == {"correct"}


@pytest.fixture
def write(tmp_path):
    def write_rows(rows, name="test.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write_rows


def test_every_set_reads_the_columns_it_is_published_in(write):
    assert set(ROWS) == set(EVAL_SETS)
    for name, row in ROWS.items():
        loaded = load_eval_set(name, path=write([row]))
        assert len(loaded.questions) == 1 and loaded.set.name == name
        assert loaded.questions.rows[0]["question"].split()[0] in loaded.questions.prompts[0]


@pytest.mark.parametrize("name", sorted(set(ROWS) - set(CODE)))
def test_a_sets_own_gold_is_right_and_another_answer_is_wrong(write, name):
    row = load_eval_set(name, path=write([ROWS[name]])).questions.rows[0]
    function = find_eval_set(name).rewards()[0].function
    letters = find_eval_set(name).grader == "choice"
    gold = row["answer"] if letters else verify_math([row["answer"]], ["0"])[0].answer
    other = next(x for x in "ABC" if x != gold) if letters else "12345"
    replies = [f"So.\n\nAnswer: {x}" if letters else f"So \\boxed{{{x}}}." for x in (gold, other)]
    columns = {k: [row[k]] * 2 for k in ("answer", "options") if k in row}
    assert function(["", ""], replies, **columns) == [1.0, 0.0]


def test_mathematics_is_asked_with_the_papers_directive(write):
    loaded = load_eval_set("math_500", path=write([MATH]))
    assert loaded.questions.prompts == [f"What is $1+1$?\n{MATH_DIRECTIVE}"]
    assert loaded.questions.rows[0]["level"] == 1
    zero = load_eval_set("math_500", path=write([MATH]), template="r1_zero")
    assert zero.questions.prompts[0] == R1_ZERO_TEMPLATE.format(prompt=loaded.questions.prompts[0])
    assert zero.questions.rows[0]["prompt"] == loaded.questions.prompts[0]


def test_options_are_asked_by_letter_as_many_as_there_are(write):
    prompt = load_eval_set("mmlu_pro", path=write([MMLU_PRO])).questions.prompts[0]
    assert "LETTER is one of ABCDEF." in prompt
    assert prompt.endswith("The sixth?\n\nA) p\nB) q\nC) r\nD) s\nE) t\nF) u")


def test_gpqa_options_are_shuffled_by_the_question_alone(write):
    rows = [GPQA | {"Question": f"Which particle {n}?"} for n in range(40)]
    there = load_eval_set("gpqa_diamond", path=write(rows)).questions.rows
    back = load_eval_set("gpqa_diamond", path=write(rows[::-1])).questions.rows
    assert there == back[::-1]
    assert {row["answer"] for row in there} == set("ABCD")
    for row in there:
        assert row["options"]["ABCD".index(row["answer"])] == "the muon"
    verdict = verify_choice(
        ["Answer: the muon"], [there[0]["answer"]], options=[there[0]["options"]]
    )
    assert verdict[0].status == "correct"


@pytest.mark.parametrize("name", CODE)
def test_programs_load_but_are_not_graded(write, name):
    loaded = load_eval_set(name, path=write([CODE[name]]))
    assert "```python" in loaded.questions.prompts[0]
    with pytest.raises(ValueError, match="grading code needs the sandbox"):
        loaded.set.rewards()


def test_fewer_questions_are_the_same_ones_whatever_the_order_of_the_file(write):
    def asked(rows, count):
        loaded = load_eval_set("gsm8k", path=write(rows), questions=count)
        return [row["question"] for row in loaded.questions.rows]

    five, ten = asked(GSM8K, 5), asked(GSM8K, 10)
    assert len(five) == 5 and set(five) < set(ten)
    assert asked(GSM8K[::-1], 5) == five[::-1]
    assert five != [row["question"] for row in GSM8K[:5]]
    assert len(asked(GSM8K, 99)) == 20


def test_shots_come_from_the_train_split_and_are_never_the_question_itself(tmp_path, write):
    write(GSM8K[:3])
    write(GSM8K[2:8], "train.jsonl")
    loaded = load_eval_set("gsm8k", path=tmp_path, shots=5)
    for row, prompt in zip(loaded.questions.rows, loaded.questions.prompts, strict=True):
        assert prompt.count("Solution:") == 6 and prompt.count("\\boxed{") == 6
        assert prompt.count(row["question"]) == 1
        assert prompt.endswith(f"Question: {row['question']}\nSolution:")
        assert "<<" not in prompt and "####" not in prompt
    zero = load_eval_set("gsm8k", path=tmp_path)
    assert zero.questions.fingerprint != loaded.questions.fingerprint


def test_shots_are_of_the_questions_own_subject(tmp_path, write):
    write([MMLU])
    write([MMLU | {"question": f"law {n}", "subject": "law"} for n in range(5)], "dev.jsonl")
    with pytest.raises(ValueError, match="of subject 'algebra', 0; got 1"):
        load_eval_set("mmlu", path=tmp_path, shots=1)
    write([MMLU | {"question": "three?", "answer": 2}], "more.jsonl")
    loaded = load_eval_set("mmlu", path=tmp_path, shots=1, shots_path=tmp_path / "more.jsonl")
    assert "three?\n\nA) 1\nB) 2\nC) 3\nD) 4\nSolution: Answer: C" in loaded.questions.prompts[0]


@pytest.mark.parametrize(
    ("name", "rows", "settings", "message"),
    [
        ("gsm9k", GSM8K, {}, "name must be one of .* \\(nearest: 'gsm8k'\\)"),
        ("gsm8k", [MATH], {}, "rows of gsm8k must have a column 'answer'|'question'"),
        ("mmlu", [MMLU | {"answer": 4}], {}, "row 0 of .* one of 4 options; got number 4"),
        ("mmlu_pro", [MMLU_PRO | {"answer": "Z"}], {}, "one of 6 options; got number -1"),
        ("gsm8k", [{"question": 1, "answer": None}], {}, "does not read as gsm8k"),
        ("gsm8k", GSM8K, {"shots": 1}, "shots need shots_path"),
        ("gsm8k", GSM8K, {"shots": -1}, "shots must be >= 0; got -1"),
        ("gsm8k", GSM8K, {"questions": 0}, "questions must be >= 1; got 0"),
        ("gsm8k", [], {}, "has none"),
    ],
)
def test_a_mistake_is_named(write, name, rows, settings, message):
    with pytest.raises(ValueError, match=message):
        load_eval_set(name, path=write(rows), **settings)


def test_the_hub_is_asked_for_a_sets_configuration_split_and_revision(monkeypatch):
    import datasets

    asked = []

    def load_dataset(path, name, split, revision):
        asked.append((path, name, split, revision))
        return datasets.Dataset.from_list(GSM8K)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    load_eval_set("gsm8k", revision="abc", shots=1)
    assert asked == [
        ("openai/gsm8k", "main", "test", "abc"),
        ("openai/gsm8k", "main", "train", "abc"),
    ]
