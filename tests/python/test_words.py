import pytest

from r1core.words import REFLECTIVE_WORDS, count_reflective_words


def test_words_are_the_ten_of_the_paper():
    assert set(REFLECTIVE_WORDS) == set(
        "wait mistake however but retry error verify wrong evaluate check".split()
    )


def test_words_count_in_any_case_and_every_time():
    counts = count_reflective_words("Wait, but WAIT. Let me check: wrong!\nHowever, wait")
    assert {word: n for word, n in counts.items() if n} == {
        "wait": 3,
        "but": 1,
        "check": 1,
        "wrong": 1,
        "however": 1,
    }


@pytest.mark.parametrize(
    "text", ["", "waiter", "await", "button", "mistakes", "wait_for", "check2"]
)
def test_words_count_whole_words_only(text):
    assert sum(count_reflective_words(text).values()) == 0


def test_words_list_every_word_even_when_absent():
    assert tuple(count_reflective_words("nothing")) == REFLECTIVE_WORDS


@pytest.mark.parametrize("text", ["<think>wait</think>", "我wait一下", "wait\u0000", "“wait”"])
def test_words_may_stand_between_any_other_characters(text):
    assert count_reflective_words(text)["wait"] == 1
