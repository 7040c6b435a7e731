"""Questions of several data sets in given proportions, and rewards that count for some of them."""

from r1core.data import Part, PromptSampler, QuestionMixture, Questions
from r1core.reward_sections import InDomain


def questions(name, count):
    rows = [{"prompt": f"{name}{k}", "answer": "", name: k} for k in range(count)]
    return Questions(rows, [row["prompt"] for row in rows], 0, name)


def mixture():
    sets = [questions("a", 10), questions("b", 7), questions("c", 5)]
    samplers = [PromptSampler(len(s), 1, 0) for s in sets]
    return QuestionMixture(
        [
            Part(sets[0], samplers[0], 1.0),
            Part(sets[1], samplers[1], 0.3),
            Part(sets[2], samplers[2], 0.1, from_step=5),
        ]
    )


def dealt(found, count, step):
    return [found.next(step) for _ in range(count)]


def shares(questions):
    names = [prompt[0] for prompt, _, _ in questions]
    return {name: names.count(name) for name in "abc"}


def test_questions_come_in_proportion_from_the_step_on():
    found = mixture()
    assert shares(dealt(found, 100, 4)) == {"a": 70, "b": 30, "c": 0}
    assert shares(dealt(found, 100, 5)) == {"a": 60, "b": 30, "c": 10}


def test_no_counter_of_the_generator_is_used_twice_and_columns_are_whole():
    questions = dealt(mixture(), 50, 9)
    assert [uid for _, _, uid in questions] == list(range(50))
    assert {tuple(sorted(columns)) for _, columns, _ in questions} == {
        ("a", "answer", "b", "c", "prompt")
    }
    prompt, columns, _ = next(q for q in questions if q[0].startswith("b"))
    assert columns["a"] == [None]
    assert columns["b"] == [int(prompt[1:])]


def test_a_mixture_goes_on_where_it_was():
    whole = mixture()
    expected = dealt(whole, 60, 5)
    first = mixture()
    dealt(first, 25, 5)
    second = mixture()
    second.load_state_dict(first.state_dict())
    assert dealt(second, 35, 5) == expected[25:]


def test_a_reward_of_a_domain_abstains_on_the_others():
    seen = []

    def reward(prompts, completions, level, **columns):
        seen.append((prompts, completions, level))
        return [1.0] * len(prompts)

    scored = InDomain(reward, "safety")(
        prompts=["p", "q", "r"],
        completions=["x", "y", "z"],
        domain=["safety", None, "safety"],
        level=[1, 2, 3],
    )
    assert scored == [1.0, None, 1.0]
    assert seen == [(["p", "r"], ["x", "z"], [1, 3])]


def test_a_reward_of_a_domain_that_nothing_is_in_is_not_called():
    def never(**columns):
        raise AssertionError

    scored = InDomain(never, "safety")(prompts=["p"], completions=["x"], domain=["helpful"])
    assert scored == [None]


def test_a_reward_of_a_domain_abstains_on_data_without_the_column():
    scored = InDomain(lambda **columns: [1.0], "safety")(prompts=["p"], completions=["x"])
    assert scored == [None]
