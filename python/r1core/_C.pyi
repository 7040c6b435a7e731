from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

from torch import Tensor

from r1core.rewards.math_policy import MathPolicy

Status = Literal["correct", "wrong", "no_answer", "unparsed_answer", "unparsed_gold", "over_limit"]

torch_version: str
compiler: str

def cuda_status() -> tuple[str, str, int, int, int, int]: ...
def isa() -> str: ...
def best_isa() -> str: ...
def set_isa(name: str) -> None: ...
def sample_tokens(
    logits: Tensor,
    uniforms: Tensor,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    stream: int = 0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]: ...
def philox_uniforms(
    seed: int, prompt_uids: Tensor, samples: Tensor, positions: Tensor, stream: int = 0
) -> Tensor: ...
def verify_math(
    completions: Sequence[str], golds: Sequence[str], policy: MathPolicy, threads: int
) -> list[tuple[Status, str | None]]: ...
def verify_choice(
    completions: Sequence[str], golds: Sequence[str], options: Sequence[Sequence[str]]
) -> list[tuple[Status, str | None]]: ...
def math_equal(answer: str, gold: str, policy: MathPolicy) -> Status: ...
def format_faults(texts: Sequence[str], style: str) -> list[str]: ...
def single_tags(texts: Sequence[str]) -> list[int]: ...
def language_shares(
    texts: Sequence[str], language: str, min_words: int, think: bool, function_words: bool
) -> list[float | None]: ...
def repeated_word_ngrams(texts: Sequence[str], ngram_size: int) -> list[float]: ...
def repeated_token_ngrams(tokens: Sequence[Sequence[int]], ngram_size: int) -> list[float]: ...
def text_loops(
    texts: Sequence[str], max_period: int, min_repeats: int, min_length: int
) -> list[tuple[int, int]]: ...
def token_loop(
    tokens: Sequence[int], max_period: int, min_repeats: int, min_length: int
) -> tuple[int, int]: ...
def group_advantage(
    rewards: Tensor, scale: str, baseline: str, eps: float, ddof: int, stream: int = 0
) -> Tensor: ...
def token_logprobs(
    logits: Tensor, tokens: Tensor, temperature: float, stream: int = 0
) -> tuple[Tensor, Tensor, Tensor]: ...
def token_logprobs_backward(
    logits: Tensor,
    tokens: Tensor,
    statistics: Tensor,
    grad_logprobs: Tensor,
    grad_entropies: Tensor,
    temperature: float,
    stream: int = 0,
) -> Tensor: ...

class GrpoLossOptions:
    def __init__(
        self,
        surrogate: int,
        ratio_min: float,
        ratio_max: float,
        delta: float,
        sapo_temperature_pos: float,
        sapo_temperature_neg: float,
        beta: float,
        kl_estimator: int,
        bias_corrected_kl: bool,
        sequence_ratio: bool,
    ) -> None: ...

class GrpoTokens:
    def __init__(
        self,
        sequence_starts: Tensor,
        advantages: Tensor,
        weights: Tensor,
        old_logprobs: Tensor | None,
        reference_logprobs: Tensor | None,
        importance_weights: Tensor | None,
    ) -> None: ...

def grpo_loss(
    logprobs: Tensor, tokens: GrpoTokens, options: GrpoLossOptions, stream: int = 0
) -> tuple[Tensor, Tensor]: ...
def grpo_loss_from_logits(
    logits: Tensor,
    ids: Tensor,
    tokens: GrpoTokens,
    options: GrpoLossOptions,
    temperature: float,
    entropy_weight: float,
    in_place: bool,
    stream: int = 0,
) -> Tensor: ...
def grpo_loss_from_hidden(
    hidden: Tensor,
    lm_head: Tensor,
    lm_head_bias: Tensor | None,
    ids: Tensor,
    tokens: GrpoTokens,
    options: GrpoLossOptions,
    temperature: float,
    entropy_weight: float,
    budget_bytes: int,
    grad_hidden: bool,
    grad_lm_head: bool,
    grad_lm_head_bias: bool,
    stream: int = 0,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]: ...
