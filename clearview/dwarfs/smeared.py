"""JFlow (arXiv:2505.00763): a spherical galaxy learnt from x, y and v_z alone, by comparing smeared stars with draws."""

from dataclasses import dataclass, field

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jax.scipy.special import i0e, logsumexp
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.stats import chi

from clearview import checks
from clearview.dwarfs.spherical import Anisotropy, SphericalCNF, SphericalConfig, VelocityEllipsoid
from clearview.flows import FitConfig
from clearview.units import G

SMEARING = ("averaged", "plain")

_STRATA = 4096
_QUANTILES = chi(3).ppf((np.arange(_STRATA) + 0.5) / _STRATA).astype(np.float32)
"""Of the radius of a standard normal in 3-D."""


@dataclass(frozen=True)
class JFlowConfig:
    """How `fit_jflow` learns.

    Attributes:
        tracers: of n(r).
        motions: of sigma_r(r).
        anisotropy: beta(r), given.
        smearing: "plain", the paper's sum over kernels in x, y and v_z; or "averaged", the same sum with each draw
            replaced by its mean over what symmetry leaves open, its azimuth on the sky and its velocity at that place:
            far fewer draws for the same noise, and no smearing of velocities.
        bandwidth: of the kernel at the start and at the end of training, geometric in between; in units of the
            median distance from the centre on the sky and, "plain", of the velocity dispersion.
        radii, cosines: of draws at each step, fresh; their product is N_G.
        kernels: N_K, smeared copies of each star.
        members: trained side by side, each of a bootstrap of the stars if there are several.
        training: of all.
        seed: of all random numbers.

    Raises:
        ValueError: for no such smearing, or a number out of bounds.
    """

    tracers: SphericalConfig = field(default_factory=SphericalConfig)
    motions: SphericalConfig = field(default_factory=lambda: SphericalConfig(16))
    anisotropy: Anisotropy = field(default_factory=Anisotropy)
    smearing: str = "averaged"
    bandwidth: tuple[float, ...] = (0.5, 0.1)
    radii: int = 128
    cosines: int = 8
    kernels: int = 1
    members: int = 4
    training: FitConfig = field(
        default_factory=lambda: FitConfig(
            epochs=1, min_steps=1200, batch_size=256, learning_rate=1e-2, validation=0.0, average=0.1
        )
    )
    seed: int = 0

    def __post_init__(self):
        checks.parts(self)
        if self.smearing not in SMEARING:
            raise ValueError(
                f"Expected smearing among {', '.join(SMEARING)}, got {checks.shown(self.smearing)}; choose one."
            )
        ends = tuple(self.bandwidth) if isinstance(self.bandwidth, tuple | list) else ()
        if len(ends) != 2:
            raise ValueError(
                f"Expected bandwidth as that at the start and at the end, got {checks.shown(self.bandwidth)}; give two."
            )
        ends = tuple(float(checks.number("bandwidth", end, checks.ABOVE_0, 100)) for end in ends)
        object.__setattr__(self, "bandwidth", ends)
        checks.numbers(self, whole=True, radii=(8, 10**6), cosines=(1, 10**6), kernels=(1, 1000), members=(1, 1000))
        checks.numbers(self, whole=True, seed=checks.SEEDS)


