import tomllib
from dataclasses import replace

import pytest

from r1core.grpo_loss import LossConfig
from r1core.recipe import PACKAGED_RECIPES, RecipeError, load_recipe, parse_recipe, to_toml

RECIPE = """
name = "test"
[model]
world = "sum_chain"
[[stage]]
name = "zero"
kind = "reasoning_rl"
from = "base"
data = { world = "sum_chain", split = "train" }
rewards = [ { name = "accuracy" } ]
steps = 3
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "recipe.toml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("path", sorted(PACKAGED_RECIPES.glob("*.toml")), ids=lambda p: p.stem)
def test_packaged_recipes_load_by_name_and_by_path(path):
    assert load_recipe(path.stem) == load_recipe(path) == load_recipe(f"recipes/{path.name}")


@pytest.mark.parametrize("path", sorted(PACKAGED_RECIPES.glob("*.toml")), ids=lambda p: p.stem)
def test_every_number_of_a_packaged_stage_says_where_it_is_from(path):
    text = path.read_text()
    settings = text[text.index("[[stage]]") :].splitlines()
    numbers = [line for line in settings if "=" in line and line.split("=")[1].strip()[0].isdigit()]
    assert len(numbers) >= 5
    bare = [line for line in numbers if "#" not in line]
    # Sizes of an evaluation and the length of a run are choices of ours, not facts of a source.
    assert [
        line
        for line in bare
        if line.split()[0] not in ("steps", "every", "questions", "warmup_steps")
    ] == []


STUDENTS = {  # paper, table 6 and appendix B.4.3: base, initial learning rate
    "distill_qwen_1_5b": ("Qwen/Qwen2.5-Math-1.5B", 1e-4),
    "distill_qwen_7b": ("Qwen/Qwen2.5-Math-7B", 8e-5),
    "distill_llama_8b": ("meta-llama/Llama-3.1-8B", 5e-5),
    "distill_qwen_14b": ("Qwen/Qwen2.5-14B", 7e-5),
    "distill_qwen_32b": ("Qwen/Qwen2.5-32B", 6e-5),
    "distill_llama_70b": ("meta-llama/Llama-3.3-70B-Instruct", 2e-5),
}


@pytest.mark.parametrize("name", STUDENTS)
def test_the_six_students_are_the_paper_s(name):
    recipe = load_recipe(name)
    (student,) = recipe.stage
    optimizer = student.optimizer
    assert (recipe.model.path, optimizer.lr) == STUDENTS[name]
    assert (optimizer.schedule, optimizer.min_lr_ratio) == ("cosine", 0.1)
    assert (student.kind, student.batch_size, student.max_length) == ("distill", 64, 32_768)
    assert student.epochs in (2, 3) and student.start == "base"


def test_overrides_reach_a_stage_by_its_name(write):
    recipe = load_recipe(write(RECIPE), ["zero.loss.beta=0.5", "seed=7", "zero.sampling.n=4"])
    assert recipe.stage[0].loss.beta == 0.5
    assert (recipe.seed, recipe.stage[0].sampling.n) == (7, 4)


def test_trl_names_are_understood(write):
    recipe = load_recipe(
        write(RECIPE),
        ["zero.sampling.num_generations=4", "zero.sampling.max_completion_length=9"]
        + ["zero.optimizer.learning_rate=2e-5"],
    )
    stage = recipe.stage[0]
    assert (stage.sampling.n, stage.sampling.max_new_tokens, stage.optimizer.lr) == (4, 9, 2e-5)


@pytest.mark.parametrize("name", ["max_completion_length", "max_steps", "num_generations"])
def test_trl_names_stay_in_tables_of_the_user_s_own_keys(write, name):
    options = f"options = {{ {name} = {{ {name} = 3 }} }}"
    file = write(RECIPE.replace('"accuracy" }', f'"accuracy", {options} }}'))
    recipe = load_recipe(file, [f"zero.data.columns.{name}=level"])
    (stage,) = recipe.stage
    assert stage.rewards[0].options == {name: {name: 3}}
    assert stage.data.columns == {name: "level"}


def test_trl_names_are_understood_in_further_models(write):
    models = '[models.student]\nmodel_name_or_path = "DIR"\nlora = { lora_r = 4 }\n'
    student = load_recipe(write(RECIPE + models)).models["student"]
    assert (student.path, student.lora.r) == ("DIR", 4)


def test_the_last_override_wins_whatever_its_spelling(write):
    ours, trl = "zero.optimizer.lr=1e-5", "zero.optimizer.learning_rate=1e-4"
    file = write(RECIPE + "[stage.optimizer]\nlr = 1e-3\n")
    assert load_recipe(file, [trl, ours]).stage[0].optimizer.lr == 1e-5
    assert load_recipe(file, [ours, trl]).stage[0].optimizer.lr == 1e-4
    assert load_recipe(file, [trl]).stage[0].optimizer.lr == 1e-4


def test_a_reward_s_name_stands_for_its_table(write):
    tables = 'zero.rewards=[{name="accuracy"}, {name="format", weight=0.5}]'
    short = 'zero.rewards=["accuracy", {name="format", weight=0.5}]'
    assert load_recipe(write(RECIPE), [short]) == load_recipe(write(RECIPE), [tables])


def test_a_preset_keeps_its_other_values(write):
    recipe = load_recipe(write(RECIPE + '[stage.loss]\npreset = "r1"\nbeta = 0.1\n'))
    loss = recipe.stage[0].loss
    assert (loss.loss_type, loss.epsilon, loss.beta) == ("grpo", 10.0, 0.1)


def test_one_loss_key_changes_that_key_alone(write):
    plain = load_recipe(write(RECIPE)).stage[0].loss
    changed = load_recipe(write(RECIPE), ["zero.loss.beta=0.5"]).stage[0].loss
    assert changed == replace(plain, beta=0.5) == replace(LossConfig.r1(), beta=0.5)


def test_trls_defaults_are_a_preset(write):
    recipe = load_recipe(write(RECIPE), ["zero.loss.preset=trl", "zero.loss.epsilon=0.3"])
    assert recipe.stage[0].loss == LossConfig(epsilon=0.3)


def test_the_model_option_replaces_a_world(write):
    recipe = load_recipe(write(RECIPE), model="some/dir")
    assert (recipe.model.world, recipe.model.path) == (None, "some/dir")


def test_the_resolved_recipe_reads_back_the_same():
    recipe = load_recipe("quickstart", ["zero.loss.beta=0.25"])
    assert parse_recipe(tomllib.loads(to_toml(recipe)), "again") == recipe


@pytest.mark.parametrize(
    "override,message",
    [
        ("zero.optimizer.learning_rate=-1", "zero.optimizer.learning_rate: .*greater than 0"),
        ("zero.rewards=[{nam='x'}]", "unknown key zero.rewards.0.nam; did you.*rewards.0.name'"),
        ("zero.sampling.n=1", "sampling.n must be >= 2.*got 1"),
        ("zero.sampling.temperature=0", "temperature must be finite and > 0; got 0"),
        ("zero.steps=0", "steps: .*greater than or equal to 1; got 0"),
        ("zero.from=nowhere", "from must be base or a directory; got 'nowhere'"),
        ("zero.loss.preset=r2", 'preset must be "r1" or "trl"; got \'r2\''),
        ("model.path=x", "exactly one of world and path"),
        ("model.device=cuda", "with a world runs in float32 on the cpu"),
        ("zero.sampling.seed=3", "sampling.seed follows from the recipe's seed"),
        ("one.steps=3", "'one' is neither a stage nor a table"),
        ("steps", "--set takes key=value; got 'steps'"),
        ("zero.steps.x=3", "'steps' is not a table"),
    ],
)
def test_a_wrong_setting_is_one_line_that_says_what_to_change(write, override, message):
    with pytest.raises(RecipeError, match=message) as error:
        load_recipe(write(RECIPE), [override])
    assert "\n" not in str(error.value)


STUDENT = """
[[stage]]
name = "student"
kind = "sft"
from = "base"
data = { path = "x.jsonl" }
"""


@pytest.mark.parametrize(
    "key,hint",
    [
        ("zero.optimiser", "did you mean 'zero.optimizer'?"),
        ("zero.sampling.temprature", "did you mean 'zero.sampling.temperature'?"),
        ("zero.loss.epsilonn", "did you mean 'zero.loss.epsilon'?"),
        ("zero.loss.presett", "did you mean 'zero.loss.preset'?"),
        ("zero.stepz", "did you mean 'zero.steps'?"),
        ("zero.step", "did you mean 'zero.steps'?"),
        ("zero.learning_rate", "did you mean 'zero.optimizer.lr'?"),
        ("zero.num_generations", "did you mean 'zero.sampling.n'?"),
        ("zero.beta", "did you mean 'zero.loss.beta'?"),
        ("zero.sampling.lr", "did you mean 'zero.optimizer.lr'?"),
        ("zero.device", "did you mean 'model.device'?"),
        ("zero.sources", "stages that read it: cold_start, rejection_sampling, preferences"),
        ("steps", "did you mean 'zero.steps'?"),
        ("lora_r", "did you mean 'model.lora.r'?"),
        ("model.lora.rank", "known: r, lora_alpha, target_modules"),
        (
            "student.rewards",
            "stages that read it: reasoning_rl, preference_rl, ppo, evaluate",
        ),
    ],
)
def test_an_unknown_key_names_a_path_that_there_is(write, key, hint):
    with pytest.raises(RecipeError) as error:
        load_recipe(write(RECIPE + STUDENT), [f"{key}=1"])
    assert str(error.value).endswith(f": unknown key {key}; {hint}")


def test_rewards_of_a_data_set_belong_to_its_sources(write):
    stage = STUDENT.replace('"sft"', '"rejection_sampling"').replace("data =", "rewards = [] #")
    with pytest.raises(RecipeError, match=r"did you mean 'student.sources\[\].rewards'"):
        load_recipe(write(RECIPE + stage))


@pytest.mark.parametrize(
    "setting,message",
    [
        ("r1.mixture=[{share=0.1, data={world='x', pass_rate={}}}]", "mixture.0.data.pass_rate"),
        ("r1.evaluation_data={world='x', order='given'}", "evaluation_data.order"),
        ("dev1.data.max_prompt_length=9", "data.max_prompt_length"),
        ("dev1.data.columns={level='x'}", "data.columns"),
        ("dev1.data.pass_rate={}", "data.pass_rate"),
        ("dev1.evaluation_data={path='x', order='given'}", "evaluation_data.order"),
        ("helpful.data.order=given", "data.order"),
        ("helpful.data.template=chat", "data.template"),
        ("helpful.data.decontaminate=['gsm8k']", "data.decontaminate"),
        ("samples.sources=[{name='a', data={world='x', pass_rate={}}}]", "sources.0.data.pass_"),
        ("samples.sources=[{name='a', data={world='x', order='given'}}]", "sources.0.data.order"),
        ("pairs.sources=[{name='a', data={world='x'}, rewards=[{name='b'}]}]", "sources' rewards"),
    ],
)
def test_a_key_that_a_stage_would_ignore_says_who_reads_it(setting, message):
    with pytest.raises(RecipeError) as error:
        load_recipe("r1_tiny", [setting])
    stage = setting.partition(".")[0]
    assert f": {stage}: {message}" in str(error.value)
    assert " not read here" in str(error.value) and "only by: " in str(error.value)


@pytest.mark.parametrize(
    "setting,message",
    [
        ("pairs.selection={}", "unknown key pairs.selection; .*: cold_start, rejection_sampling$"),
        ("samples.sampling.seed=3", "samples: sampling.seed follows from the recipe's seed"),
        ("pairs.sampling.seed=3", "pairs: sampling.seed follows from the recipe's seed"),
        ("r1.rewards=[{name='a', stage='helpful', options={k=1}}]", "options is for functions"),
        ("r1.rewards=[{name='a', stage='helpful', isolate='row'}]", "isolate is for functions"),
        ("r1.rewards=[{name='a', stage='helpful', workers=2}]", "workers is for functions"),
        (
            "benchmark=[{name='a', data={world='x', order='given'}, rewards=[{name='accuracy'}]}]",
            "benchmark.0: data.order is not read here",
        ),
    ],
)
def test_settings_that_nothing_reads_are_refused(setting, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe("r1_tiny", [setting])


def test_a_missing_recipe_names_the_packaged_ones():
    with pytest.raises(
        RecipeError, match="no recipe 'nothing'.*gsm8k_zero, pick_search, quickstart"
    ):
        load_recipe("nothing")


def test_invalid_toml_is_one_line(write):
    with pytest.raises(RecipeError, match="not valid TOML"):
        load_recipe(write("name = "))


def test_a_recipe_that_is_not_utf_8_is_named(tmp_path):
    (tmp_path / "latin.toml").write_bytes(RECIPE.replace("test", "t\u00e9st").encode("latin-1"))
    with pytest.raises(RecipeError, match=r"latin\.toml: not valid TOML: .*utf-8"):
        load_recipe(tmp_path / "latin.toml")


def test_two_stages_of_one_name_are_refused(write):
    stage = RECIPE[RECIPE.index("[[stage]]") :]
    with pytest.raises(RecipeError, match="'zero' is used twice"):
        load_recipe(write(RECIPE + stage))
