"""The command line: `r1core run`, `plan`, `demo`, `eval`, `compare`, `verify`, `doctor`, ..."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from r1core import cli_eval

if TYPE_CHECKING:
    from r1core.recipe import Recipe

app = typer.Typer(
    help="The whole DeepSeek-R1 recipe, stage by stage.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # which would take the defaults in [] for markup
)
app.add_typer(cli_eval.app)

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value: zero.optimizer.lr=1e-5."),
]
Overwrite = Annotated[bool, typer.Option(help="Begin again in place of an earlier run.")]
Debug = Annotated[bool, typer.Option(help="Show the full traceback of an error.")]


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="A TOML file, or a packaged recipe's name.")],
    model: Annotated[
        str | None, typer.Option(help="Directory or hub name that replaces the recipe's model.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Run directory [runs/<name>].")] = None,
    set_: Set = None,
    stage: Annotated[
        list[str] | None, typer.Option(help="Run this stage alone; may be given several times.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Run every stage of a recipe; a run that was stopped goes on where it was."""
    from r1core.recipe import load_recipe  # torch and transformers take seconds to import

    overrides = list(set_ or [])
    loaded = load_recipe(recipe, overrides, model=model)
    directory = output or Path("runs") / loaded.name
    run_quietly(loaded, directory, overwrite=overwrite, only=stage or ())


@app.command()
def plan(
    recipe: Annotated[str, typer.Argument(help="A TOML file, or a packaged recipe's name.")],
    model: Annotated[
        str | None, typer.Option(help="Directory or hub name that replaces the recipe's model.")
    ] = None,
    set_: Set = None,
    stage: Annotated[
        list[str] | None, typer.Option(help="Plan this stage alone; may be given several times.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda (the GPU here), H100, H200, A100, or a size: 80GB [recipe's]"),
    ] = None,
    prompt_tokens: Annotated[
        int | None, typer.Option(min=1, help="Of the longest prompt [256; of a world 32].")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON; sizes in bytes.")] = False,
) -> None:
    """Say what each stage takes in memory, whether it fits, and what to change if it does not.

    Nothing is loaded but the model's configuration. Exit status 1 where a stage does not fit.
    """
    import json

    from r1core.plan import advise_recipe, as_json, find_device, plan_recipe, print_plan
    from r1core.recipe import load_recipe

    def load(more: Sequence[str] = ()) -> Recipe:
        return load_recipe(recipe, [*(set_ or []), *more], model=model)

    loaded = load()
    found = find_device(device or loaded.model.device)
    planned = plan_recipe(loaded, found, prompt_tokens=prompt_tokens, only=stage or ())
    advice = advise_recipe(load, planned, prompt_tokens=prompt_tokens)
    if json_:
        print(json.dumps(as_json(planned, advice), indent=2))
    else:
        print_plan(planned, advice, Console())
    if advice:
        raise typer.Exit(1)


@app.command()
def demo(
    seed: Annotated[int, typer.Option(help="Seed of the base, the data and the sampling.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option(help="Run directory [runs/quickstart; of seed 1, runs/quickstart-1]."),
    ] = None,
    set_: Set = None,
    overwrite: Overwrite = False,
) -> None:
    """Train the embedded model from a base that guesses into one that reasons, on the CPU.

    A finished run of the same demo makes way for the new one; one that was stopped goes on. A run
    of anything else, another seed's too, is kept.
    """
    from r1core.pipeline import is_finished
    from r1core.recipe import load_recipe

    loaded = load_recipe("quickstart", [f"seed={seed}", *(set_ or [])])
    directory = output or Path("runs") / (f"quickstart-{seed}" if seed else "quickstart")
    overwrite = overwrite or is_finished(loaded, directory)
    run_quietly(loaded, directory, overwrite=overwrite)


def run_quietly(
    recipe: Recipe, directory: Path, *, overwrite: bool, only: Collection[str] = ()
) -> None:
    """Run a recipe without the bars that transformers draws for every load and save."""
    from transformers.utils import logging

    from r1core.pipeline import run_recipe

    logging.disable_progress_bar()
    run_recipe(recipe, directory, overwrite=overwrite, only=only)


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="A .jsonl, .json, .parquet or .csv file.")],
    completion: Annotated[str | None, typer.Option(help="Column of the completions.")] = None,
    gold: Annotated[str | None, typer.Option(help="Column of the golds.")] = None,
    choice: Annotated[bool, typer.Option("--choice", help="Golds are letters of options.")] = False,
    failures: Annotated[int, typer.Option(min=0, help="Failed rows to show.")] = 20,
    policy: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A choice of MathPolicy: percent=hundredth."),
    ] = None,
) -> None:
    """Grade a file of completions, and show the rows that failed and why."""
    from r1core.verify_file import grade_file, parse_policy, print_graded

    graded = grade_file(
        path,
        completion=completion,
        gold=gold,
        kind="choice" if choice else "math",
        policy=parse_policy(policy or []),
    )
    print_graded(graded, Console(), failures=failures)


@app.command()
def doctor(
    run: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Say what is wrong with a run instead.")
    ] = None,
) -> None:
    """Say what is built, what it runs on and which versions are installed; or examine a run."""
    from r1core.doctor import diagnose, examine_run

    if run is not None:
        if not examine_run(run, Console()):
            raise typer.Exit(1)
        return
    findings = diagnose()
    table = Table("", "what", "finding", box=None)
    for what, finding, in_order in findings:
        table.add_row("[green]ok[/]" if in_order else "[red]!![/]", what, finding)
    Console().print(table)
    if not all(in_order for _, _, in_order in findings):
        raise typer.Exit(1)


@app.callback()
def options(context: typer.Context, debug: Debug = False) -> None:
    """Keep the options that every command shares."""
    context.obj = debug


def main() -> None:
    """Run the command line; what a user can mend is one line on stderr and exit status 2."""
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    try:
        app(standalone_mode=True)
    except (ValueError, OSError, FloatingPointError, RuntimeError) as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        if error.__cause__ is not None or not isinstance(error, ValueError):
            print("(--debug shows the traceback)", file=sys.stderr)
        sys.exit(2)
