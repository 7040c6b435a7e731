"""`r1core doctor`: what is built, what it runs on, what is missing; what is wrong with a run."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console
from rich.text import Text

from r1core import _C
from r1core.console import print_findings
from r1core.diagnosis import diagnose_run
from r1core.manifest import hardware, versions
from r1core.tracking import read_metrics


def diagnose() -> list[tuple[str, str, bool]]:
    """Return (what, finding, in order) for each thing that a run depends on."""
    machine, installed = hardware(), versions()
    same_torch = installed["torch"].split("+")[0] == _C.torch_version.split("+")[0]
    built = f"built with {_C.compiler} against torch {_C.torch_version}"
    if not same_torch:
        built += f"; torch {installed['torch']} is installed: reinstall r1core"
    best = _C.best_isa()
    isa = f"{machine['instruction_set']} in use"
    isa += "" if machine["instruction_set"] == best else f" (this CPU runs {best})"
    findings = [
        ("core", built, same_torch),
        ("instruction set", isa, True),
        ("CPU", f"{machine['cpu']}, {machine['cores']} cores", True),
        ("threads", f"{machine['torch_threads']} (torch.set_num_threads changes it)", True),
        ("GPU", *gpu_finding()),
    ]
    findings += [
        (name, version, version != "not installed")
        for name, version in installed.items()
        if name != "torch"
    ]
    return findings + [("torch", installed["torch"], same_torch)]


def gpu_finding() -> tuple[str, bool]:
    """Say which GPU torch sees and what r1core uses it for; whether that is in order."""
    path, trouble, error, devices, driver, built = _C.cuda_status()
    library = f"libr1cuda.so built with CUDA {_cuda(built)}" if path else "no libr1cuda.so"
    if not torch.cuda.is_available():
        return f"none that torch sees; everything runs on the CPU ({library})", True
    name = torch.cuda.get_device_name()
    if trouble:
        return f"{name}; r1core's kernels do not run on it: {trouble}", False
    if error or not devices:
        told = f"CUDA error {error}, driver up to CUDA {_cuda(driver)}"
        return f"{name}; {library} finds no device ({told})", False
    major, minor = torch.cuda.get_device_capability()
    if major < 8:
        return (
            f"{name}; {library} runs on GPUs from sm_80 on, and this one is sm_{major}{minor}",
            False,
        )
    plan = "`r1core plan RECIPE --device cuda` says what fits"
    return f"{name}; {library}: losses, sampling and layers run on it; {plan}", True


def _cuda(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def examine_run(directory: Path, console: Console) -> bool:
    """Print what is wrong with a run; return whether it is healthy, which notes leave it.

    Raises:
        ValueError: the directory holds no run.
    """
    findings = diagnose_run(directory)
    records = read_metrics(directory)
    stages = ", ".join(dict.fromkeys(str(record["stage"]) for record in records))
    console.print(Text(f"{directory}: {len(records)} lines of metrics, stages {stages}"))
    for stage, finding in findings:
        print_findings(stage, [finding], console)
    troubles = [finding for _, finding in findings if finding.severity != "note"]
    if not troubles:
        console.print(Text("healthy: no trouble found", "green"))
    return not troubles
