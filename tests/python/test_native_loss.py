"""The head's own half of a loss: its chunks, and what it refuses."""

import pytest
import torch
from engine_cases import PROMPTS
from models import qwen3_policy

from r1core import _C
from r1core.decoder_spec import head_spec
from r1core.grpo_loss import LossConfig
from r1core.loss_tokens import pack_tokens
from r1core.native_forward import DecoderTable, completion_hidden


def test_chunks_of_a_large_vocabulary_do_not_change_bits():
    """Logits beyond the budget of one chunk; threads change how many there are."""
    generator = torch.Generator().manual_seed(0)
    V, H, M = 40_000, 8, 700
    hidden_MH = torch.randn(M, H, generator=generator)
    head = _C.Linear(0.3 * torch.randn(V, H, generator=generator), None, None)
    ids_M = torch.randint(V, (M,), generator=generator)
    packed = pack_tokens(
        "test", M, torch.tensor([0, M]), torch.ones(1), config=LossConfig(beta=0.0)
    )

    def run(threads):
        tokens, options = packed.kernel_tokens(torch.device("cpu")), packed.config.kernel_options()
        return _C.head_loss(
            head, hidden_MH, ids_M, tokens, options, 1.0, 0.0, [True, True], threads
        )

    sums, logprobs_M, gradients = run(1)
    scored, _, statistics = _C.head_logprobs(head, hidden_MH, ids_M, 1.0, 2)
    assert torch.equal(scored, logprobs_M)
    each, none = torch.full((M,), -1 / M), torch.zeros(M)
    apart_ways = _C.head_logprobs_backward(
        head, hidden_MH, ids_M, statistics, each, none, 1.0, [True, True], 3
    )
    for threads in (2, 40):
        other = run(threads)
        assert torch.equal(other[0], sums) and torch.equal(other[1], logprobs_M)
        assert all(map(torch.equal, other[2], gradients))
    assert all(map(torch.equal, apart_ways, gradients))


def test_what_the_head_cannot_take_is_refused():
    policy = qwen3_policy()
    hidden_MH = completion_hidden(DecoderTable.of(policy.model), [PROMPTS[0]], [1])
    ids_M, M = PROMPTS[0][1:].contiguous(), len(PROMPTS[0]) - 1
    head, starts = head_spec(policy.model), torch.tensor([0, M])

    def run(count=M, **changes):
        packed = pack_tokens("test", M, starts, torch.ones(1), config=LossConfig(**changes))
        tokens, options = packed.kernel_tokens(torch.device("cpu")), packed.config.kernel_options()
        wanted = [False] * 2
        _C.head_loss(head, hidden_MH[:count], ids_M[:count], tokens, options, 1.0, 0.0, wanted, 1)

    run()
    with pytest.raises(ValueError, match="head_loss: options must have a ratio per token"):
        run(importance_sampling_level="sequence")
    with pytest.raises(ValueError, match=rf"head_loss: loss must be of {M - 1} tokens; got {M}"):
        run(M - 1)
