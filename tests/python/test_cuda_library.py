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


def test_doctor_tells_what_runs_on_the_gpu():
    finding, _ = gpu_finding()
    assert "libr1cuda.so" in finding or "R1CORE_CUDA" in finding
