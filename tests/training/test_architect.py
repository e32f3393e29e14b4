"""The gradient one step ahead: against differences, autograd through the step, and by hand."""

import pytest

torch = pytest.importorskip("torch")

from bpe_bench.training._architect import _architecture_gradient  # noqa: E402

STEP = 0.3
SETTINGS = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "weight decay": {"weight_decay": 0.1},
    "both": {"momentum": 0.9, "weight_decay": 0.1},
}
each = pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Tiny:
    """Two layers of weights, between them a mixture of three functions; all in 64 bits."""

    def __init__(self, seed=0):
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.weights = [draw(4, 6).requires_grad_(), draw(6, 3).requires_grad_()]
        self.velocities = [draw(4, 6), draw(6, 3)]
        self.alphas = draw(6, 3).requires_grad_()
        self.batches = [
            (draw(20, 4), torch.randint(3, (20,), generator=generator)) for _ in range(2)
        ]

    def loss(self, which, weights, alphas):
        inputs, labels = self.batches[which]
        hidden = inputs @ weights[0]
        kinds = torch.stack([hidden.tanh(), hidden.sin(), hidden], dim=-1)
        logits = (kinds * alphas.softmax(dim=-1)).sum(dim=-1) @ weights[1]
        return torch.nn.functional.cross_entropy(logits, labels)

    def ahead(self, alphas, momentum=0.0, weight_decay=0.0, create_graph=False):
        """The weights after a step, and the loss that they then have."""
        gradients = torch.autograd.grad(
            self.loss(0, self.weights, alphas), self.weights, create_graph=create_graph
        )
        moved = [
            w - STEP * (momentum * v + g + weight_decay * w)
            for w, v, g in zip(self.weights, self.velocities, gradients, strict=True)
        ]
        return moved, self.loss(1, moved, alphas)

    def by_autograd(self, **setting):
        _, loss = self.ahead(self.alphas, create_graph=True, **setting)
        return torch.autograd.grad(loss, self.alphas)[0]

    def by_differences(self, **setting):
        gradient, width = torch.zeros_like(self.alphas), 1e-5
        for place in range(self.alphas.numel()):
            offset = torch.zeros_like(self.alphas)
            offset.view(-1)[place] = width
            high, low = (
                self.ahead((self.alphas + sign * offset).detach(), **setting)[1].item()
                for sign in (1, -1)
            )
            gradient.view(-1)[place] = (high - low) / (2 * width)
        return gradient

    def found(self, step=STEP, **setting):
        return _architecture_gradient(
            self.weights,
            self.alphas,
            lambda: self.loss(0, self.weights, self.alphas),
            lambda: self.loss(1, self.weights, self.alphas),
            step=step,
            velocities=self.velocities if setting.get("momentum") else None,
            **setting,
        )


def error(found, wanted):
    return float((found - wanted).norm() / wanted.norm())


@each
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_gradient_of_the_loss_after_the_step(seed, setting):
    tiny = Tiny(seed)
    differences, autograd = tiny.by_differences(**setting), tiny.by_autograd(**setting)
    assert error(differences, autograd) < 1e-6  # or the test is wrong
    found = tiny.found(**setting)
    assert error(found, autograd) < 1e-3
    assert error(found, differences) < 1e-3
    # The second order is not just there: without it, or without the look ahead, the test fails.
    assert error(tiny.found(step=0), autograd) > 0.01


