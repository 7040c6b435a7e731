"""The command line of evaluation: `r1core eval`, `r1core compare`, `r1core published`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from r1core.evaluation import AskedQuestions
    from r1core.policy import Policy
    from r1core.types import SamplingParams

PAPER_MAX_NEW_TOKENS = 32_768  # appendix D.1

app = typer.Typer(rich_markup_mode=None)  # see cli.py


@app.command("eval")
def evaluate_model(
    model: Annotated[
        str | None, typer.Argument(help="Directory (also runs/x/stages/dev1) or hub name.")
    ] = None,
    set_: Annotated[
        str | None, typer.Option("--set", help="gsm8k, math_500, aime_2024, gpqa_diamond, ...")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Questions of your own: a file, directory or hub name.")
    ] = None,
    world: Annotated[
        str | None, typer.Option(help="An embedded world: its questions, and its base as MODEL.")
    ] = None,
    path: Annotated[Path | None, typer.Option(help="Local copy of --set.")] = None,
    revision: Annotated[str | None, typer.Option(help="Commit of --set on the hub.")] = None,
    prompt: Annotated[str, typer.Option(help="Column of the questions of --data.")] = "prompt",
    answer: Annotated[str, typer.Option(help="Column of the golds of --data.")] = "answer",
    reward: Annotated[
        list[str] | None, typer.Option(help="What grades --data; of --set, a further figure.")
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            help="r1_zero, chat or none [a stage's own; else chat where the model has one]."
        ),
    ] = None,
    questions: Annotated[int | None, typer.Option(min=1, help="Ask so many [all].")] = None,
    shots: Annotated[int, typer.Option(min=0, help="Worked examples before each question.")] = 0,
    shots_path: Annotated[Path | None, typer.Option(help="File of worked examples.")] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="k, answers per question [the paper's k, or 4].")
    ] = None,
    temperature: Annotated[float, typer.Option(help="Paper: 0.6.")] = 0.6,
    top_p: Annotated[float, typer.Option(help="Paper: 0.95.")] = 0.95,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="[32768, at most half of the model's context]")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sampling.")] = 0,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    output: Annotated[
        Path | None,
        typer.Option(
            help="Directory of the result [runs/eval/<model>-<set>; a stage's <model> is "
            "<run>-<stage>]."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an earlier result there.")] = False,
) -> None:
    """Evaluate a model as the paper does: k sampled answers to each question, graded by rule."""
    from r1core.evaluation.run import check_free
    from r1core.types import SamplingParams

    check_source(set_, data, world, model)
    if set_ is None:
        of_set = {"--path": path, "--revision": revision, "--shots-path": shots_path}
        reject_options("--set", of_set | {"--shots": shots or None})
    if set_ is None and data is None:
        reject_options("--set and --data", {"--template": template})
    name = f"{model_name(model or world or '')}-{set_ or last_part(data or world or '')}"
    output = output or Path("runs/eval") / name
    check_free(output, overwrite=overwrite)
    policy = load_model(model, world, dtype, device)
    limit = max_new_tokens or usual_limit(policy)
    options: dict[str, Any] = {
        "questions": questions,
        "rewards": reward or (),
        "template": template or trained_template(model),
        "max_prompt_tokens": policy.max_context and policy.max_context - limit,
    }
    if set_ is not None:
        options |= {"path": path, "revision": revision, "shots": shots, "shots_path": shots_path}
    elif data is not None:
        options |= {"prompt": prompt, "answer": answer}
    asked = ask(policy, set_, data, world, options)
    sampling = SamplingParams(
        n=samples or asked.samples,
        temperature=temperature,
        top_p=top_p,
        max_new_tokens=limit,
        seed=seed,
    )
    run_evaluation(policy, asked, sampling, model or f"world {world}", output)


def run_evaluation(
    policy: Policy, asked: AskedQuestions, sampling: SamplingParams, model: str, output: Path
) -> None:
    """Evaluate under a progress bar, write the result and print it."""
    from r1core.evaluation import evaluate_questions, write_result
    from r1core.evaluation.table import print_result
    from r1core.progress import progress_callback

    if asked.questions.dropped:
        print(f"{asked.questions.dropped} questions left out: too long for the model's context")
    total = len(asked.questions) * sampling.n
    with progress_callback(f"{asked.name}: {total:,} answers", total) as on_progress:
        result = evaluate_questions(policy, asked, sampling, model=model, on_progress=on_progress)
    write_result(output, result)
    print_result(result, Console())
    print(f"Result: {output}")


def check_source(set_: str | None, data: str | None, world: str | None, model: str | None) -> None:
    """Raise ValueError unless there are questions and a model, before either is loaded."""
    if set_ is not None and data is not None:
        raise ValueError(f"eval: one of --set and --data must be given; got {set_!r} and {data!r}")
    if set_ is None and data is None and world is None:
        raise ValueError("eval: --set, --data or --world must say what to ask; got none")
    if model is None and world is None:
        raise ValueError("eval: MODEL or --world must say what to evaluate; got neither")
    if set_ is not None:
        from r1core.eval_sets import find_eval_set

        find_eval_set(set_).rewards()
    if model is not None and (Path(model) / "stages").is_dir():
        stages = sorted(path.name for path in (Path(model) / "stages").iterdir())
        raise ValueError(
            f"eval: MODEL must be one stage of a run, {model}/stages/NAME; got the run {model}, "
            f"which has {', '.join(stages) or 'none yet'}"
        )


def reject_options(scope: str, given: dict[str, Any]) -> None:
    """Raise ValueError for an option that would change nothing."""
    for option, value in given.items():
        if value is not None:
            raise ValueError(f"eval: {option} must go with {scope}; got {str(value)!r} without")


def load_model(model: str | None, world: str | None, dtype: str, device: str) -> Policy:
    """Load the model, or the base of an embedded world."""
    from transformers.utils import logging

    from r1core.models import load_root
    from r1core.recipe_sections import ModelSection
    from r1core.worlds import load_world

    logging.disable_progress_bar()
    if model is None:
        assert world is not None
        return load_root(ModelSection(world=world), load_world(world), 0)
    section = ModelSection.model_validate({"path": model, "dtype": dtype, "device": device})
    return load_root(section, None, 0)


def usual_limit(policy: Policy) -> int:
    """Return the paper's completion limit, or half of the context where that is less."""
    context = policy.max_context or 2 * PAPER_MAX_NEW_TOKENS
    return min(PAPER_MAX_NEW_TOKENS, context // 2)


def ask(
    policy: Policy, set_: str | None, data: str | None, world: str | None, options: dict[str, Any]
) -> AskedQuestions:
    """Return the questions that the options name."""
    from r1core.evaluation import ask_data, ask_set, ask_world

    if options["template"] not in (None, "r1_zero", "chat", "none"):
        raise ValueError(
            f"eval: --template must be r1_zero, chat or none; got {options['template']!r}"
        )
    if set_ is not None:
        return ask_set(set_, policy.tokenizer, **options)
    if data is not None:
        return ask_data(data, policy.tokenizer, **options)
    assert world is not None
    return ask_world(world, options["questions"], options["rewards"])


def model_name(model: str) -> str:
    """Return what a model's results are called: of a stage, after its run too."""
    run = run_of(model)
    return (f"{last_part(run.name)}-" if run else "") + last_part(model)


def run_of(model: str | None) -> Path | None:
    """Return the run whose stage a directory is; None of any other model."""
    path = Path(model).resolve() if model and Path(model).is_dir() else Path()
    return path.parents[1] if path.parent.name == "stages" else None


def trained_template(model: str | None) -> str | None:
    """Return the template that a run's stage was trained with; None where there is none to know."""
    from r1core.report_data import load_recipe_tables, stage_settings

    run = run_of(model)
    if model is None or run is None:
        return None
    data = stage_settings(load_recipe_tables(run), Path(model).resolve().name).get("data", {})
    return None if "world" in data else data.get("template")


def last_part(path: str) -> str:
    """Return a path's last part without its extension, fit for a file name."""
    name = Path(path).name
    stem = name.removesuffix(Path(name).suffix) if Path(path).is_file() else name
    return re.sub(r"[^A-Za-z0-9_.-]", "_", stem) or "model"


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="Directory of an evaluation.")],
    b: Annotated[Path, typer.Argument(help="Directory of another.")],
) -> None:
    """Compare two evaluations: what differs, then the paired difference of pass@1.

    The exit status is 1 where questions, template or grader differ.
    """
    from r1core.evaluation.compare import compare as compare_directories
    from r1core.evaluation.compare import print_comparison

    found = compare_directories(a, b)
    print_comparison(found, Console())
    if not found.comparable:
        raise typer.Exit(1)


@app.command("published")
def show_published(
    benchmark: Annotated[str | None, typer.Argument(help="aime_2024, if_eval, ...")] = None,
    model: Annotated[str | None, typer.Option(help="R1, R1-Zero, R1-Dev1, ...")] = None,
    version: Annotated[str | None, typer.Option(help="v1, v2 (arXiv) or nature.")] = None,
) -> None:
    """Show the numbers of the paper's tables, and which version of it prints which."""
    from r1core.published import print_published, published

    print_published(published(benchmark, model, version), Console())
