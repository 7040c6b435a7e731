"""The recipe's names for columns: what rewards are passed, and what errors say."""

import json

import pytest
from pydantic import ValidationError

from r1core.data import DataSpec, load_questions

ROW = {
    "question": "1 + 1 =",
    "reward_model": {"ground_truth": "2", "style": "rule"},
    "meta": {"difficulty": 3, "source": {"name": "school"}},
    "messages": [{"role": "user", "content": "hello"}],
    "a.b": "dotted",
}
GOLD = {"prompt": "question", "answer": "reward_model.ground_truth"}


def load(tmp_path, rows, **settings):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_questions(DataSpec(path=str(tmp_path / "a.jsonl"), **settings))


def test_dotted_names_reach_into_columns_and_the_rest_is_kept(tmp_path):
    columns = {"level": "meta.difficulty", "source": "meta.source.name"}
    [row] = load(tmp_path, [ROW], **GOLD, columns=columns).rows
    assert (row["prompt"], row["answer"]) == ("1 + 1 =", "2")
    assert (row["level"], row["source"]) == (3, "school")
    assert {name: row[name] for name in ("reward_model", "meta", "messages", "a.b")} == {
        name: ROW[name] for name in ("reward_model", "meta", "messages", "a.b")
    }
    assert "question" not in row


def test_a_dotted_name_reaches_into_lists_and_yields_to_a_column_so_called(tmp_path):
    settings = {"prompt": "messages.0.content", "answer": "a.b"}
    [row] = load(tmp_path, [ROW], **settings).rows
    assert (row["prompt"], row["answer"]) == ("hello", "dotted")


def test_rewards_see_question_and_gold_under_the_datas_own_names_too(tmp_path):
    rows = [{"q": f"{n} + 1 =", "gold": str(n + 1), "level": n} for n in range(3)]
    found = load(tmp_path, rows, prompt="q", answer="gold")
    _, columns = found.batch([2])
    expected = {"prompt": ["2 + 1 ="], "answer": ["3"], "level": [2]}
    assert columns == expected | {"q": ["2 + 1 ="], "gold": ["3"]}
    assert found.fingerprint == load(tmp_path, rows, prompt="q", answer="gold").fingerprint
    assert list(found.rows[0]) == ["level", "prompt", "answer"]  # as it was: so is the fingerprint


@pytest.mark.parametrize(
    "row, settings, names",
    [
        ({"prompt": "q", "x": {"y": "1"}}, {"answer": "x.y"}, {"prompt", "x", "answer"}),
        ({"answer": "q", "gold": "1"}, {"prompt": "answer", "answer": "gold"}, {"gold"}),
        ({"q": "1", "b": "2"}, {"prompt": "q", "answer": "b", "columns": {"q": "b"}}, {"q", "b"}),
        ({"prompts": "q", "answer": "1"}, {"prompt": "prompts"}, set()),
    ],
)
def test_a_name_that_is_taken_stays_so(tmp_path, row, settings, names):
    _, columns = load(tmp_path, [row], **settings).batch([0])
    assert columns.keys() == names | {"prompt", "answer"}
    assert "q" not in settings.get("columns", {}) or columns["q"] == ["2"]


def test_a_renamed_column_leaves_its_old_name(tmp_path):
    rows = [{"prompt": "q", "answer": "1", "difficulty": 3, "other": 4}]
    [row] = load(tmp_path, rows, columns={"level": "difficulty"}).rows
    assert row == {"prompt": "q", "answer": "1", "level": 3, "other": 4}


def test_two_names_may_share_a_column(tmp_path):
    [row] = load(tmp_path, [{"prompt": "q", "answer": "1"}], columns={"gold": "answer"}).rows
    assert row == {"prompt": "q", "answer": "1", "gold": "1"}


def test_a_column_that_some_rows_lack_is_none_there(tmp_path):
    rows = [{"prompt": "q", "answer": "1"}, {"prompt": "q", "answer": "1", "meta": {"level": 2}}]
    _, columns = load(tmp_path, rows, columns={"level": "meta.level"}).batch([0, 1])
    assert columns["level"] == [None, 2]


@pytest.mark.parametrize(
    "settings, message",
    [
        (
            {"answer": "reward_model.truth"},
            r"answer must name a column of every row; got 'reward_model.truth', row 0 of .*a.jsonl "
            r"has question, reward_model.ground_truth, reward_model.style, meta.difficulty, ",
        ),
        ({"prompt": "messages.1.content"}, r"prompt must name a column .*'messages.1.content'"),
        (
            {"columns": {"level": "meta.level"}},
            r"columns.level must name a .*got 'meta.level', row",
        ),
        ({"prompt": "meta.difficulty"}, r"prompts must be text or messages; row 0 of .* has 3$"),
    ],
)
def test_a_wrong_name_is_told_what_there_is(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, [ROW], **GOLD | settings)


def test_an_empty_value_is_not_a_missing_column(tmp_path):
    rows = [{"prompt": "q", "answer": "1"}, {"prompt": "q", "answer": None}]
    message = r"answer must have a value in every row; got none in column 'answer' in row 1 of"
    with pytest.raises(ValueError, match=message):
        load(tmp_path, rows)


@pytest.mark.parametrize(
    "name, message",
    [
        ("prompt", "columns must not name 'prompt'; set prompt itself"),
        ("completions", "columns must not name 'completions', which rewards are passed anyway"),
    ],
)
def test_a_name_that_would_not_reach_rewards_is_refused(name, message):
    with pytest.raises(ValidationError, match=message):
        DataSpec(path="a.jsonl", columns={name: "x"})