def rms_norm(
    x: Tensor, weight: Tensor, eps: float, residual: Tensor | None, stream: int = 0
) -> tuple[Tensor, Tensor]: ...
def rms_norm_backward(
    h: Tensor,
    dy: Tensor,
    weight: Tensor,
    eps: float,
    dh: Tensor | None,
    wants_weight: bool,
    stream: int = 0,
) -> tuple[Tensor, Tensor]: ...
def apply_rope(x: Tensor, cos: Tensor, sin: Tensor, back: bool, stream: int = 0) -> Tensor: ...
def gated(gate: Tensor, up: Tensor, op: str, stream: int = 0) -> Tensor: ...
def gated_backward(
    gate: Tensor, up: Tensor, dy: Tensor, op: str, stream: int = 0
) -> tuple[Tensor, Tensor]: ...

class LowRank:
    def __init__(self, a: Tensor, b: Tensor, scale: float) -> None: ...

class Linear:
    def __init__(
        self, weight: Tensor, bias: Tensor | None = None, low_rank: LowRank | None = None
    ) -> None: ...

class LayerSpec:
    input_norm: Tensor
    query: Linear
    key: Linear
    value: Linear
    output: Linear
    query_norm: Tensor | None
    key_norm: Tensor | None
    feed_forward_norm: Tensor
    gate: Linear
    up: Linear
    down: Linear
    window: int
    def __init__(self) -> None: ...

class Activation:
    silu: ClassVar[Activation]
    gelu_tanh: ClassVar[Activation]

class DecoderSpec:
    heads: int
    kv_heads: int
    head_dim: int
    max_positions: int
    norm_eps: float
    inverse_frequencies: Tensor
    embedding: Tensor
    embedding_scale: float
    activation: Activation
    layers: list[LayerSpec]
    final_norm: Tensor
    head: Linear
    def __init__(self) -> None: ...

class GenerateOptions:
    n: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    max_new_tokens: int
    stop_token_ids: list[int]
    slots: int
    threads: int
    trace_bytes: int
    def __init__(self) -> None: ...

class Trace:
    fingerprint: int

def fingerprint(spec: DecoderSpec) -> int: ...
def release_buffers() -> int: ...
def engine_generate(
    spec: DecoderSpec,
    prompts: Sequence[Tensor],
    uids: Sequence[int],
    seeds: Sequence[int],
    options: GenerateOptions,
    may_end: Tensor | None = None,
    ends: Callable[[Tensor], bool] | None = None,
    on_step: Callable[[int, int], object] | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Trace | None]: ...

class Keep:
    nothing: ClassVar[Keep]
    layers: ClassVar[Keep]
    all: ClassVar[Keep]

class Forward:
    rows: int
    traced: bool
    def __init__(
        self,
        spec: DecoderSpec,
        sequences: Sequence[Tensor],
        prompt_lengths: Sequence[int],
        keep: Keep,
        threads: int,
        trace: Trace | None = None,
    ) -> None: ...
    def run(self) -> Tensor: ...
    def backward(self, grad_hidden: Tensor, wanted: Sequence[bool]) -> list[Tensor | None]: ...

def check_sequences(
    spec: DecoderSpec, sequences: Sequence[Tensor], prompt_lengths: Sequence[int], threads: int
) -> None: ...
def parameters_of(spec: DecoderSpec) -> list[Tensor]: ...
def head_logprobs(
    head: Linear, hidden: Tensor, tokens: Tensor, temperature: float, threads: int
) -> tuple[Tensor, Tensor, Tensor]: ...
def head_logprobs_backward(
    head: Linear,
    hidden: Tensor,
    tokens: Tensor,
    statistics: Tensor,
    grad_logprobs: Tensor,
    grad_entropies: Tensor,
    temperature: float,
    wanted: Sequence[bool],
    threads: int,
) -> list[Tensor | None]: ...
def head_loss(
    head: Linear,
    hidden: Tensor,
    tokens: Tensor,
    loss: GrpoTokens,
    options: GrpoLossOptions,
    temperature: float,
    entropy_weight: float,
    wanted: Sequence[bool],
    threads: int,
) -> tuple[Tensor, Tensor, list[Tensor | None]]: ...
