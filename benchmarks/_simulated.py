"""Populations with known rank correlations, and what their samples show, for ``intervals.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import ndtr

FloatArray = npt.NDArray[np.float64]

STEPS = {"ties": 0.5, "coarse": 2.0}
"""Rounding of budget and reference in standard deviations; ``coarse`` leaves 3 values."""


def population(statistic: str, latent: float, ties: str, copula: str) -> float:
    """Return the value of a statistic in the population: what n → ∞ would show.

    Without ties: τ = 2/π · arcsin(r) for both copulas; ρ = 6/π · E arcsin(r S₁ /
    √((S₁+S₂)(S₁+S₃))) with the mixing variances S of three draws (1 if normal: Kruskal,
    1958). With ties, by integration over the cells that rounding makes.
    """
    if ties != "none":
        return _rounded(statistic, latent, STEPS[ties])
    if statistic == "kendall":
        return 2 / math.pi * math.asin(latent)
    if copula == "normal":
        return 6 / math.pi * math.asin(latent / 2)
    # S = 1/E with E exponential, so S₁ / (S₁ + S₂) = E₂ / (E₁ + E₂); midpoints of E's quantiles.
    e = -np.log((np.arange(200) + 0.5) / 200)
    share = np.sqrt(e / (e[:, None] + e))
    mean = np.mean(np.arcsin(latent * share[:, :, None] * share[:, None, :]))
    return 6 / math.pi * float(mean)


def _rounded(statistic: str, r: float, step: float) -> float:
    """Return the statistic of two rounded normals, from the chance of every pair of cells."""
    edges = step * (np.arange(-18, 20) - 0.5)
    at, weight = np.polynomial.legendre.leggauss(40)
    y = (edges[1:, None] / 2 + edges[:-1, None] / 2 + step / 2 * at).ravel()
    weights = np.tile(step / 2 * weight, edges.size - 1) * stats.norm.pdf(y)
    below = ndtr((edges[:, None] - r * y) / math.sqrt(1 - r * r))  # P(X < edge | y)
    joint = (np.diff(below, axis=0) * weights).reshape(edges.size - 1, -1, at.size).sum(axis=2)
    chances = joint.sum(axis=0)
    if statistic == "spearman":
        rank = np.cumsum(chances) - chances / 2 - 0.5
        return float(rank @ joint @ rank / (chances @ rank**2))
    order = np.sign(np.subtract.outer(np.arange(chances.size), np.arange(chances.size)))
    return float(np.sum(joint * (order @ joint @ order.T)) / (1 - chances @ chances))


def draw(
    latent: Sequence[float],
    copula: str,
    ties: str,
    shape: tuple[int, int],
    rng: np.random.Generator,
) -> FloatArray:
    """Return the reference and the budgets of samples of a shape (samples, n)."""
    k = len(latent)
    matrix = np.eye(2 if k == 1 else 3)
    matrix[np.triu_indices(matrix.shape[0], 1)] = latent
    drawn = rng.standard_normal((*shape, matrix.shape[0])) @ np.linalg.cholesky(matrix.T).T
    if copula == "t2":
        drawn /= np.sqrt(rng.exponential(size=(*shape, 1)))
    drawn = np.moveaxis(drawn, 2, 0)
    if ties != "none":
        drawn = np.round(drawn / STEPS[ties])
    return drawn


def signs_of(x: FloatArray) -> npt.NDArray[np.float32]:
    """Return the signs of all differences in each sample, shape (samples, n, n)."""
    signs: npt.NDArray[np.float32] = np.sign(x[:, :, None] - x[:, None, :]).astype(np.float32)
    return signs


def correlated(
    of_x: npt.NDArray[np.float32], of_y: npt.NDArray[np.float32], statistic: str
) -> tuple[FloatArray, FloatArray]:
    """Return the statistic (samples,) and its influence (samples, n) from signs of differences.

    Spearman's ρ is Pearson's correlation of the row sums of the signs, Kendall's τ_b that of
    the signs. The influence is the derivative with respect to an architecture's weight.
    """
    n = of_x.shape[1]
    if statistic == "kendall":
        xy, xx, yy = (
            p.sum(axis=2, dtype=np.float64) for p in (of_x * of_y, np.abs(of_x), np.abs(of_y))
        )
        parts = [2 * (p - p.mean(axis=1, keepdims=True)) for p in (xy, xx, yy)]
    else:
        u, v = (s.mean(axis=2, dtype=np.float64) for s in (of_x, of_y))

        def through(signs: npt.NDArray[np.float32], w: FloatArray) -> FloatArray:
            product = np.matmul(w[:, None, :].astype(np.float32), signs)[:, 0, :]
            return np.asarray(product, dtype=np.float64) / n

        xy, xx, yy = u * v, u * u, v * v
        shifted = [
            through(of_x, v) + through(of_y, u),
            2 * through(of_x, u),
            2 * through(of_y, v),
        ]
        parts = [
            p - p.mean(axis=1, keepdims=True) + s
            for p, s in zip((xy, xx, yy), shifted, strict=True)
        ]
    a, b, c = (p.mean(axis=1, keepdims=True) for p in (xy, xx, yy))
    r = a / np.sqrt(b * c)
    influence = parts[0] / np.sqrt(b * c) - r / 2 * (parts[1] / b + parts[2] / c)
    return r[:, 0], influence - influence.mean(axis=1, keepdims=True)
