"""Published profiles of dwarfs' dark matter, to lay beside a fit: those that ship, and those of the user."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from clearview.checks import a, shown

PROFILES = ("rho", "M")


@dataclass(frozen=True, eq=False)
class Published:
    """What someone else found of a dwarf's dark matter.

    Up to seven radii are drawn as points with errors, more as a line with a band.

    Attributes:
        name: in the legend.
        r: (N,) rising radii, kpc; a single number stands for one.
        rho, rho_low, rho_high: (N,) density and the ends of its band of 68 %, Msun/kpc^3; None where there is none.
        M, M_low, M_high: (N,) the same of the mass within r, Msun.
        slope: (middle, low, high) of d ln rho / d ln r near the centre, or None.
        source: authors, year, arXiv.
        note: what it is, and whether it was taken from the paper or second hand.

    Raises:
        TypeError: for names that are no text.
        ValueError: for radii that do not rise from above 0, values that are not positive or of another length, ends
            on the wrong side or alone, or nothing at all.
    """

    name: str
    r: Any = None
    rho: Any = None
    rho_low: Any = None
    rho_high: Any = None
    source: str = ""
    M: Any = None
    M_low: Any = None
    M_high: Any = None
    slope: Any = None
    note: str = ""

    def __post_init__(self):
        for name in ("name", "source", "note"):
            a(getattr(self, name), str, f"{name} as text")
        r = None if self.r is None else self._array("r")
        if r is not None and not (np.diff(r) > 0).all():
            raise ValueError(f"Expected radii of {self.name} that rise, got {shown(self.r)}; sort them.")
        for kind in PROFILES:
            names = [kind, f"{kind}_low", f"{kind}_high"]
            given = [None if getattr(self, name) is None else self._array(name) for name in names]
            if wrong := next((n for n, v in zip(names, given, strict=True) if v is not None and (
                    given[0] is None or r is None or v.shape != r.shape)), None):  # fmt: skip
                raise ValueError(f"Expected {wrong} of {self.name} beside {kind} at each r, got another number of "
                                 "values; give one a radius.")  # fmt: skip
            value, low, high = given
            if (low is None) != (high is None) or (
                low is not None and high is not None and not ((low <= value) & (value <= high)).all()
            ):
                raise ValueError(f"Expected {kind}_low <= {kind} <= {kind}_high of {self.name}, got others; give both "
                                 "ends, no errors.")  # fmt: skip
        if self.slope is not None:
            slope = np.asarray(self.slope, float)
            if slope.shape != (3,) or not slope[1] <= slope[0] <= slope[2]:
                raise ValueError(f"Expected slope of {self.name} as (middle, low, high), got {shown(self.slope)}; "
                                 "correct it.")  # fmt: skip
            object.__setattr__(self, "slope", tuple(map(float, slope)))
        if self.rho is None and self.M is None and self.slope is None:
            raise ValueError(f"Expected rho, M or a slope of {self.name}, got none; give one.")

    def values(self, profile: str) -> tuple[np.ndarray, ...] | None:
        """(r, middle, low, high), each (N,), of "rho" or "M"; without errors all three are the same; or None."""
        if profile not in PROFILES or (middle := getattr(self, profile)) is None:
            return None
        ends = (getattr(self, f"{profile}_{end}") for end in ("low", "high"))
        return self.r, middle, *(middle if end is None else end for end in ends)

    def _array(self, name: str) -> np.ndarray:
        try:
            values = np.atleast_1d(np.asarray(getattr(self, name), float))
        except (TypeError, ValueError):
            values = np.array([np.nan])
        if values.ndim != 1 or not len(values) or not (np.isfinite(values) & (values > 0)).all():
            raise ValueError(f"Expected {name} of {self.name} as numbers above 0, got {shown(getattr(self, name))}; "
                             "correct them.")  # fmt: skip
        object.__setattr__(self, name, values)
        return values


_HAYASHI = "Hayashi, Chiba & Ishiyama 2020, arXiv:2007.13780"
_READ_2018 = "Read, Walker & Steger 2018, arXiv:1805.06934"
_READ = "Read, Walker & Steger 2019, arXiv:1808.06634"
_DESI = "Yang et al. 2025, arXiv:2507.02284"
_JARDEL = "Jardel et al. 2013, arXiv:1211.5376"
_COPIED = (
    "second hand: two public copies agree, one of table 4 in Andrade et al. 2023 (arXiv:2311.01528), one of table 1 in "
    "Cardona-Barrero et al. 2023 (arXiv:2304.06611)"
)


def _at_150_pc(name: str, source: str, note: str, value: float, minus: float, plus: float) -> Published:
    """A density at 150 pc in 1e7 Msun/kpc^3, with its errors."""
    rho = tuple(1e7 * v for v in (value, value - minus, value + plus))
    return Published(name, 0.15, *rho, source=source, note=note)


def _slope(name: str, source: str, note: str, value: float, low: float, high: float) -> Published:
    return Published(name, source=source, note=note, slope=(value, low, high))


_NON_SPHERICAL = ("Hayashi et al. 2020", _HAYASHI, f"axisymmetric Jeans; {_COPIED}")
_GRAVSPHERE = ("Read et al. 2019", _READ, f"GravSphere; {_COPIED}")
_JAM = ("Yang et al. 2025 (DESI)", _DESI, "minus the inner slope gamma of axisymmetric Jeans models; from the abstract")

PUBLISHED: dict[str, tuple[Published, ...]] = {
    "Draco": (
        _at_150_pc("Read et al. 2018", _READ_2018, "GravSphere; from the abstract", 24.0, 6.0, 5.0),
        _at_150_pc(*_NON_SPHERICAL, 23.5, 6.3, 12.8),
        _slope(*_JAM, -0.71, -1.05, -0.36),
        _slope("Jardel et al. 2013", _JARDEL, "orbits, 20 to 700 pc; from the abstract", -1.0, -1.2, -0.8),
    ),
    "Sculptor": (_at_150_pc(*_GRAVSPHERE, 14.9, 2.3, 2.8), _at_150_pc(*_NON_SPHERICAL, 21.4, 6.3, 12.6)),
    "Fornax": (_at_150_pc(*_GRAVSPHERE, 7.9, 1.9, 2.7), _at_150_pc(*_NON_SPHERICAL, 12.2, 2.3, 3.2)),
    "Carina": (_at_150_pc(*_GRAVSPHERE, 11.6, 2.2, 2.0), _at_150_pc(*_NON_SPHERICAL, 10.9, 3.2, 8.2)),
    "Sextans": (
        _at_150_pc(*_GRAVSPHERE, 12.8, 2.9, 3.4),
        _at_150_pc(*_NON_SPHERICAL, 5.2, 2.3, 3.6),
        _slope(*_JAM, -0.26, -0.48, -0.14),
    ),
    "Ursa Minor": (
        _at_150_pc(*_GRAVSPHERE, 15.3, 3.2, 3.5),
        _at_150_pc(*_NON_SPHERICAL, 23.8, 7.2, 38.6),
        _slope(*_JAM, -0.33, -0.53, -0.17),
    ),
    "Leo I": (_at_150_pc(*_GRAVSPHERE, 17.7, 3.4, 3.3),),
    "Leo II": (_at_150_pc(*_GRAVSPHERE, 18.4, 1.6, 1.7),),
}  # fmt: skip
"""Densities at 150 pc and inner slopes of eight dwarfs, as far as they were found stated and undisputed: two copies of
Draco in Read et al. 2019 and of Leo I and II in Hayashi et al. 2020 differ, and whole profiles are in none."""


def published_of(galaxy: str) -> tuple[Published, ...]:
    """What `PUBLISHED` has of a galaxy, such as "Draco", for ``DwarfPanel(stars, published=published_of("Draco"))``.

    Raises:
        ValueError: for a galaxy that is not in it.
    """
    if galaxy not in tuple(PUBLISHED):
        raise ValueError(f"Expected a galaxy among {', '.join(PUBLISHED)}, got {shown(galaxy)}; choose one, or make "
                         "your own clearview.dwarfs.Published.")  # fmt: skip
    return PUBLISHED[galaxy]
