import math
from dataclasses import replace

import pytest
import torch
from models import qwen3_policy
from run_directory import training_metrics, write_run
from test_cli import run
from test_tracking import step_stats

from r1core.diagnosis import Watch, diagnose_run, measure, note_failure
from r1core.findings import DEAD_STEPS, PATIENCE
from r1core.grpo_loss import loss_normalizer
from r1core.loss_config import LossConfig
from r1core.loss_scale import loss_scale_finding
from r1core.repetition import loop_length, looped_ratio, repeated_ngram_share, words
from r1core.stages.minibatches import micro_batches
from r1core.stages.optimizer import OptimizerConfig, build_optimizer, optimizer_step
from r1core.tracking import RunWriter


class Calm:
    """A noise that is none."""

    def gauss(self, mean, std):
        return mean

    def random(self):
        return 0.5


def healthy(steps=60):
    spread = {"rewards/accuracy/std": 0.4, "rewards/format/std": 0.3}
    return [
        {"step": step, "completions/looped_ratio": 0.0}
        | training_metrics(step, steps, Calm())
        | spread
        for step in range(1, steps + 1)
    ]


def with_metrics(records, **changes):
    """Put other values, constant or by step, under names whose slashes are written __."""
    changes = {name.replace("__", "/"): value for name, value in changes.items()}
    return [
        record | {n: v(record["step"]) if callable(v) else v for n, v in changes.items()}
        for record in records
    ]


def names(records):
    watch = Watch()
    return [finding.name for record in records for finding in watch.see_record(record)]


HARD = {"frac_reward_zero_std": 1.0, "rewards__accuracy__mean": 0.0, "rewards__format__mean": 1.0}
EASY = {"rewards__accuracy__mean": 0.98, "rewards__format__mean": 1.0}
GAP = "sampling__sampling_logp_difference__"
TROUBLES = {
    "zero_variance/too_hard": HARD,
    "zero_variance/too_easy": EASY | {"frac_reward_zero_std": 0.95},
    "format_absent/format": {"rewards__format__mean": 0.0, "rewards__format__std": 0.0},
    "collapsed": {
        "reward": lambda step: 0.8 if step < 9 else 0.01,
        "reward_std": 0.4,
        "rewards__accuracy__mean": lambda step: 0.4 if step < 9 else 0.0,
        "rewards__format__mean": lambda step: 0.4 if step < 9 else 0.0,
        "frac_reward_zero_std": lambda step: 0.1 if step < 9 else 1.0,
    },
    "clipped": {"completions__clipped_ratio": 0.8},
    "sampler_apart": {f"{GAP}mean": 0.2, f"{GAP}max": 2.0},
    "sampler_apart/stale": {f"{GAP}mean": lambda step: 1e-6 if step < 9 else 0.01},
    "entropy_collapse": {
        "entropy": lambda step: 0.8 * 0.8**step,
        "reward": 0.3,
        "reward_std": 0.4,
    },
    "looping": {"completions__looped_ratio": 0.5},
    "dead_reward/style": {"rewards__style__mean": 0.25, "rewards__style__std": 0.0},
    "abstaining/accuracy": {"rewards__accuracy__abstained": 0.9},
    "wasteful_draws": {"sampling__groups_drawn": 320.0, "sampling__groups_used": 32.0},
    "not_finite": {"kl": lambda step: math.nan if step == 7 else 0.0},
}


def test_a_healthy_run_gives_no_finding():
    assert names(healthy()) == []


@pytest.mark.parametrize("name", TROUBLES)
def test_each_trouble_is_found_once_and_alone(name):
    assert names(with_metrics(healthy(), **TROUBLES[name])) == [name]


@pytest.mark.parametrize("name", sorted(set(TROUBLES) - {"not_finite", "dead_reward/style"}))
def test_a_trouble_must_last_before_it_is_told(name):
    records = with_metrics(healthy(steps=40), **TROUBLES[name])
    assert names(records[: PATIENCE - 1]) == []