@each
def test_the_published_formula_does_not_pass(setting):
    tiny = Tiny()
    wanted = tiny.by_autograd(**setting)
    moved, loss = tiny.ahead(tiny.alphas, **setting)
    moved = [weight.detach().requires_grad_() for weight in moved]
    after = tiny.loss(1, moved, tiny.alphas)
    assert after.item() == loss.item()
    direct, *direction = torch.autograd.grad(after, [tiny.alphas, *moved])
    epsilon = 0.01 / torch.cat([part.flatten() for part in direction]).norm()
    plus, minus = (
        torch.autograd.grad(
            tiny.loss(
                0,
                [w + sign * epsilon * d for w, d in zip(tiny.weights, direction, strict=True)],
                tiny.alphas,
            ),
            tiny.alphas,
        )[0]
        for sign in (1, -1)
    )
    right = direct - STEP * ((plus - minus) / (2.0 * epsilon))
    assert error(right, wanted) < 1e-3
    torch.testing.assert_close(tiny.found(**setting), right)
    published = direct - STEP * ((plus - minus) / 2.0 * epsilon)
    assert error(published, wanted) > 0.01
    # It is hardly more than no second order at all.
    assert error(published, direct) < 1e-3
    wrong_sign = direct + STEP * ((plus - minus) / (2.0 * epsilon))
    assert error(wrong_sign, wanted) > 0.01


def test_by_hand():
    # L_train = (w - a)^2 / 2 and L_val = w^3 / 3 + a w: w' = w - s (w - a), and
    # d/da L_val(w', a) = w' + (w'^2 + a) s. All differences are exact.
    w = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    a = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    found = _architecture_gradient(
        [w], a, lambda: (w - a) ** 2 / 2, lambda: w**3 / 3 + a * w, step=0.1
    )
    ahead = 2.0 - 0.1 * 1.5
    assert found.item() == pytest.approx(ahead + (ahead**2 + 0.5) * 0.1, rel=1e-9)


def test_first_order_is_the_plain_gradient():
    tiny = Tiny()
    (wanted,) = torch.autograd.grad(tiny.loss(1, tiny.weights, tiny.alphas), tiny.alphas)

    def never():
        raise AssertionError

    found = _architecture_gradient(
        tiny.weights,
        tiny.alphas,
        never,
        lambda: tiny.loss(1, tiny.weights, tiny.alphas),
        step=0.0,
        momentum=0.9,
        weight_decay=0.1,
    )
    assert torch.equal(found, wanted)


def bits(tensors):
    return [tensor.detach().numpy().tobytes() for tensor in tensors]


@each
@pytest.mark.parametrize("kind", [torch.float64, torch.float32])
def test_nothing_is_left_behind(setting, kind):
    tiny = Tiny()
    tiny.weights = [w.detach().to(kind).requires_grad_() for w in tiny.weights]
    tiny.velocities = [v.to(kind) for v in tiny.velocities]
    tiny.alphas = tiny.alphas.detach().to(kind).requires_grad_()
    tiny.batches = [(inputs.to(kind), labels) for inputs, labels in tiny.batches]
    held = [*tiny.weights, tiny.alphas, *tiny.velocities]
    before = bits(held)
    found = tiny.found(**setting)
    assert found.dtype == kind
    assert not found.requires_grad
    assert bits(held) == before
    assert all(tensor.grad is None for tensor in held)


@pytest.mark.parametrize("failing", range(1, 4), ids=["ahead", "plus", "minus"])
def test_the_weights_are_restored_if_a_loss_fails(failing):
    tiny, calls = Tiny(), []
    before = bits(tiny.weights)

    def training_loss():
        calls.append(bits(tiny.weights))
        if len(calls) == failing:
            raise RuntimeError("out of memory")
        return tiny.loss(0, tiny.weights, tiny.alphas)

    with pytest.raises(RuntimeError, match="out of memory"):
        _architecture_gradient(
            tiny.weights,
            tiny.alphas,
            training_loss,
            lambda: tiny.loss(1, tiny.weights, tiny.alphas),
            step=STEP,
        )
    assert bits(tiny.weights) == before
    assert len(calls) == failing
    assert len(set(map(tuple, calls))) == failing  # so there was something to restore


def test_weights_that_do_not_matter_leave_the_plain_gradient():
    tiny = Tiny()
    found = _architecture_gradient(
        tiny.weights,
        tiny.alphas,
        lambda: tiny.loss(0, tiny.weights, tiny.alphas),
        lambda: tiny.alphas.square().sum(),
        step=STEP,
    )
    torch.testing.assert_close(found, 2 * tiny.alphas.detach())
