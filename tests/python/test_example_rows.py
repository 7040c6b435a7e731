"""Rows that make no example to imitate: which they are, and why."""

import json

import pytest
from models import qwen2_policy

from r1core.data import DataSpec, load_examples
from r1core.notices import say_once

GOOD = {"prompt": "1?", "completion": "2"}
ASKED = {"messages": [{"role": "user", "content": "hello"}]}
ANSWERED = {"messages": [*ASKED["messages"], {"role": "assistant", "content": "yes"}]}


def load(tmp_path, rows, **settings):
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_examples(DataSpec(path=str(path), **settings), qwen2_policy())[0]


@pytest.mark.parametrize("settings", [{}, {"eval_fraction": 0.1}, {"eval_size": 1}])
def test_a_split_does_not_hide_a_missing_prompt(tmp_path, settings):
    rows = [{"question": f"{n}?", "completion": "2"} for n in range(5)]
    with pytest.raises(ValueError, match=r"row must have 'prompt' and .* row 0 of .* has question"):
        load(tmp_path, rows, **settings)


def test_a_row_is_named_by_its_place_in_the_file(tmp_path):
    rows = [{"prompt": f"{n}?", "completion": "2"} for n in range(9)] + [{"prompt": "9?"}]
    with pytest.raises(ValueError, match=r"row 9 of .* has prompt$"):
        load(tmp_path, rows, eval_fraction=0.5)


def test_messages_without_an_answer_are_counted_once(tmp_path, caplog):
    say_once.cache_clear()
    for _ in range(2):
        assert len(load(tmp_path, [ASKED, ANSWERED, ASKED, GOOD])) == 2
    [record] = caplog.records
    assert "2 of 4 rows" in record.message and "assistant's turn" in record.message


def test_data_without_any_answer_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"assistant's turn after another's; 2 of 2 rows of"):
        load(tmp_path, [ASKED, {"messages": [{"role": "assistant", "content": "hello"}]}])
