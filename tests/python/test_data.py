import json
from pathlib import Path

import datasets
import pyarrow
import pyarrow.parquet
import pytest
from models import qwen_tokenizer
from pydantic import ValidationError

from r1core.data import DataSpec, PromptSampler, load_questions
from r1core.worlds import load_world

GSM8K = Path(__file__).parents[3] / "shared/data/gsm8k"
ROWS = [{"question": f"What is {n} + 1?", "gold": str(n + 1), "level": n % 3} for n in range(5)]
COLUMNS = {"prompt": "question", "answer": "gold"}


def write(folder, suffix):
    path = folder / f"train{suffix}"
    if suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, ROWS)) + "\n\n")
    elif suffix == ".json":
        path.write_text(json.dumps(ROWS))
    elif suffix == ".csv":
        path.write_text("question,gold,level\n" + "".join(f"{q},{a},{n}\n" for q, a, n in values()))
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    return path


def values():
    return [tuple(row.values()) for row in ROWS]


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_files_and_directories_of_every_format_hold_the_same_questions(tmp_path, suffix):
    path = write(tmp_path, suffix)
    for source in (path, tmp_path):
        questions = load_questions(DataSpec(path=str(source), **COLUMNS))
        prompts, columns = questions.batch([3, 0])
        assert prompts == columns["prompt"] == ["What is 3 + 1?", "What is 0 + 1?"]
        assert columns["answer"] == ["4", "1"]
        assert list(map(int, columns["level"])) == [0, 0]
        assert len(questions) == 5


def test_a_hub_name_goes_through_datasets(monkeypatch):
    def load_dataset(path, name, split, revision):
        assert (path, name, split) == ("openai/gsm8k", "main", "test")
        return datasets.Dataset.from_list(ROWS)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    spec = DataSpec(path="openai/gsm8k", name="main", split="test", limit=2, **COLUMNS)
    assert [row["answer"] for row in load_questions(spec).rows] == ["1", "2"]


def test_a_hub_name_that_is_not_there_is_one_line(monkeypatch):
    def load_dataset(path, name, split, revision):
        raise ConnectionError("Couldn't reach it\nRetrying")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(ValueError, match=r"data set on the hub; got 'a/b': Couldn't reach it$"):
        load_questions(DataSpec(path="a/b"))


def test_a_world_is_read_by_name_or_as_it_is():
    world = load_world("sum_chain", min_digits=8)
    spec = DataSpec(world="sum_chain", split="eval", limit=7)
    assert {row["level"] for row in load_questions(spec, world=world).rows} == {8}
    assert load_questions(spec).rows == load_world("sum_chain").problems("eval", 0, 7)


@pytest.mark.skipif(not GSM8K.is_dir(), reason=f"needs GSM8K in {GSM8K}")
def test_gsm8k_loads_from_its_directory():
    spec = DataSpec(path=str(GSM8K), split="test", prompt="question", template="r1_zero")
    questions = load_questions(spec)
    assert len(questions) == 1319
    assert questions.prompts[0].endswith("at the farmers' market?. Assistant:")
    assert questions.rows[0]["answer"].endswith("#### 18")


def test_templates_change_what_the_policy_sees_and_not_what_rewards_see(tmp_path):
    path = str(write(tmp_path, ".jsonl"))
    zero = load_questions(DataSpec(path=path, template="r1_zero", **COLUMNS))
    assert zero.prompts[0].startswith("A conversation between User and Assistant. The user asks")
    assert zero.prompts[0].endswith("</answer>. User: What is 0 + 1?. Assistant:")
    chat = DataSpec(path=path, template="chat", **COLUMNS)
    questions = load_questions(chat, tokenizer=qwen_tokenizer())
    assert questions.prompts[0] == [{"role": "user", "content": "What is 0 + 1?"}]
    assert zero.rows == questions.rows
    assert zero.rows[0]["prompt"] == "What is 0 + 1?"
    with pytest.raises(ValueError, match=r"template must be 'r1_zero' or 'none'.*got 'chat'"):
        load_questions(chat)


def test_braces_in_a_question_stay(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"prompt": "\\\\boxed{x} {prompt}", "answer": "1"}')
    questions = load_questions(DataSpec(path=str(tmp_path), template="r1_zero"))
    assert "User: \\boxed{x} {prompt}. Assistant:" in questions.prompts[0]


def test_messages_stay_messages(tmp_path):
    messages = [{"role": "user", "content": "1 + 1 ="}]
    (tmp_path / "train.jsonl").write_text(json.dumps({"prompt": messages, "answer": "2"}))
    tokenizer = qwen_tokenizer()
    for template in ("none", "chat"):
        spec = DataSpec(path=str(tmp_path), template=template)
        assert load_questions(spec, tokenizer=tokenizer).prompts == [messages]
    with pytest.raises(ValueError, match=r"got 'r1_zero' and messages in row 0"):
        load_questions(DataSpec(path=str(tmp_path), template="r1_zero"))


