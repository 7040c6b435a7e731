"""The parts of a decoder layer between its products: as the oracle, on the CPU and on a GPU."""

from functools import partial

import pytest
import torch

from r1core import oracle
from r1core.layers import apply_rope, geglu, rms_norm, swiglu

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]  # conftest skips without a GPU
DTYPES = [torch.float32, torch.bfloat16]
# None, one, primes; a lane, a cut vector, a head, hidden sizes, and beyond what a block holds.
SHAPES = [(0, 8), (1, 1), (3, 7), (307, 64), (17, 128), (5, 1037), (13, 4096), (3, 9216)]
EPS = 1e-6
ON_CPU_AND_GPU = pytest.mark.parametrize("device", DEVICES)
GATES = [(swiglu, "silu"), (geglu, "gelu_tanh")]


def draw(*shape, device="cpu", dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator).to(device, dtype)


def draws(*shapes, **options):
    return [draw(*shape, seed=i, **options) for i, shape in enumerate(shapes)]


def leaf(tensor):
    return tensor.detach().clone().requires_grad_()


def wide_leaf(tensor):
    return tensor.detach().double().requires_grad_()


def close(actual, expected, dtype):
    """Compare within float32's sums, or the one rounding of bfloat16."""
    rtol, atol = (1e-4, 2e-5) if dtype == torch.float32 else (1 / 250, 1e-5)
    torch.testing.assert_close(actual.double(), expected, rtol=rtol, atol=atol)


def differentiate(outputs, inputs):
    """Gradients of a fixed sum of the outputs."""
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    pulls = draws(*(y.shape for y in outputs), device=outputs[0].device, dtype=outputs[0].dtype)
    return torch.autograd.grad(outputs, inputs, pulls)


def check(ours, exact, inputs, dtype):
    """Compare values and gradients of a function with those of its oracle on the same inputs."""
    mine, theirs = [leaf(x) for x in inputs], [wide_leaf(x) for x in inputs]
    actual, expected = ours(*mine), exact(*theirs)
    close(actual, expected, dtype)
    # The oracle's pull is what ours is in its dtype.
    pull = draw(*actual.shape, device=actual.device, dtype=dtype, seed=9)
    for a, e in zip(
        torch.autograd.grad(actual, mine, pull),
        torch.autograd.grad(expected, theirs, pull.double()),
        strict=True,
    ):
        assert a.dtype in (dtype, torch.float32)
        close(a, e, dtype)


@ON_CPU_AND_GPU
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows,width", SHAPES)
def test_rms_norm_matches_the_oracle(rows, width, dtype, device):
    x, weight = draws((rows, width), (width,), device=device, dtype=dtype)
    check(partial(rms_norm, eps=EPS), partial(oracle.rms_norm, eps=EPS), [x, weight], dtype)


@ON_CPU_AND_GPU
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows,width", SHAPES)
def test_rms_norm_adds_the_residual_first(rows, width, dtype, device):
    rows_, options = (rows, width), {"device": device, "dtype": dtype}
    x, residual, dy, dh = draws(rows_, rows_, rows_, rows_, **options)
    weight = draw(width, seed=9, **options)
    ours = [leaf(t) for t in (x, residual, weight)]
    y, h = rms_norm(ours[0], ours[2], EPS, ours[1])
    assert torch.equal(h, x + residual)
    sum_, theirs = wide_leaf(h), wide_leaf(weight)
    expected = oracle.rms_norm(sum_, theirs, EPS)
    close(y, expected, dtype)
    dx, dresidual, dweight = torch.autograd.grad((y, h), ours, (dy, dh))
    exact = torch.autograd.grad((expected, sum_), (sum_, theirs), (dy.double(), dh.double()))
    assert torch.equal(dx, dresidual)
    close(dx, exact[0], dtype)
    close(dweight, exact[1], dtype)


@ON_CPU_AND_GPU
def test_rms_norm_keeps_float32_weights_beside_bfloat16(device):
    x = draw(5, 96, device=device, dtype=torch.bfloat16)
    weight = 1 + draw(96, device=device, seed=1) / 1000  # Gemma's, which bfloat16 can't hold
    check(partial(rms_norm, eps=EPS), partial(oracle.rms_norm, eps=EPS), [x, weight],
          torch.bfloat16)  # fmt: skip


