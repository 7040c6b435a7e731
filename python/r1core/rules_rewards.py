"""Rules about the rewards: groups without variance, functions that say nothing.

Each takes the records of one stage so far and looks at the newest; see `findings`.
"""

from __future__ import annotations

from collections.abc import Iterator

from r1core.findings import (
    ANSWERED,
    DEAD_STEPS,
    FEW_USED,
    FORMAT,
    MOST_ABSTAINED,
    MOST_CLIPPED,
    MOST_GROUPS,
    PATIENCE,
    PENALTY,
    Finding,
    History,
    Severity,
    first_values,
    last_values,
    mean,
    reward_means,
)


def zero_variance(history: History) -> Iterator[Finding]:
    """(Almost) all groups agree: every advantage is 0, and nothing is learnt."""
    shares = last_values(history, "frac_reward_zero_std")
    if not shares or min(shares) < MOST_GROUPS:
        return
    step, seen = history[-1]["step"], f"{mean(shares):.0%} of the groups score all alike"
    means = {n: v for n, v in reward_means(history).items() if not PENALTY.search(n)}
    worst = min(means, key=lambda name: means[name], default=None)
    if worst is not None and means[worst] < ANSWERED:
        yield Finding(
            step,
            "zero_variance/too_hard",
            "error",
            f"{seen} and {worst} pays {means[worst]:.2f}: too hard, or graded wrongly; every "
            "advantage is 0 and nothing is learnt",
            "read some completions; then take easier questions or a better start (a cold-start "
            "stage), raise sampling.n, or reward steps on the way",
        )
        return
    learnt = min(first_values(history, "frac_reward_zero_std"), default=1.0) < MOST_GROUPS
    yield Finding(
        step,
        "zero_variance/too_easy",
        "note" if learnt else "warning",
        f"{seen} and all is paid: {'learnt' if learnt else 'too easy from the first step on'}; "
        "every advantage is 0 and further steps teach nothing",
        "stop here, take harder questions, or set dynamic_sampling_rounds = 10",
    )


def format_absent(history: History) -> Iterator[Finding]:
    """A format reward that never pays: the completions follow another template."""
    cut_off = last_values(history, "completions/clipped_ratio")
    for name in reward_means(history):
        values = last_values(history, f"rewards/{name}/mean")
        if not FORMAT.search(name) or PENALTY.search(name) or max(values) > 0:
            continue
        cause = f"{name} paid 0 to every completion of {len(values)} steps: "
        cure = (
            'set data.template (base models: "r1_zero"; chat models: "chat") and the reward\'s '
            "style to the same format; compare with a printed completion"
        )
        if cut_off and min(cut_off) >= MOST_CLIPPED:
            cause += f"{mean(cut_off):.0%} are cut off at the length limit, before the closing tags"
            cure = f"raise sampling.max_new_tokens; if it stays 0, {cure}"
        else:
            cause += "template mismatch, the completions do not have the tags it looks for"
        yield Finding(history[-1]["step"], f"format_absent/{name}", "error", cause, cure)


def dead_reward(history: History) -> Iterator[Finding]:
    """A reward function that has said the same of every completion since the first step."""
    for name in reward_means(history):
        metric = f"rewards/{name}/mean"
        if history[-1].get(f"rewards/{name}/std", 0.0) != 0:  # as a rule: the rest is not looked at
            continue
        if len(first_values(history, metric, DEAD_STEPS)) < DEAD_STEPS:
            continue
        scores = {record[metric] for record in history if metric in record}
        spreads = {record.get(f"rewards/{name}/std") for record in history if metric in record}
        if len(scores) > 1 or spreads != {0.0}:
            continue
        score = scores.pop()
        silent = score == 0 and PENALTY.search(name)
        if silent or (FORMAT.search(name) and (score <= 0 or score == 1)):
            continue  # a penalty never earned; a template always followed, or `format_absent`
        severity: Severity = "note" if score == 1 else "warning"
        yield Finding(
            history[-1]["step"],
            f"dead_reward/{name}",
            severity,
            f"{name} has given {score:g} to every completion since the first step: it teaches "
            "nothing",
            "call it by hand on one right and one wrong completion: the answer's column, the order "
            "of its arguments and what it reads of the text are the usual mistakes",
        )


def abstaining(history: History) -> Iterator[Finding]:
    """A reward function that cannot grade most completions."""
    for key in history[-1]:
        if not key.startswith("rewards/") or not key.endswith("/abstained"):
            continue
        shares, name = last_values(history, key), key.split("/", 1)[1].rsplit("/", 1)[0]
        if shares and min(shares) >= MOST_ABSTAINED:
            yield Finding(
                history[-1]["step"],
                f"abstaining/{name}",
                "warning",
                f"{name} returned None or NaN for {mean(shares):.0%} of the completions: it cannot "
                "read the gold answers, or ran out of time",
                "check the column with the gold answers (data.answer) and what the function does "
                "with it; rows on which all functions abstain are not trained on",
            )


def wasteful_draws(history: History) -> Iterator[Finding]:
    """Dynamic sampling throws most of what it draws away."""
    drawn = last_values(history, "sampling/groups_drawn")
    used = last_values(history, "sampling/groups_used")
    if drawn and used and sum(used) < FEW_USED * sum(drawn):
        yield Finding(
            history[-1]["step"],
            "wasteful_draws",
            "warning",
            f"dynamic sampling used {sum(used):.0f} of {sum(drawn):.0f} groups drawn in "
            f"{PATIENCE} steps: the others score all alike",
            "choose questions nearer to what the policy can do: neither always nor never right",
        )
