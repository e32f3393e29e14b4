"""The gradient of DARTS' bilevel problem, for any losses (Liu et al., ICLR 2019)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

_PERTURBATION = 0.01
"""Length of the step through the weights that the finite difference takes, as published."""


def _architecture_gradient(
    weights: Sequence[Tensor],
    alphas: Tensor,
    training_loss: Callable[[], Tensor],
    validation_loss: Callable[[], Tensor],
    *,
    step: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    velocities: Sequence[Tensor] | None = None,
) -> Tensor:
    """Return the gradient of L_val(w'(α), α) by α, one step of the weights ahead.

    The weights after a step of SGD with momentum μ, velocities v, weight decay λ and
    learning rate ξ are (gradient clipping left out, as published)::

        w'(α) = w - ξ (μ v + ∇w L_train(w, α) + λ w)

    and so, by the chain rule (Liu et al., ICLR 2019, equations 6 to 8)::

        ∇α L_val(w'(α), α) = ∇α L_val(w', α) - ξ ∇²αw L_train(w, α) g,   g = ∇w' L_val(w', α)

    of which the product is taken by a central difference along g::

        ∇²αw L_train(w, α) g ≈ (∇α L_train(w + εg, α) - ∇α L_train(w - εg, α)) / (2ε)

    with ε = 0.01 / ‖g‖. The code of Zheng et al., CVPR 2020, as others that go back to the same
    source, has ``(p - n) / 2. * eps`` for it, which multiplies by ε and makes the second-order
    term vanish.

    Parameters
    ----------
    weights
        w, leaves that require a gradient. They are changed during the call and restored bit for
        bit, also if a loss raises an error.
    alphas
        α, one tensor of any shape, likewise a leaf; not changed.
    training_loss, validation_loss
        Return L_train and L_val, scalars, at the present values of w and α.
    step
        ξ. With 0 the gradient is of first order, and ``training_loss`` is never called.
    momentum, weight_decay
        μ and λ.
    velocities
        v, shaped as the weights; None before their first step.

    Returns
    -------
    tensor
        Shaped as ``alphas``.

    Examples
    --------
    L_train = (w - α)²/2 and L_val = w²/2 give w' = w - ξ(w - α), hence the gradient ξw':

    >>> w, alpha = (torch.tensor(x, requires_grad=True) for x in (3.0, 1.0))
    >>> gradient = _architecture_gradient(
    ...     [w], alpha, lambda: (w - alpha) ** 2 / 2, lambda: w**2 / 2 + 0 * alpha, step=0.5
    ... )
    >>> round(gradient.item(), 4), w.item()
    (1.0, 3.0)
    """
    if not step:
        return _gradients(validation_loss(), [alphas])[0]
    before = [weight.detach().clone() for weight in weights]
    try:
        ahead = _gradients(training_loss(), weights)
        with torch.no_grad():
            torch._foreach_add_(ahead, before, alpha=weight_decay)
            if velocities is not None:
                torch._foreach_add_(ahead, list(velocities), alpha=momentum)
            torch._foreach_add_(list(weights), ahead, alpha=-step)
        direct, *direction = _gradients(validation_loss(), [alphas, *weights])
        length = nn.utils.get_total_norm(direction)
        # Of a gradient of zero any step will do: the difference is zero.
        epsilon = _PERTURBATION / length.clamp_min(torch.finfo(length.dtype).tiny)
        offset = [part * epsilon for part in direction]
        sides = []
        for sign in (1, -1):
            with torch.no_grad():
                torch._foreach_copy_(list(weights), before)
                torch._foreach_add_(list(weights), offset, alpha=sign)
            sides.append(_gradients(training_loss(), [alphas])[0])
    finally:
        with torch.no_grad():
            torch._foreach_copy_(list(weights), before)
    return direct - step * (sides[0] - sides[1]) / (2 * epsilon)


def _gradients(loss: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradient of a loss by each of the inputs, zeros by those that it ignores."""
    return list(torch.autograd.grad(loss, inputs, materialize_grads=True))
