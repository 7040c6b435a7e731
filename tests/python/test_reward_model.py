"""Reward models: what they learn, what they look at, and that they are ordinary TRL rewards."""

import pytest
import torch
from models import qwen_tokenizer
from transformers import AutoModelForSequenceClassification, Qwen2Config

from r1core.forward import ModuleForward, NativeForward
from r1core.policy import Policy
from r1core.reward_model import RewardModel
from r1core.stages.preferences import balanced, some_pairs
from r1core.stages.reward_model import (
    RewardModelConfig,
    RewardModelState,
    evaluation_metrics,
    reward_model,
)


def make_policy():
    tokenizer = qwen_tokenizer()
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    return Policy.from_config(Qwen2Config(vocab_size=len(tokenizer), **sizes, **heads), tokenizer)


def make_model(part="all"):
    return RewardModel.from_policy(make_policy(), part)


PAIRS = [
    {"prompt": f"{k} ?", "chosen": f"yes {k} thanks", "rejected": f"no {k} never"}
    for k in range(24)
]
LABELS = [
    {"prompt": f"{k} ?", "completion": f"{'fine' if k % 2 else 'harm'} {k}", "label": float(k % 2)}
    for k in range(24)
]


def config(form, **changes):
    settings = {
        "form": form,
        "part": "all",
        "epochs": 8,
        "batch_size": 8,
        "optimizer": {"lr": 3e-3},
    }
    return RewardModelConfig(**(settings | changes))


@pytest.mark.parametrize(("form", "rows"), [("pairs", PAIRS), ("labels", LABELS)])
def test_a_model_learns_to_tell_good_from_bad(form, rows):
    model = make_model()
    steps = list(reward_model(model, rows, config(form)))
    assert [stats.step for stats in steps] == list(range(1, 25))
    assert steps[0].metrics["loss"] == pytest.approx(0.6931, abs=1e-3)  # the head starts at zero
    assert evaluation_metrics(model, rows, config(form))["eval/accuracy"] == 1.0
    assert evaluation_metrics(model, rows, config(form))["eval/loss"] < 0.2


def test_micro_batches_do_not_change_the_step():
    losses = []
    for budget in (1, 64, 16_384):
        (first, *_) = reward_model(
            make_model(), PAIRS, config("pairs", tokens_per_micro_batch=budget)
        )
        losses.append(first.metrics["grad_norm"])
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-4)


@pytest.mark.parametrize("forward", ["native", "hf"])
def test_it_trains_through_its_policy_s_forward(forward, monkeypatch):
    policy = make_policy()
    policy.forward = forward
    asked = []
    kind = {"native": NativeForward, "hf": ModuleForward}[forward]
    last_hidden = kind.last_hidden

    def spy(self, sequences):
        asked.append(self._gradient_checkpointing)
        return last_hidden(self, sequences)

    monkeypatch.setattr(kind, "last_hidden", spy)
    weights = []
    for checkpointing in (False, True):
        policy.gradient_checkpointing = checkpointing
        model = RewardModel.from_policy(policy)
        next(reward_model(model, PAIRS, config("pairs")))
        weights.append(model.model.state_dict())
    assert asked == [False, True]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_stage_goes_on_bit_for_bit():
    whole = make_model()
    list(reward_model(whole, PAIRS, config("pairs"), seed=3))
    model = make_model()
    state = RewardModelState(model, config("pairs"), len(PAIRS))
    steps = reward_model(model, PAIRS, config("pairs"), seed=3, state=state)
    for _ in range(5):
        next(steps)
    resumed = make_model()
    resumed.model.load_state_dict({k: v.clone() for k, v in model.model.state_dict().items()})
    later = RewardModelState(resumed, config("pairs"), len(PAIRS))
    later.load_state_dict(state.state_dict())
    list(reward_model(resumed, PAIRS, config("pairs"), seed=3, state=later))
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_helpfulness_looks_at_the_summary_alone_and_harmlessness_at_everything():
    helpful, harmless = make_model("summary"), make_model("all")
    for model in (helpful, harmless):
        torch.nn.init.normal_(model.model.score.weight)
    a, b = "<think> x</think> yes", "<think> something else</think> yes"
    assert helpful(["?"], [a]) == helpful(["?"], [b])
    assert harmless(["?"], [a]) != harmless(["?"], [b])


def test_scores_do_not_depend_on_the_company():
    model = make_model()
    torch.nn.init.normal_(model.model.score.weight)
    texts = ["yes", "no no no no no no no", "perhaps"]
    together = model(["?"] * 3, texts)
    alone = [model(["?"], [text])[0] for text in texts]
    assert together == pytest.approx(alone, abs=1e-5)


def test_a_loaded_model_trains_like_the_policy_of_its_run(tmp_path):
    policy = make_policy()
    RewardModel.from_policy(policy).save_pretrained(tmp_path)
    policy.forward, policy.gradient_checkpointing = "hf", True
    model = RewardModel.from_pretrained(tmp_path).trained_like(policy)
    assert (model.forward, model.gradient_checkpointing) == ("hf", True)
    assert model.model.device == policy.device


def test_a_saved_model_is_a_sequence_classifier_and_remembers_its_part(tmp_path):
    model = make_model("summary")
    torch.nn.init.normal_(model.model.score.weight)
    model.save_pretrained(tmp_path)
    again = RewardModel.from_pretrained(tmp_path)
    assert again.part == "summary"
    assert again(["?"], ["yes"]) == model(["?"], ["yes"])
    classifier = AutoModelForSequenceClassification.from_pretrained(tmp_path)  # as TRL loads it
    ids = torch.tensor([model.encode("?", "yes")])
    logits = classifier(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    assert logits.shape == (1, 1)
    assert logits.item() == pytest.approx(model(["?"], ["yes"])[0], abs=1e-5)


def test_a_row_without_a_column_is_named():
    with pytest.raises(
        ValueError, match="must have prompt, chosen, rejected; row 1 has no 'chosen'"
    ):
        list(reward_model(make_model(), [PAIRS[0], LABELS[0]], config("pairs")))


# Pairs --------------------------------------------------------------------------------------------


def test_balanced_pairs_have_as_many_longer_as_shorter_chosen_answers():
    def pair(chosen, rejected, margin):
        return {"chosen": "a " * chosen, "rejected": "b " * rejected, "margin": margin}

    rows = [pair(5, 3, 1.0), pair(5, 3, 3.0), pair(5, 3, 2.0), pair(2, 4, 0.5), pair(3, 3, 1.0)]
    assert balanced(rows) == [rows[1], rows[3], rows[4]]


def test_pairs_are_of_different_answers_and_reproducible():
    pairs = some_pairs(["a", "b", "a", "c"], 2, "key")
    assert len(pairs) == 2
    assert all(first != second for first, second in pairs)
    assert pairs == some_pairs(["a", "b", "a", "c"], 2, "key")
    assert some_pairs(["a", "a"], 2, "key") == []
