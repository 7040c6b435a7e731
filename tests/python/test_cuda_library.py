"""libr1cuda.so: found beside the module, and readable about what it finds, GPU or not."""

from pathlib import Path

import pytest
import torch

from r1core import _C
from r1core.doctor import gpu_finding


def test_the_library_lies_beside_the_module_or_says_how_to_build_it():
    path, trouble, *_ = _C.cuda_status()
    if path:
        assert Path(path).parent == Path(_C.__file__).parent and not trouble
    else:
        assert "R1CORE_CUDA=ON" in trouble


def test_the_library_finds_the_devices_that_torch_finds():
    path, _, error, devices, _, built = _C.cuda_status()
    if not path:
        pytest.skip("built without CUDA")
    assert built >= 12_000
    if torch.cuda.is_available():
        assert error == 0 and devices == torch.cuda.device_count()
    elif torch.version.cuda is None:  # no driver: an error by its number, never a crash
        assert devices == 0


OPEN = ("/r1core/libr1cuda.so", "", 0, 1, 13_010, 13_000)


@pytest.mark.parametrize(
    "seen,status,capability,expected,in_order",
    [
        (False, OPEN, (9, 0), "none that torch sees; everything runs on the CPU (libr1cuda", True),
        (False, ("", "no file", 0, 0, 0, 0), (9, 0), "on the CPU (no libr1cuda.so)", True),
        (True, ("", "no file", 0, 0, 0, 0), (9, 0), "kernels do not run on it: no file", False),
        (
            True,
            (OPEN[0], "", 35, 0, 12_020, 13_000),
            (9, 0),
            "CUDA error 35, driver up to CUDA 12.2",
            False,
        ),
        (True, OPEN, (7, 5), "from sm_80 on, and this one is sm_75", False),
        (True, OPEN, (8, 0), "built with CUDA 13.0: losses, sampling and layers run on it", True),
        (True, OPEN, (12, 0), "losses, sampling and layers run on it", True),
    ],
)
def test_doctor_tells_what_runs_on_the_gpu(
    monkeypatch, seen, status, capability, expected, in_order
):
    monkeypatch.setattr(_C, "cuda_status", lambda: status)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: seen)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A GPU")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    finding, fine = gpu_finding()
    assert expected in finding and fine == in_order
    assert finding.startswith("A GPU; ") == seen
