"""Patterns of files, and what `datasets` reads: folders of shards, configurations, saved sets."""

import glob
import json

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from r1core.data import DataSpec, load_questions

ROWS = [{"prompt": f"{n} + 1 =", "answer": str(n + 1), "meta": {"level": n}} for n in range(6)]
CONFIGURATIONS = """---
configs:
- config_name: main
  data_files:
  - split: train
    path: data/train-*.parquet
  - split: test
    path: data/test.parquet
- config_name: hard
  data_files: data/train-00002.parquet
---
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Keep what `datasets` caches inside the test, and let it report no progress."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def write_jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_parquet(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def answers(**settings):
    return [row["answer"] for row in load_questions(DataSpec(**settings)).rows]


def test_a_pattern_reads_every_file_it_matches_by_name(tmp_path, monkeypatch):
    list_files = glob.glob
    monkeypatch.setattr(  # a file system may list them in any order
        glob, "glob", lambda *args, **options: sorted(list_files(*args, **options))[::-1]
    )
    write_jsonl(tmp_path / "part-b.jsonl", ROWS[2:4])
    write_jsonl(tmp_path / "part-a.jsonl", ROWS[:2])
    write_parquet(tmp_path / "more" / "part-c.parquet", ROWS[4:])
    write_jsonl(tmp_path / "other.jsonl", ROWS)
    assert answers(path=f"{tmp_path}/part-*.jsonl") == ["1", "2", "3", "4"]
    assert answers(path=f"{tmp_path}/**/part-*", limit=5) == ["5", "6", "1", "2", "3"]
    assert answers(path=f"{tmp_path}/part-[b].jsonl", split="test") == ["3", "4"]


def test_a_pattern_without_a_match_says_what_there_is(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", ROWS)
    with pytest.raises(ValueError, match=r"path must match a file; got .*the directory has a.json"):
        load_questions(DataSpec(path=f"{tmp_path}/*/b*.jsonl"))


def test_an_error_names_the_file_of_a_pattern_and_the_row_in_it(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", ROWS)
    write_jsonl(tmp_path / "b.jsonl", [ROWS[0], {"prompt": "?", "meta": {"level": 1}}])
    with pytest.raises(ValueError, match=r"row 1 of .*b.jsonl has prompt, meta.level$"):
        load_questions(DataSpec(path=f"{tmp_path}/*.jsonl"))


def test_a_folder_of_shards_is_read_by_datasets(tmp_path):
    for shard in range(2):
        rows = ROWS[shard * 3 : shard * 3 + 3]
        write_parquet(tmp_path / f"set/data/train-0000{shard}-of-00002.parquet", rows)
    write_parquet(tmp_path / "set/data/test-00000-of-00001.parquet", ROWS[:1])
    folder = str(tmp_path / "set")
    level = {"columns": {"level": "meta.level"}}
    questions = load_questions(DataSpec(path=folder, **level))
    assert [row["level"] for row in questions.rows] == list(range(6))
    assert answers(path=folder, limit=2) == ["1", "2"]
    assert answers(path=folder, split="test") == ["1"]


def test_a_dataset_repository_has_configurations_and_splits(tmp_path):
    """The layout of a hub repository, read from a clone of it."""
    for shard in range(3):
        write_parquet(tmp_path / f"set/data/train-0000{shard}.parquet", ROWS[shard * 2 :][:2])
    write_parquet(tmp_path / "set/data/test.parquet", ROWS[:1])
    (tmp_path / "set/README.md").write_text(CONFIGURATIONS)
    folder = str(tmp_path / "set")
    assert answers(path=folder, name="main") == ["1", "2", "3", "4", "5", "6"]
    assert answers(path=folder, name="main", split="test") == ["1"]
    assert answers(path=folder, name="hard") == ["5", "6"]
    for settings, message in (
        ({}, r"Config name is missing. Please pick one among .*'main', 'hard'"),
        ({"name": "easy"}, r"'easy' not found. Available: .*'main', 'hard'"),
        ({"name": "main", "split": "dev"}, r"Unknown split .dev.*got 'dev', the directory has no"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            load_questions(DataSpec(path=folder, **settings))
        assert "\n" not in str(caught.value)


def test_a_saved_data_set_is_read_back(tmp_path):
    one = datasets.Dataset.from_list(ROWS)
    one.save_to_disk(tmp_path / "one")
    datasets.DatasetDict(train=one, test=one.select([5])).save_to_disk(tmp_path / "two")
    assert answers(path=str(tmp_path / "one"), limit=2) == ["1", "2"]
    assert answers(path=str(tmp_path / "two"), split="test") == ["6"]
    with pytest.raises(ValueError, match=r"split must name a file dev.jsonl .*got 'dev'"):
        load_questions(DataSpec(path=str(tmp_path / "two"), split="dev"))


def test_a_folder_without_data_says_so(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"got 'train', the directory has no data files$"):
        load_questions(DataSpec(path=str(tmp_path / "empty")))


def test_a_broken_shard_is_one_line_with_its_reason(tmp_path):
    (tmp_path / "set/data").mkdir(parents=True)
    (tmp_path / "set/data/train-00000.parquet").write_text("no")
    with pytest.raises(ValueError, match=r"split must name .*Parquet.*got 'train'") as caught:
        load_questions(DataSpec(path=str(tmp_path / "set")))
    assert "\n" not in str(caught.value)


def test_a_path_from_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_jsonl(tmp_path / "a.jsonl", ROWS[:1])
    assert answers(path="~/a.jsonl") == answers(path="~/*.jsonl") == ["1"]
