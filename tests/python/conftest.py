"""Fixtures that several test files share."""

import os

# Read where the Hub's client is imported: no test reaches for the network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest  # noqa: E402
import torch  # noqa: E402

from r1core.worlds import load_world  # noqa: E402
from r1core.worlds.base import base_policy  # noqa: E402


def pytest_collection_modifyitems(items):
    """Skip GPU tests without a GPU, unless R1_REQUIRE_CUDA=1 says that there must be one."""
    if torch.cuda.is_available() or os.environ.get("R1_REQUIRE_CUDA") == "1":
        return
    for item in items:
        if "cuda" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs a GPU"))


@pytest.fixture(autouse=True)
def _same_global_state():
    """Give every test the same torch generator and thread count, and restore the thread count."""
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory):
    """Keep pretrained bases in one place for the whole session, all its processes included."""
    session = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        session = session.parent
    directory = os.environ.get("R1CORE_CACHE") or str(session / "cache")
    os.environ["R1CORE_CACHE"] = directory
    return directory


@pytest.fixture(scope="session")
def _sum_chain_base(shared_cache):
    return base_policy(load_world("sum_chain"))


@pytest.fixture
def sum_chain_base(_sum_chain_base):
    """Return a trainable copy of the embedded world's pretrained base."""
    return _sum_chain_base.trainable_copy()
