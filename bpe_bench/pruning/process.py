"""Correlations of settings as a smooth function of their hyper-parameters: a Gaussian process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from ..inference import FloatArray
from ..randomness import settled

_BURN_IN, _SWEEPS, _THIN = 100, 300, 5
"""Sweeps of the Metropolis sampler: first, in all, and between two draws that are kept."""
_STEP = 1.2
"""Size of a proposed step, in standard deviations of the prior: about half are accepted."""
_LENGTH, _DEVIATION, _NUGGET = (1.5, 1.0), (0.2, 0.7), (0.02, 0.7)
"""Median and standard deviation of the logarithm of what the priors allow: length scales in
ranges of a hyper-parameter, and correlations."""
_LEVEL_VARIANCE = 1.0
"""Variance of the level of all correlations: it may lie anywhere."""
_QUANTILES = special.ndtri((np.arange(200) + 0.5) / 200)


@dataclass(frozen=True)
class Change:
    """Distribution of a change of correlation, as a mixture of normal distributions."""

    means: FloatArray
    deviations: FloatArray
    """Shape (T,) each, a normal distribution for each draw of the kernel."""

    @property
    def mean(self) -> float:
        """Its mean."""
        return float(self.means.mean())

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the central interval of a probability."""
        points = self.means[:, None] + self.deviations[:, None] * _QUANTILES
        tail = (1 - confidence) / 2
        low, high = np.quantile(points, [tail, 1 - tail])
        return float(low), float(high)

    def above(self, bound: float) -> float:
        """Return the probability that the change is above a bound."""
        spread = np.maximum(self.deviations, 1e-12)
        return float(special.ndtr((self.means - bound) / spread).mean())


@dataclass(frozen=True)
class SettingProcess:
    """A Gaussian process over settings, given the correlations of S of them.

    The correlations are y = c + f(x) + e + noise. f has a squared-exponential kernel with a
    length scale per group of hyper-parameters; e is what a setting has of its own (nugget); the
    noise has the known covariance of correlations over the same architectures. The kernel is not
    fixed at its best fit: its parameters are drawn from their posterior, and whatever is asked
    is averaged over the draws (Rasmussen & Williams, 2006, sections 2.2, 2.7 and 5.2).
    """

    points: FloatArray
    """Shape (S, d): settings, each hyper-parameter from 0 to 1 over the settings."""
    groups: tuple[tuple[int, ...], ...]
    """Columns of each of the G groups."""
    values: FloatArray
    """Shape (S,): correlations."""
    noise: FloatArray
    """Shape (S, S): their covariance."""
    draws: FloatArray
    """Shape (T, G + 2): logarithms of length scales, of f's standard deviation, of the nugget."""

    @classmethod
    def fit(
        cls,
        points: FloatArray,
        groups: Sequence[Sequence[int]],
        values: FloatArray,
        noise: FloatArray,
        rng: np.random.Generator,
    ) -> SettingProcess:
        """Draw kernels from their posterior, by Metropolis steps of one parameter at a time.

        Parameters
        ----------
        points, groups, values, noise
            As the fields.
        rng
            Draws the steps.
        """
        found = cls(points, tuple(map(tuple, groups)), values, noise, np.empty((0, 0)))
        return cls(found.points, found.groups, values, noise, found._sampled(rng))

    def change(self, before: FloatArray, after: FloatArray) -> Change:
        """Return the mean change of f from settings to others.

        Parameters
        ----------
        before, after
            Shape (M, d) each, in the scale of `points`.
        """
        means, deviations = [], []
        apart = [self._apart(x, z) for x, z in ((after, after), (after, before), (before, before))]
        to_known = self._apart(after, self.points), self._apart(before, self.points)
        for draw in self.draws:
            kernels = [_kernel(d, draw).mean() for d in apart]
            gain = (_kernel(to_known[0], draw) - _kernel(to_known[1], draw)).mean(axis=0)
            solved = np.linalg.solve(self._covariance(draw), np.column_stack([self.values, gain]))
            means.append(gain @ solved[:, 0])
            variance = kernels[0] - 2 * kernels[1] + kernels[2] - gain @ solved[:, 1]
            deviations.append(np.sqrt(max(variance, 0.0)))
        return Change(settled(np.array(means)), settled(np.array(deviations)))

    def left_out(self) -> Change:
        """Return the prediction of each setting from all others, shape (T, S) in both fields.

        With the kernels of all settings (Rasmussen & Williams, 2006, section 5.4.2).
        """
        inverses = np.array([np.linalg.inv(self._covariance(draw)) for draw in self.draws])
        diagonals = np.diagonal(inverses, axis1=1, axis2=2)
        return Change(self.values - inverses @ self.values / diagonals, diagonals**-0.5)

    def _sampled(self, rng: np.random.Generator) -> FloatArray:
        scales = [_LENGTH] * len(self.groups) + [_DEVIATION, _NUGGET]
        centre = np.log([median for median, _ in scales])
        spread = np.array([deviation for _, deviation in scales])
        now, kept = centre.copy(), []
        height = self._log_posterior(now, centre, spread)
        for sweep in range(_SWEEPS):
            for place in rng.permutation(len(now)):
                proposed = now.copy()
                proposed[place] += rng.normal(0.0, _STEP * spread[place])
                there = self._log_posterior(proposed, centre, spread)
                if np.log(rng.random()) < there - height:
                    now, height = proposed, there
            if sweep >= _BURN_IN and sweep % _THIN == 0:
                kept.append(now)
        return np.array(kept)

    def _log_posterior(self, draw: FloatArray, centre: FloatArray, spread: FloatArray) -> float:
        try:
            root = np.linalg.cholesky(self._covariance(draw))
        except np.linalg.LinAlgError:  # the settings are the same to rounding under this kernel
            return -np.inf
        white = np.linalg.solve(root, self.values)
        prior = -0.5 * (((draw - centre) / spread) ** 2).sum()
        return float(prior - 0.5 * white @ white - np.log(np.diag(root)).sum())

    def _covariance(self, draw: FloatArray) -> FloatArray:
        own = float(np.exp(2 * draw[-1])) * np.eye(len(self.values))
        found: FloatArray = _kernel(self._apart_known, draw) + _LEVEL_VARIANCE + own + self.noise
        return found

    def _apart(self, x: FloatArray, z: FloatArray) -> FloatArray:
        """Return squared distances by group, (G, N, M): means over the columns of a group."""
        square = (x[:, None, :] - z[None, :, :]) ** 2
        return np.array([square[..., list(group)].mean(axis=-1) for group in self.groups])

    @cached_property
    def _apart_known(self) -> FloatArray:
        return self._apart(self.points, self.points)


def _kernel(apart: FloatArray, draw: FloatArray) -> FloatArray:
    squares = np.tensordot(np.exp(-2 * draw[:-2]), apart, axes=1)
    found: FloatArray = np.exp(2 * draw[-2] - 0.5 * squares)
    return found