def test_a_trouble_is_told_at_the_step_that_completes_the_evidence():
    records = healthy()[:10] + with_metrics(healthy()[10:], completions__clipped_ratio=0.9)
    watch = Watch()
    found = [finding for record in records for finding in watch.see_record(record)]
    assert [finding.step for finding in found] == [10 + PATIENCE]
    assert "cut off" in found[0].cause and "max_new_tokens" in found[0].cure


def test_steps_without_rollouts_do_not_break_the_evidence():
    first = with_metrics(healthy(), **HARD)
    update = {"grad_norm": 0.0, "policy_loss": 0.0}  # a further minibatch of the same rollouts
    mixed = [x for record in first for x in (record, {"step": record["step"]} | update)]
    assert names(mixed) == ["zero_variance/too_hard"]


def test_groups_without_variance_name_the_reward_that_does_not_pay():
    (finding,) = Watch(with_metrics(healthy()[:9], **HARD)).standing()
    assert finding.severity == "error" and "accuracy pays 0.00" in finding.cause


def test_questions_that_became_easy_are_a_note_and_those_that_were_a_warning():
    easy = with_metrics(healthy(), **TROUBLES["zero_variance/too_easy"])
    (from_the_start,) = Watch(easy).standing()
    (learnt,) = Watch(healthy()[:30] + easy[30:]).standing()
    assert (from_the_start.severity, learnt.severity) == ("warning", "note")


def test_a_reward_that_wavers_has_not_collapsed():
    rare = {"reward": lambda step: 0.03 if step % 5 == 0 else 0.001, "reward_std": 0.1}
    assert names(with_metrics(healthy(), **rare)) == []


def test_a_format_cut_off_at_the_limit_points_at_the_limit():
    cut = TROUBLES["format_absent/format"] | TROUBLES["clipped"]
    findings = {f.name: f for f in Watch(with_metrics(healthy(), **cut)).standing()}
    assert set(findings) == {"format_absent/format", "clipped"}
    assert "before the closing tags" in findings["format_absent/format"].cause


def test_a_penalty_that_nobody_earns_is_no_trouble():
    quiet = {"rewards__repetition_penalty__mean": 0.0, "rewards__repetition_penalty__std": 0.0}
    assert names(with_metrics(healthy(), **quiet)) == []


def test_a_format_that_is_always_right_is_no_trouble():
    right = {"rewards__format__mean": 1.0, "rewards__format__std": 0.0}
    assert names(with_metrics(healthy(), **right)) == []


def test_a_reward_is_dead_only_after_many_steps():
    dead = with_metrics(healthy(), **TROUBLES["dead_reward/style"])
    assert names(dead[: DEAD_STEPS - 1]) == []
    assert names(dead[:DEAD_STEPS]) == ["dead_reward/style"]


def test_entropy_may_fall_where_the_task_is_learnt():
    sure = {"entropy": lambda step: 0.8 * 0.93**step, "reward_std": 0.4}
    assert names(with_metrics(healthy(), reward=lambda step: step / 60, **sure)) == []


def test_completions_that_never_stop_point_at_the_stop_token():
    (finding,) = Watch(with_metrics(healthy(), completions__clipped_ratio=1.0)).standing()
    assert "stop token" in finding.cause and "eos_token_id" in finding.cure


@pytest.mark.parametrize(
    "metric,source",
    [
        ("rewards/accuracy/mean", "a reward function"),
        ("entropy", "logits"),
        ("kl", "KL"),
        ("policy_loss", "loss"),
        ("grad_norm", "gradient"),
    ],
)
def test_what_is_not_finite_is_traced_to_its_earliest_source(metric, source):
    broken = {metric: math.nan, "grad_norm": math.nan}
    (finding,) = Watch([healthy()[0] | broken]).standing()
    assert finding.severity == "error" and finding.cause.startswith(metric)
    assert source in finding.cause


def test_a_resumed_watch_repeats_nothing():
    records = with_metrics(healthy(), completions__clipped_ratio=0.9)
    watch = Watch(records[:20])
    assert [f for record in records[20:] for f in watch.see_record(record)] == []