@ON_CPU_AND_GPU
def test_rms_norm_needs_not_all_gradients(device):
    x, residual, weight = (draw(4, 24, device=device, seed=i) for i in range(3))
    weight = weight[0]
    y, h = rms_norm(leaf(x), weight, EPS, residual)
    assert y.requires_grad and h.requires_grad
    inputs = [leaf(t) for t in (x, residual)]
    _, h = rms_norm(inputs[0], weight, EPS, inputs[1])
    for gradient in torch.autograd.grad(h.sum(), inputs):  # y is not used
        assert torch.equal(gradient, torch.ones_like(x))
    y, _ = rms_norm(inputs[0], weight, EPS, inputs[1])
    expected = wide_leaf(x + residual)
    exact = torch.autograd.grad(oracle.rms_norm(expected, weight.double(), EPS).sum(), expected)
    close(torch.autograd.grad(y.sum(), inputs[0])[0], exact[0], torch.float32)


@ON_CPU_AND_GPU
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "tokens,heads,head_dim", [(0, 2, 8), (1, 1, 2), (5, 3, 14), (37, 5, 64), (7, 40, 128)]
)
def test_apply_rope_matches_the_oracle(tokens, heads, head_dim, dtype, device):
    angles = draw(tokens, head_dim // 2, device=device, seed=1) * 100
    cos, sin = angles.cos(), angles.sin()
    x = draw(tokens, heads, head_dim, device=device, dtype=dtype)
    check(lambda x: apply_rope(x, cos, sin), lambda x: oracle.turned(x, cos.double(), sin.double()),
          [x], dtype)  # fmt: skip


def test_apply_rope_turns_as_hugging_face_does():
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    q, k = draw(11, 4, 16), draw(11, 2, 16, seed=1)
    angles = draw(11, 8, seed=2)
    cos, sin = angles.cos(), angles.sin()
    twice = [torch.cat([x, x], -1)[None] for x in (cos, sin)]
    expected = apply_rotary_pos_emb(q.transpose(0, 1)[None], k.transpose(0, 1)[None], *twice)
    for x, theirs in zip((q, k), expected, strict=True):
        torch.testing.assert_close(apply_rope(x, cos, sin), theirs[0].transpose(0, 1))


@ON_CPU_AND_GPU
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function,activation", GATES)
@pytest.mark.parametrize("rows,width", SHAPES)
def test_gates_match_the_oracle(rows, width, function, activation, dtype, device):
    gate, up = (draw(rows, width, device=device, dtype=dtype, seed=i) for i in range(2))
    check(function, partial(oracle.gated, activation=activation), [3 * gate, up], dtype)


def by_name(device="cpu", dtype=torch.float32):
    """Every op with arguments: tensors whose rows are [..., 48]."""
    x = partial(draw, device=device, dtype=dtype)
    weight, angles = x(48, seed=5), draw(12, 24, device=device, seed=6)
    return {
        "norm": (lambda a: rms_norm(a, weight, EPS), x(12, 5, 48)),
        "add_norm": (lambda a: torch.cat(rms_norm(a, weight, EPS, a)), x(12, 5, 48)),
        "rope": (lambda a: apply_rope(a, angles.cos(), angles.sin()), x(12, 5, 48)),
        "swiglu": (lambda a: swiglu(a, a), x(12, 5, 48)),
        "geglu": (lambda a: geglu(a, a), x(12, 5, 48)),
    }


@ON_CPU_AND_GPU
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", by_name())
def test_ops_take_strides_and_any_alignment(name, dtype, device):
    function, x = by_name(device, dtype)[name]
    expected = function(x)
    dx = torch.autograd.grad(function(a := leaf(x)), a, pull := torch.ones_like(expected))[0]
    wide = torch.full((12, 9, 48), torch.nan, device=device, dtype=dtype)
    room = torch.full((12 * 5 * 48 + 1,), torch.nan, device=device, dtype=dtype)
    ways = {
        "heads of a packed buffer": wide[:, 2:7],
        "rows of a wider matrix": x.new_zeros(12, 5, 100)[..., 48:96],
        "heads first": x.new_empty(5, 12, 48).transpose(0, 1),
        "channels first": x.new_empty(48, 12, 5).permute(1, 2, 0),
        "two bytes beyond a vector": room[1:].view(12, 5, 48),
    }
    for way, view in ways.items():
        view.copy_(x)
        actual = function(view)
        assert torch.equal(actual, expected), way
        assert actual.is_contiguous()
        strided = view.detach().requires_grad_()
        pulled = function(strided)
        assert torch.equal(torch.autograd.grad(pulled, strided, pull)[0], dx), way


@ON_CPU_AND_GPU
@pytest.mark.parametrize("name", by_name())
@pytest.mark.parametrize("shape", [(12, 1, 48), (1, 5, 48), (12, 5, 1)])
def test_ops_take_expanded_inputs(shape, name, device):
    function, x = by_name(device)[name]
    expanded = x[: shape[0], : shape[1], : shape[2]].expand(12, 5, 48)
    assert torch.equal(function(expanded), function(expanded.contiguous()))


@ON_CPU_AND_GPU
def test_gates_take_the_halves_of_one_product_in_any_number_of_dimensions(device):
    product = draw(3, 5, 2 * 56, device=device, dtype=torch.bfloat16)
    gate, up = product.chunk(2, -1)
    expected = swiglu(gate.contiguous(), up.contiguous())
    assert torch.equal(swiglu(gate, up), expected)
    leaf_ = leaf(product)
    swiglu(*leaf_.chunk(2, -1)).sum().backward()
    dense = [leaf(t) for t in (gate, up)]
    swiglu(*dense).sum().backward()
    assert torch.equal(leaf_.grad, torch.cat([t.grad for t in dense], -1))


def test_gradients_are_those_of_the_functions():
    weight, angles = draw(6, seed=1).double(), draw(3, 3, seed=2)
    x, y = (draw(3, 2, 6, seed=i).double().requires_grad_() for i in (3, 4))
    for function, inputs in [
        (lambda x, w: rms_norm(x, w, 0.1), (x, weight.requires_grad_())),
        (lambda x, y, w: rms_norm(x, w, 0.1, y), (x, y, weight)),
        (lambda x: apply_rope(x, angles.cos(), angles.sin()), (x,)),
        (swiglu, (x, y)),
        (geglu, (x, y)),
    ]:
        assert torch.autograd.gradcheck(function, inputs)


def test_ops_are_well_registered_and_trace_whole():
    x, weight = draw(3, 2, 8).requires_grad_(), draw(8, seed=1).requires_grad_()
    cos = draw(3, 4, seed=2)
    ops = torch.ops.r1core
    torch.library.opcheck(ops.rms_norm.default, (x, weight, EPS))
    torch.library.opcheck(ops.add_rms_norm.default, (x, x.detach(), weight, EPS))
    torch.library.opcheck(ops.apply_rope.default, (x, cos, cos, False))
    torch.library.opcheck(ops.gated.default, (x, x.detach(), "geglu"))
    for function, a in by_name().values():
        assert torch.equal(torch.compile(function, backend="eager", fullgraph=True)(a), function(a))


@pytest.mark.cuda
@pytest.mark.parametrize("name", by_name())
def test_torch_compile_runs_the_kernels(name):
    function, x = by_name("cuda", torch.bfloat16)[name]

    def run(function):
        y = function(a := leaf(x))
        return torch.autograd.grad(y.float().square().sum(), a)[0]

    torch.testing.assert_close(run(torch.compile(function, fullgraph=True)), run(function))


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", DTYPES)
def test_two_runs_give_the_same_bits(dtype):
    inputs = [draw(4099, 1536, device="cuda", dtype=dtype, seed=i) for i in range(2)]
    inputs.append(draw(1536, device="cuda", dtype=dtype, seed=2))

    def run():
        x, residual, weight = leaves = [leaf(t) for t in inputs]
        outputs = rms_norm(x, weight, EPS, residual)
        return [*outputs, *differentiate(outputs, leaves)]

    first = run()
    for _ in range(3):
        assert all(map(torch.equal, run(), first))


@pytest.mark.cuda
def test_rows_do_not_depend_on_those_beside():
    x, weight = draw(1000, 4096, device="cuda", dtype=torch.bfloat16), draw(4096, device="cuda")
    assert torch.equal(rms_norm(x, weight, EPS)[70:73], rms_norm(x[70:73], weight, EPS))


@pytest.mark.cuda
def test_more_than_two_to_the_31_elements():
    rows, width = 70_001, 32_768  # 2.3e9, 4.6 GB each
    if torch.cuda.mem_get_info()[0] < 40e9:
        pytest.skip("needs 40 GB of free GPU memory")
    x = torch.randn(rows, width, device="cuda", dtype=torch.bfloat16)
    weight = torch.randn(width, device="cuda", dtype=torch.bfloat16)
    angles = draw(rows, 64, device="cuda")
    heads = x.view(rows, 256, 128)
    last = slice(rows - 2, rows)
    turn = lambda a, at=slice(None): apply_rope(a, angles[at].cos(), angles[at].sin())  # noqa: E731
    for whole, part in (
        (lambda: swiglu(x, x), lambda: swiglu(x[last], x[last])),
        (lambda: rms_norm(x, weight, EPS), lambda: rms_norm(x[last], weight, EPS)),
        (lambda: turn(heads), lambda: turn(heads[last], last)),
    ):
        assert torch.equal(whole()[last], part())
    leaves = [x.requires_grad_(), weight]
    dy = torch.ones_like(x)
    dx = torch.autograd.grad(rms_norm(*leaves, EPS), x, dy)[0][last].clone()
    few = leaf(x[last])
    assert torch.equal(dx, torch.autograd.grad(rms_norm(few, weight, EPS), few, dy[last])[0])


@ON_CPU_AND_GPU
@pytest.mark.parametrize("shape", [(2, 0, 8), (0, 2, 8), (2, 0, 3, 8)])
def test_rms_norm_takes_no_rows_at_all(shape, device):
    x, residual = (leaf(draw(*shape, device=device)) for _ in range(2))
    weight = leaf(draw(8, device=device))
    y, h = rms_norm(x, weight, EPS, residual)
    assert y.shape == h.shape == shape
    y.sum().backward()
    assert x.grad.shape == shape and weight.grad.count_nonzero() == 0


X, W, COS = torch.zeros(2, 3, 4), torch.ones(4), torch.zeros(2, 2)


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda: rms_norm(torch.zeros(2, 0), W, EPS), r"rms_norm: x must be \[..., width >= 1\]"),
        (lambda: rms_norm(X.half(), W, EPS), "x must be float32, bfloat16 or float64; got float16"),
        (lambda: rms_norm(X, W[:3], EPS), r"weight must be \[width = 4\]; got \[3\]"),
        (lambda: rms_norm(X, W.bfloat16(), EPS), "must be float32 or x's dtype, float32; got bf"),
        (lambda: rms_norm(X.double(), W.bfloat16(), EPS), "x's dtype, float64; got bf"),
        (lambda: rms_norm(X, W, 0.0), "eps must be finite and > 0; got 0"),
        (lambda: rms_norm(X, W, EPS, X[0]), r"residual must have the shape of x, \[2, 3, 4\]; got"),
        (lambda: rms_norm(X, W, EPS, X.double()), "residual must be float32 as x is; got float64"),
        (lambda: apply_rope(X[0], COS, COS), r"apply_rope: x must be \[tokens, heads, head_dim >="),
        (lambda: apply_rope(X[..., :3], COS, COS), r"head_dim >= 2, even\]; got \[2, 3, 3\]"),
        (lambda: apply_rope(X, COS[:1], COS), r"cos must be \[tokens = 2, head_dim / 2 = 2\]; got"),
        (lambda: apply_rope(X, COS, COS.bfloat16()), "sin must be float32; got bfloat16"),
        (lambda: swiglu(X, X[0]), r"swiglu: up must have the shape of gate, \[2, 3, 4\]; got"),
        (lambda: geglu(X, X.bfloat16()), "geglu: up must be float32 as gate is; got bfloat16"),
        (lambda: swiglu(torch.tensor(1.0), X), r"gate must be \[..., width\]; got \[\]"),
    ],
)
def test_ops_reject(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.cuda
def test_ops_reject_other_devices_and_float64_on_a_gpu():
    with pytest.raises(ValueError, match="weight must be on cuda:0 as the others are; got cpu"):
        rms_norm(X.cuda(), W, EPS)
    with pytest.raises(ValueError, match="gate must be float32 or bfloat16 on a GPU; got float64"):
        swiglu(X.double().cuda(), X.double().cuda())
