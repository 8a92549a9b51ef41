"""Spherical profiles: mass is the integral of density, and the factors along a line of sight are theirs."""

import numpy as np
import pytest
from scipy import integrate

from clearview.halos import (
    NFW,
    PER_D,
    Burkert,
    CoreNFW,
    Einasto,
    GeneralisedNFW,
    Soliton,
    Zhao,
    along_sight,
    d_factor,
    j_factor,
)
from clearview.units import G

PROFILES = [
    NFW(6e7, 1.0), GeneralisedNFW(6e7, 1.0, 0.4), Einasto(6e7, 1.0, 0.2), Burkert(1e8, 0.5), Soliton(1e8, 0.6),
    Zhao(4e8, 1.0, 1.0, 3.0, 0.0), Zhao(1.0, 0.25, 2.0, 5.0, 0.1), CoreNFW(6e7, 1.0, 0.4, 1.0),
    CoreNFW(6e7, 1.0, 0.4, 0.5),
]  # fmt: skip


@pytest.mark.parametrize("profile", PROFILES, ids=lambda p: type(p).__name__)
def test_mass_is_the_integral_of_density(profile):
    for r in (0.03, 1.0, 40.0):
        inside = integrate.quad(
            lambda t: 4 * np.pi * np.exp(3 * t) * float(profile.density(np.exp(t))),
            np.log(r) - 25,
            np.log(r),
            limit=400,
        )[0]
        assert profile.mass(r) == pytest.approx(inside, rel=1e-6)
        assert profile.circular_velocity(r) == pytest.approx(np.sqrt(G * inside / r), rel=1e-6)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda p: type(p).__name__)
def test_slopes(profile):
    r, step = np.geomspace(0.01, 30, 9), 1e-3
    difference = np.log(profile.density(r * np.exp(step)) / profile.density(r * np.exp(-step))) / (2 * step)
    np.testing.assert_allclose(profile.slope(r), difference, atol=1e-4)


def test_cores_and_cusps():
    assert Zhao(1, 1, 1, 3, 1).density(0.3) == pytest.approx(NFW(1, 1).density(0.3))
    assert CoreNFW(1, 1, 0.5, 0.0).density(0.3) == pytest.approx(NFW(1, 1).density(0.3))
    assert CoreNFW(1, 1, 0.5, 1.0).slope(1e-3) == pytest.approx(0, abs=0.02)
    assert CoreNFW(1, 1, 0.5, 1.0).mass(20.0) == pytest.approx(NFW(1, 1).mass(20.0))
    bend = (Zhao(1, 1, 2, 5, 0.5).slope(0.7001) - Zhao(1, 1, 2, 5, 0.5).slope(0.6999)) / np.log(0.7001 / 0.6999)
    assert Zhao(1, 1, 2, 5, 0.5).bend(0.7) == pytest.approx(bend, rel=1e-5)


def test_factors_along_the_line_of_sight():
    # A Plummer sphere has Sigma = 2 rho_s r_s (1 + R^2/r_s^2)^-2 2/3, and its square the like.
    r, halo, distance = np.geomspace(1e-5, 1e3, 3000), Zhao(3e8, 0.4, 2.0, 5.0, 0.0), 80.0
    for angle in (0.05, 0.5, 5.0):
        R = distance * np.tan(np.deg2rad(angle))
        mass = halo.mass(1e6) * R**2 / (R**2 + 0.4**2)
        assert along_sight(r, halo.density(r), distance, angle) == pytest.approx(mass / distance**2, rel=2e-3)
        assert d_factor(r, halo.density(r), distance, angle) == pytest.approx(PER_D * mass / distance**2, rel=2e-3)
    whole = integrate.quad(lambda s: 4 * np.pi * s**2 * float(halo.density(s)) ** 2, 0, 50)[0] / distance**2
    # 1 Msun^2 kpc^-5 is 4.45e6 GeV^2 cm^-5.
    assert j_factor(r, halo.density(r), distance, 30.0) == pytest.approx(4.4476e6 * whole, rel=2e-3)
    several = np.stack([halo.density(r), 2 * halo.density(r)])
    assert j_factor(r, several, distance)[1] == pytest.approx(4 * j_factor(r, several, distance)[0])
    with pytest.raises(ValueError, match="distance"):
        j_factor(r, halo.density(r), 0.0)


def test_bad_profiles():
    with pytest.raises(ValueError, match="gamma"):
        Zhao(1, 1, 1, 3, 3.0)
    with pytest.raises(ValueError, match="alpha"):
        Zhao(1, 1, 0, 3, 1)