def test_see_measures_loops_and_abstentions():
    stats = step_stats()
    tokens_NT = torch.full((4, 40), 7)
    tokens_NT[0] = torch.arange(40)
    rollouts = replace(
        stats.rollouts,
        tokens_NT=tokens_NT,
        mask_NT=torch.ones(4, 40, dtype=torch.bool),
        lengths_N=torch.full((4,), 40),
    )
    stats = replace(stats, rollouts=rollouts)
    assert measure(stats) == {"completions/looped_ratio": 0.75, "rewards/accuracy/abstained": 0.5}
    watch = Watch()
    found = [f.name for step in range(3) for f in watch.see(replace(stats, step=step))]
    assert found == ["looping", "abstaining/accuracy"]


def test_measure_of_a_step_without_rollouts_is_empty():
    assert measure(replace(step_stats(), rollouts=None)) == {}


@pytest.mark.parametrize(
    "text,length",
    [
        ("so it is 4 . " * 10, 50),
        ("Let me think . First : " + "wait , no . " * 12, 48),
        ("0 0 0 0", 0),  # an answer, not a loop
        ("1 + 2 = 3 , 3 + 4 = 7 , 7 + 5 = 12 , so the answer is 12 and nothing else at all", 0),
        ("x " * 50 + "therefore the answer is 4", 0),  # it came out of it
        ("", 0),
    ],
)
def test_loop_length_counts_the_tokens_of_a_loop_at_the_end(text, length):
    assert loop_length(words(text)) == length