class JFlow(eqx.Module):
    """A spherical galaxy: n(r) and p(v | r), and the mass that holds it together.

    Attributes:
        tracers: n(r), kpc.
        motions: the Gaussian of the velocities, km/s.
        config: how it learns.
    """

    tracers: SphericalCNF
    motions: VelocityEllipsoid
    config: JFlowConfig = eqx.field(static=True)

    def __init__(self, half_light: float, dispersion: float, config: JFlowConfig | None = None, *, key: PRNGKeyArray):
        self.config = config or JFlowConfig()
        scale = half_light / 1.1774  # the median distance of a normal in 2-D
        self.tracers = SphericalCNF(scale, self.config.tracers, key=key)
        self.motions = VelocityEllipsoid(
            half_light, dispersion, self.config.anisotropy, self.config.motions, key=key
        )

    @eqx.filter_jit
    def sample(self, key: PRNGKeyArray, count: int) -> Float[Array, "count 6"]:
        """Stars x, y, z [kpc], vx, vy, vz [km/s]."""
        x = self.tracers.sample(random.fold_in(key, 0), (count,))
        return jnp.concatenate([x, self.motions.draw(random.fold_in(key, 1), x, self.tracers.slope)], axis=1)

    def loss(self, key: PRNGKeyArray, x, y, v, error, weight, *, done=1.0) -> Float[Array, ""]:
        """The smeared negative log likelihood of stars, per star.

        -1/(N N_K) sum_a sum_b ln [1/N_G sum_c K_h(w_a + eps_b - w_c)], w = (x, y, v_z): eps_b is drawn from the very
        kernel, so that both sides are smeared alike and the least is at the truth. Errors of the velocities
        smear the stars already, so they widen only the kernel.

        Args:
            key: of the draws.
            x, y: (N,) kpc.
            v, error: (N,) km/s.
            weight: (N,) probabilities of membership.
            done: share of the training behind, for the bandwidth.
        """
        begin, end = self.config.bandwidth
        width = begin ** (1 - done) * end**done
        log_p = jax.vmap(lambda key: self._smeared(key, width, x, y, v, error))(random.split(key, self.config.kernels))
        return -(log_p.mean(0) * weight).sum() / jnp.maximum(weight.sum(), 1e-6)

    def _smeared(self, key, width, x, y, v, error):
        """(N,) logarithm of the draws' smeared density at smeared stars."""
        h = width * self.motions.scale
        a, b, c, d = random.split(key, 4)
        x, y = x + h * random.normal(a, x.shape), y + h * random.normal(b, y.shape)
        if self.config.smearing == "plain":
            drawn = self.sample(c, self.config.radii * self.config.cosines)
            h_v = width * self.motions.spread
            v, h_v2 = v + h_v * random.normal(d, v.shape), h_v**2 + error**2
            far = ((x[:, None] - drawn[:, 0]) ** 2 + (y[:, None] - drawn[:, 1]) ** 2) / h**2
            far += (v[:, None] - drawn[:, 5]) ** 2 / h_v2[:, None]
            log_k = -0.5 * far - jnp.log(2 * jnp.pi * h**2) - 0.5 * jnp.log(2 * jnp.pi * h_v2)[:, None]
            return logsumexp(log_k, axis=1) - jnp.log(len(drawn))
        R, variance = self._places(c)
        seen = jnp.hypot(x, y)[:, None]
        # The mean of a 2-D normal over the azimuth of its centre.
        log_k = -0.5 * ((seen - R) / h) ** 2 + jnp.log(i0e(seen * R / h**2)) - jnp.log(2 * jnp.pi * h**2)
        variance = variance + error[:, None] ** 2
        log_k += -0.5 * (v[:, None] ** 2 / variance + jnp.log(2 * jnp.pi * variance))
        return logsumexp(log_k, axis=1) - jnp.log(len(R))

    def _places(self, key):
        """Distances on the sky of draws of n, stratified, and the variance of v_z at each place."""
        radii, cosines = self.config.radii, self.config.cosines
        strata = (jnp.arange(radii) + random.uniform(random.fold_in(key, 0), (radii,))) / radii
        z = jnp.interp(strata * _STRATA - 0.5, jnp.arange(_STRATA), _QUANTILES)
        r = jax.vmap(self.tracers.radius)(z)
        mu = (jnp.arange(cosines) + random.uniform(random.fold_in(key, 1), (radii, cosines))) / cosines
        sine2 = 1 - mu**2
        radial = jnp.exp(2 * jax.vmap(self.motions.log_sigma, (0, None))(r, self.tracers.slope))
        variance = radial[:, None] * (1 - self.motions.anisotropy(r)[:, None] * sine2)
        return (r[:, None] * jnp.sqrt(sine2)).ravel(), variance.ravel()

    @eqx.filter_jit
    def profiles(self, r: Float[Array, " N"]) -> dict[str, Float[Array, " N"]]:
        """Of radii [kpc]: n [kpc^-3], sigma_r [km/s], and by Jeans' equation M [Msun] and rho [Msun/kpc^3].

        d(n sigma^2)/dr + 2 beta n sigma^2/r = -n G M/r^2 and rho = dM/dr/(4 pi r^2), both by automatic
        differentiation; where the stars do not say otherwise they may come out negative.
        """
        slope = self.tracers.slope

        def log_pressure(s):
            return self.tracers._log_density(jnp.exp(s)) + 2 * self.motions.log_sigma(jnp.exp(s), slope)

        def mass(s):
            r = jnp.exp(s)
            sigma2 = jnp.exp(2 * self.motions.log_sigma(r, slope))
            return -r * sigma2 / G * (jax.grad(log_pressure)(s) + 2 * self.motions.anisotropy(r))

        def one(r):
            s = jnp.log(r)
            inside, rise = jax.value_and_grad(mass)(s)
            return {
                "n": jnp.exp(self.tracers._log_density(r)), "sigma_r": jnp.exp(self.motions.log_sigma(r, slope)),
                "mass": inside, "rho": rise / (4 * jnp.pi * r**3),
            }  # fmt: skip

        return jax.vmap(one)(r)