def test_long_prompts_are_dropped_and_counted(tmp_path):
    rows = [{"prompt": "7" * n, "answer": "1"} for n in (1, 500, 2)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    spec = DataSpec(path=str(tmp_path))
    tokenizer = qwen_tokenizer()
    questions = load_questions(spec, tokenizer=tokenizer, max_prompt_tokens=20)
    assert (len(questions), questions.dropped) == (2, 1)
    assert questions.prompts == ["7", "77"]
    for limit, room, kept in ((1, 20, ["7"]), (20, 1, ["7"]), (2, None, ["7", "77"])):
        spec = DataSpec(path=str(tmp_path), max_prompt_length=limit)
        assert load_questions(spec, tokenizer=tokenizer, max_prompt_tokens=room).prompts == kept
    with pytest.raises(ValueError, match="max_prompt_length needs a tokenizer .*got 2 and none"):
        load_questions(spec)


def test_prompts_of_messages_are_measured_in_their_template(tmp_path):
    tokenizer = qwen_tokenizer()
    chats = [[{"role": "user", "content": "7" * n}] for n in (1, 40)]
    rows = [{"prompt": prompt, "answer": "1"} for prompt in (chats[0], "7" * 40, chats[1], "7")]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    templated = tokenizer.apply_chat_template(chats[0], add_generation_prompt=True, tokenize=False)
    length = len(tokenizer(templated)["input_ids"])
    for limit, kept in ((length, [chats[0], "7"]), (length - 1, ["7"])):
        spec = DataSpec(path=str(tmp_path), max_prompt_length=limit)
        assert load_questions(spec, tokenizer=tokenizer).prompts == kept


def test_the_fingerprint_is_that_of_the_questions(tmp_path):
    path = str(write(tmp_path, ".jsonl"))
    spec = DataSpec(path=path, **COLUMNS)
    same = [load_questions(spec).fingerprint for _ in range(2)]
    other = load_questions(spec.model_copy(update={"limit": 4})).fingerprint
    templated = load_questions(spec.model_copy(update={"template": "r1_zero"})).fingerprint
    assert len({*same, other, templated}) == 3


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"split": "dev"}, r"split must name a file dev.jsonl .*the directory has train.jsonl$"),
        (
            {"prompt": "problem"},
            r"got 'problem', row 0 of .*train.jsonl has question, gold, level$",
        ),
        (
            {"prompt": "question"},
            r"answer must name a column .*got 'answer', row 0 of .* has question",
        ),
        ({"path": "./nowhere.jsonl"}, r"path must exist; got ./nowhere.jsonl, the directory has"),
        ({"path": "/no/folder/a.jsonl"}, r"and there is no directory /no/folder$"),
    ],
)
def test_what_is_missing_is_named_with_what_there_is(tmp_path, settings, message):
    write(tmp_path, ".jsonl")
    with pytest.raises(ValueError, match=message):
        load_questions(DataSpec(**{"path": str(tmp_path)} | settings))


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("a.jsonl", '{"prompt": "q", "answer": "1"}\n{"prompt"', r"a.jsonl: line 2: Expecting"),
        ("a.jsonl", "3", r"line 1 must be an object; got int"),
        ("a.json", "{}", r"must hold a list of objects; got dict"),
        ("a.jsonl", "", r"data must have rows; .*a.jsonl has none"),
        ("a.csv", "prompt,answer\nq,1,2\n", r"record 0 has more fields than the header"),
        ("a.parquet", "no", r"cannot read .*a.parquet"),
        ("a.txt", "q", r"path must end in .jsonl, .json, .parquet, .csv; got"),
        ("a.jsonl", '{"prompt": 3, "answer": "1"}', r"prompts must be text or messages; row 0"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        load_questions(DataSpec(path=str(tmp_path / name)))
    assert "\n" not in str(caught.value)


def test_a_spec_has_one_source_and_no_unknown_keys():
    with pytest.raises(ValidationError, match="exactly one of world, path and stage"):
        DataSpec()
    with pytest.raises(ValidationError, match="exactly one of world, path and stage"):
        DataSpec(world="sum_chain", path="x")
    with pytest.raises(ValidationError, match="Extra inputs"):
        DataSpec(world="sum_chain", colum="x")


def test_prompt_sampler_deals_every_question_once_per_epoch():
    sampler = PromptSampler(10, 4, seed=3)
    steps = [sampler.next() for _ in range(5)]
    dealt = [index for indices, _ in steps for index in indices]
    assert sorted(dealt[:10]) == sorted(dealt[10:]) == list(range(10))
    assert dealt[:10] != dealt[10:]
    assert [uid for _, uids in steps for uid in uids] == list(range(20))


def test_prompt_sampler_order_never_changes():
    assert PromptSampler(8, 8, seed=0).next()[0] == [0, 3, 7, 4, 1, 5, 2, 6]
    assert PromptSampler(8, 8, seed=1).next() == PromptSampler(8, 8, seed=1).next()
    assert PromptSampler(8, 8, seed=1).next() != PromptSampler(8, 8, seed=2).next()
    assert PromptSampler(4, 6, seed=0, shuffle=False).next()[0] == [0, 1, 2, 3, 0, 1]


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 7])
def test_prompt_sampler_goes_on_where_it_was(steps):
    sampler = PromptSampler(10, 5, seed=3)
    for _ in range(steps):
        sampler.next()
    resumed = PromptSampler(10, 5, seed=3)
    resumed.load_state_dict(json.loads(json.dumps(sampler.state_dict())))
    assert [resumed.next() for _ in range(4)] == [sampler.next() for _ in range(4)]


def test_prompt_sampler_rejects_what_it_cannot_deal():
    with pytest.raises(ValueError, match="count must be >= 1; got 0"):
        PromptSampler(0, 1, seed=0)
    with pytest.raises(ValueError, match=r"index must be in \[0, 3\]; got 4"):
        PromptSampler(3, 1, seed=0).load_state_dict({"epoch": 0, "index": 4, "next_uid": 4})