def test_loop_length_agrees_with_trying_every_period():
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        tokens = torch.randint(3, (20,), generator=generator).tolist()
        tokens += torch.randint(3, (5,), generator=generator).tolist()[:4] * 9
        best = 0
        for length in range(24, len(tokens) + 1):
            suffix = tokens[-length:]
            for period in range(1, length // 4 + 1):
                if suffix[period:] == suffix[:-period]:
                    best = length
        assert loop_length(tokens) == best


def test_repeated_ngram_share_and_looped_ratio():
    assert repeated_ngram_share(list(range(10))) == 0
    assert repeated_ngram_share([1] * 103) == pytest.approx(0.99)
    assert repeated_ngram_share([1, 2]) == 0
    assert looped_ratio([[1] * 30] * 3 + [list(range(30))]) == 0.75
    assert looped_ratio([]) == 0


def test_diagnose_run_finds_nothing_in_a_healthy_run(tmp_path):
    assert diagnose_run(write_run(tmp_path)) == []


def write_lines(directory, records, stage="zero"):
    with RunWriter(directory) as writer:
        for record in records:
            writer.log(stage, record["step"], {k: v for k, v in record.items() if k != "step"})


def test_diagnose_run_reads_null_as_not_finite(tmp_path):
    write_lines(tmp_path, with_metrics(healthy(), **TROUBLES["not_finite"]))
    ((stage, finding),) = diagnose_run(tmp_path)
    assert (stage, finding.name, finding.step) == ("zero", "not_finite", 7)
    assert finding.severity == "error"  # though later steps are finite


def test_diagnose_run_keeps_stages_apart(tmp_path):
    hard = with_metrics(healthy(), **HARD)
    write_lines(tmp_path, healthy(), "first")
    write_lines(tmp_path, hard, "second")
    assert [(stage, f.name) for stage, f in diagnose_run(tmp_path)] == [
        ("second", "zero_variance/too_hard")
    ]


def test_a_trouble_that_passed_is_a_note(tmp_path):
    write_lines(tmp_path, with_metrics(healthy()[:20], **HARD) + healthy()[20:])
    ((_, finding),) = diagnose_run(tmp_path)
    assert finding.severity == "note" and "over by step 60" in finding.cause


def test_diagnose_run_finds_loops_in_completions_and_shows_one(tmp_path):
    known = [
        {name: value for name, value in record.items() if "looped" not in name}
        for record in healthy()[:6]
    ]
    write_lines(tmp_path, known)
    with RunWriter(tmp_path) as writer:
        for step in range(1, 7):
            columns = {"step": [step] * 2, "completion": ["and so on " * 30, "no wait " * 40]}
            writer._write_table("zero", "completions", step, columns)
    ((_, finding),) = diagnose_run(tmp_path)
    assert finding.name == "looping" and "and so on" in finding.cause


def test_what_stopped_a_run_is_told_until_it_goes_beyond(tmp_path):
    write_lines(tmp_path, healthy()[:7])
    note_failure(tmp_path, "zero", 8, FloatingPointError("the gradient norm must be finite"))
    ((stage, finding),) = diagnose_run(tmp_path)
    assert (stage, finding.name, finding.step) == ("zero", "stopped", 8)
    assert "gradient norm" in finding.cause and "optimizer.lr" in finding.cure
    write_lines(tmp_path, healthy()[7:9])
    assert diagnose_run(tmp_path) == []


def test_diagnose_run_of_no_run_says_so(tmp_path):
    with pytest.raises(ValueError, match="must be a run directory with metrics"):
        diagnose_run(tmp_path)


def test_the_doctor_prints_cause_and_cure_and_fails(monkeypatch, capsys, tmp_path):
    write_lines(tmp_path, with_metrics(healthy(), **HARD))
    status, output, _ = run(monkeypatch, capsys, "doctor", "--run", str(tmp_path))
    assert status == 1
    assert "zero_variance/too_hard" in output and "cause" in output and "cure" in output


def test_the_doctor_finds_a_healthy_run_healthy(monkeypatch, capsys, tmp_path):
    status, output, _ = run(monkeypatch, capsys, "doctor", "--run", str(write_run(tmp_path)))
    assert status == 0 and "healthy" in output


@pytest.mark.parametrize(
    "loss",
    [
        LossConfig(),
        LossConfig.r1(),
        LossConfig(loss_type="dr_grpo"),
        LossConfig(loss_type="bnpo", entropy_coef=0.1, beta=0.1),
        LossConfig(loss_type="cispo", epsilon_high=5.0),
        LossConfig(importance_sampling_level="sequence"),
    ],
    ids=str,
)
def test_the_loss_does_not_change_with_accumulation(loss):
    assert loss_scale_finding(loss) is None


@pytest.mark.parametrize("loss", [LossConfig(), LossConfig.r1()], ids=["dapo", "grpo"])
def test_a_count_of_each_micro_batch_is_found(loss):
    def wrong(rows, config, tokens):
        for part, _ in micro_batches(rows, config, tokens, layout="shared"):
            yield part, loss_normalizer(part.mask_RT, config)

    finding = loss_scale_finding(loss, split=wrong)
    assert finding.name == "loss_scale" and "2 micro-batches instead of 1" in finding.cause


def broken_step(break_it):
    policy = qwen3_policy()
    config = OptimizerConfig()
    optimizer, scheduler = build_optimizer(policy.model.named_parameters(), config, 5)
    for parameter in policy.parameters():
        parameter.grad = torch.ones_like(parameter)
    break_it(policy.model)
    before = [parameter.detach().clone() for parameter in policy.parameters()]
    with pytest.raises(FloatingPointError, match="stage zero, step 3") as error:
        optimizer_step(optimizer, scheduler, 1.0, "stage zero, step 3")
    after = list(policy.parameters())
    assert all(
        torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(before, after, strict=True)
    )
    assert all(parameter.grad is None for parameter in after)
    return str(error.value)


def test_a_gradient_that_is_not_finite_is_named():
    def one_nan(model):
        model.model.layers[1].mlp.up_proj.weight.grad[0, 0] = math.nan

    message = broken_step(one_nan)
    assert "1 of 25 parameters have a gradient that is not finite" in message
    assert "model.layers.1.mlp.up_proj.weight" in message and "layers.0" not in message


def test_a_parameter_that_is_not_finite_points_at_an_earlier_update():
    def all_nan(model):
        model.lm_head.weight.data[0] = math.inf
        for parameter in model.parameters():
            parameter.grad[...] = math.nan

    message = broken_step(all_nan)
    assert "25 of 25" in message and "and 21 more" in message
    assert "1 parameters are themselves not finite (lm_head.weight)" in message


def test_a_norm_that_overflows_is_told_from_a_broken_gradient():
    def huge(model):
        for parameter in model.parameters():
            parameter.grad[...] = 3e38

    assert "each is finite, their norm overflows" in broken_step(huge)
