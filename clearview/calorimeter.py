"""Showers in a calorimeter: how it is divided into voxels, the energies in them, and the files that hold both.

Lengths are in mm, energies in MeV, depths in radiation lengths.
"""

import hashlib
import os
import threading
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from clearview import checks
from clearview.checks import a, number, path_of, shown

MOST = 10**7
"""Voxels of a geometry."""

DEPTH = 25.0
"""Radiation lengths of a calorimeter whose file does not tell them."""

FEATURES = {
    "E": ("energy", "MeV"), "x": ("centroid x", "mm"), "y": ("centroid y", "mm"), "width": ("width", "mm"),
    "sparsity": ("sparsity", ""),
}  # fmt: skip
"""What `Showers.features` tells of each layer: words and unit."""


@dataclass(frozen=True)
class Layer:
    """One layer of a calorimeter. Its voxels are told row by row: those of one bin of ``first`` are neighbours.

    Attributes:
        number: by which its file calls it.
        first: edges, increasing; of x [mm], or of a polar layer of the angle [rad].
        second: edges, increasing; of y [mm], or of a polar layer of the radius [mm].
        polar: whether it is divided in angle and radius.
        thickness: in radiation lengths.

    Raises:
        ValueError: for edges that do not increase, or no thickness.
    """

    number: int
    first: tuple[float, ...]
    second: tuple[float, ...]
    polar: bool = False
    thickness: float = 1.0

    def __post_init__(self):
        checks.numbers(self, whole=True, number=(0, 10**6))
        checks.numbers(self, thickness=(checks.ABOVE_0, 1e6))
        for name in ("first", "second"):
            edges = tuple(float(number(f"an edge of layer {self.number}", e, -1e9, 1e9)) for e in getattr(self, name))
            if len(edges) < 2 or not np.all(np.diff(edges) > 0):
                raise ValueError(
                    f"Expected edges of layer {self.number} that increase, at least two, got {shown(edges)}; sort them."
                )
            object.__setattr__(self, name, edges)
        if self.polar and self.second[0] < 0:
            raise ValueError(f"Expected radii of layer {self.number} from 0, got {self.second[0]:g}; correct them.")

    @property
    def shape(self) -> tuple[int, int]:
        """Bins of ``first`` and of ``second``."""
        return len(self.first) - 1, len(self.second) - 1

    @property
    def size(self) -> int:
        """Voxels."""
        return self.shape[0] * self.shape[1]

    @cached_property
    def centers(self) -> np.ndarray:
        """(2, voxels) x and y of the voxels' middles, mm; of rings, which have one angle, 0."""
        one, two = self._middles
        if self.polar and self.shape[0] == 1:
            return np.zeros((2, self.size))  # of rings about the axis
        return np.stack([two * np.cos(one), two * np.sin(one)] if self.polar else [one, two])

    @cached_property
    def squares(self) -> np.ndarray:
        """(voxels) squared distances of the voxels from the axis, mm^2."""
        one, two = self._middles
        return two**2 if self.polar else one**2 + two**2

    @property
    def _middles(self) -> list[np.ndarray]:
        middles = [0.5 * (np.array(e[1:]) + np.array(e[:-1])) for e in (self.first, self.second)]
        return [m.ravel() for m in np.meshgrid(*middles, indexing="ij")]

    def voxel(self, x, y) -> np.ndarray:
        """(N,) number of the voxel at each place [mm], -1 outside."""
        one, two = (np.arctan2(y, x), np.hypot(x, y)) if self.polar else (x, y)
        i, j = (np.searchsorted(e, v, side="right") - 1 for e, v in ((self.first, one), (self.second, two)))
        inside = (i >= 0) & (i < self.shape[0]) & (j >= 0) & (j < self.shape[1])
        return np.where(inside, i * self.shape[1] + j, -1)


@dataclass(frozen=True)
class Geometry:
    """The layers of a calorimeter, front to back.

    Attributes:
        name: such as "photon".
        layers: each a `Layer`.

    Raises:
        TypeError: for a name that is none.
        ValueError: for no layer, a number given twice, or too many voxels.
    """

    name: str
    layers: tuple[Layer, ...]

    def __post_init__(self):
        a(self.name, str, "a name")
        object.__setattr__(self, "layers", tuple(a(k, Layer, "layers as Layer") for k in self.layers))
        numbers = [k.number for k in self.layers]
        if not numbers or len(set(numbers)) < len(numbers) or self.size > MOST:
            raise ValueError(
                f"Expected layers of different numbers with 1 to {MOST:,} voxels, got {len(numbers)} with "
                f"{self.size:,}; correct the geometry."
            )

    @property
    def size(self) -> int:
        """Voxels in all."""
        return sum(k.size for k in self.layers)

    @property
    def slices(self) -> list[slice]:
        """Of each layer, its voxels among all."""
        ends = np.cumsum([0, *(k.size for k in self.layers)])
        return [slice(int(i), int(j)) for i, j in pairwise(ends)]

    @property
    def digest(self) -> str:
        """Of the edges: files made with another binning have another one."""
        edges = [
            (k.number, np.round(k.first, 6).tolist(), np.round(k.second, 6).tolist(), k.polar) for k in self.layers
        ]
        return hashlib.sha256(repr(edges).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able values."""
        return {"name": self.name, "layers": [
            {"number": k.number, "first": list(k.first), "second": list(k.second), "polar": k.polar,
             "thickness": k.thickness} for k in self.layers
        ]}  # fmt: skip

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Geometry":
        """The inverse of `to_dict`."""
        return cls(values["name"], tuple(Layer(**k) for k in values["layers"]))

    def write(self, path, *, overwrite: bool = False) -> Path:
        """Write it as a binning XML of the CaloChallenge.

        Raises:
            ValueError: for layers that are not polar, of angles not in equal steps from -pi to pi.
            FileExistsError: if the file is there and must not be replaced.
        """
        for k in self.layers:
            if not k.polar or not np.allclose(k.first, _angles(k.shape[0])):
                raise ValueError(
                    f"Expected layers in radius and equal angles for a binning XML, got layer {k.number} of another "
                    'kind; write the showers in the layout "calogan".'
                )
        path = _free(path, overwrite)
        root = ET.Element("Bins")
        particle = ET.SubElement(root, "Bin", name=self.name)
        for k in self.layers:
            edges = ",".join(f"{e:.12g}" for e in k.second)
            ET.SubElement(particle, "Layer", id=str(k.number), r_edges=edges, n_bin_alpha=str(k.shape[0]))
        ET.indent(root)
        path.write_bytes(ET.tostring(root))
        return path


def _angles(count: int) -> tuple[float, ...]:
    return tuple(np.linspace(-np.pi, np.pi, count + 1).tolist())


def _grid(number: int, bins: tuple[int, int], thickness: float) -> Layer:
    x, y = (tuple(np.linspace(-240, 240, n + 1).tolist()) for n in bins)
    return Layer(number, x, y, thickness=thickness)


CALOGAN = Geometry(
    "calogan", tuple(_grid(i, b, t) for i, (b, t) in enumerate(zip(((3, 96), (12, 12), (12, 6)), (4.7, 18.1, 2.2),
                                                                    strict=True))),
)  # fmt: skip
"""The 504 voxels of Paganini, de Oliveira & Nachman 2018 (arXiv:1712.10321): layers of 480 x 480 mm, 90, 347 and 43 mm
deep; their depths here are these shares of 25 radiation lengths."""


def read_geometry(path, name: str | None = None, *, depth: float = DEPTH) -> Geometry:
    """The geometry of a binning XML of the CaloChallenge (Krause et al. 2024, arXiv:2410.21611).

    Args:
        path: of the file.
        name: of the particle in it; None takes the only one.
        depth: of all layers together, radiation lengths, in equal shares; the file does not tell it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no binning file, or has no or several such particles.
    """
    path, depth = _there(path), number("depth", depth, checks.ABOVE_0, 1e6)
    try:
        bins = ET.parse(path).getroot().findall("Bin")
        found = {b.attrib.get("name", str(i)): b for i, b in enumerate(bins)}
        chosen = [found[k] for k in ([name] if name is not None and name in found else found if name is None else [])]
        told = [
            [k.attrib[name] for name in ("id", "r_edges", "n_bin_alpha")] for b in chosen for k in b.findall("Layer")
        ]
        layers = [(int(i), [float(r) for r in edges.split(",")], int(n)) for i, edges, n in told]
    except (ET.ParseError, KeyError, ValueError) as problem:
        raise ValueError(
            f"Expected a binning XML with layers of id, r_edges and n_bin_alpha, got something else in {path}; check "
            "the path."
        ) from problem
    if len(chosen) != 1:
        raise ValueError(f"Expected one particle in {path}, got {', '.join(found) or 'none'}; pass its name.")
    layers = [k for k in layers if len(k[1]) > 1]  # one edge stands for a layer without voxels
    if any(not 0 < n <= MOST for _, _, n in layers):
        raise ValueError(f"Expected at least one angle in each layer, got another number in {path}; correct the file.")
    return Geometry(
        next(iter(found)) if name is None else name,
        tuple(Layer(i, _angles(n), tuple(r), True, depth / len(layers)) for i, r, n in layers),
    )


@dataclass(frozen=True, eq=False)
class Showers:
    """Showers of incident particles.

    Attributes:
        geometry: of the calorimeter.
        energies: (N,) of the incident particles, MeV.
        voxels: (N, voxels) deposited, MeV.
        source: what they are, such as a file, or "mock: ..." for a stand-in.

    Raises:
        ValueError: for arrays of other shapes, no showers, numbers that are not finite, or negative energies.
    """

    geometry: Geometry
    energies: np.ndarray
    voxels: np.ndarray
    source: str = ""

    def __post_init__(self):
        a(self.geometry, Geometry, "a Geometry")
        energies, voxels = np.asarray(self.energies, np.float32).ravel(), np.asarray(self.voxels, np.float32)
        where = f" in {self.source}" if self.source else ""
        if voxels.ndim != 2 or voxels.shape[1] != self.geometry.size:
            raise ValueError(
                f"Expected showers of {self.geometry.size} voxels, as the geometry {self.geometry.name!r} has, got "
                f"shape {voxels.shape}{where}; pass the geometry that these showers were made with."
            )
        if len(energies) != len(voxels) or not len(voxels):
            raise ValueError(
                f"Expected one energy for each of some showers, got {len(energies)} energies and {len(voxels)} showers"
                f"{where}; correct them."
            )
        for name, values, fine, what in (
            ("incident energies above 0", energies, energies > 0, "particles"),
            ("voxels of energy 0 or more", voxels, (voxels >= 0).all(1), "showers"),
        ):
            wrong = ~(fine & np.isfinite(values).reshape(len(values), -1).all(1))
            if wrong.any():
                raise ValueError(
                    f"Expected {name} [MeV], got others in {wrong.sum():,} of {len(energies):,} {what}{where}, first "
                    f"in number {int(np.argmax(wrong))}; remove these showers."
                )
        object.__setattr__(self, "energies", energies)
        object.__setattr__(self, "voxels", voxels)

    def __len__(self) -> int:
        return len(self.voxels)

    def __getitem__(self, rows) -> "Showers":
        """Some of them, by a slice, a mask or numbers."""
        return Showers(self.geometry, np.atleast_1d(self.energies[rows]), np.atleast_2d(self.voxels[rows]), self.source)

    @property
    def layer_energies(self) -> np.ndarray:
        """(N, layers) deposited in each layer, MeV."""
        return np.stack([self.voxels[:, k].sum(1) for k in self.geometry.slices], axis=1)

    @cached_property
    def digest(self) -> str:
        """Of the geometry, the energies and the voxels."""
        parts = self.geometry.digest.encode(), self.energies.tobytes(), np.ascontiguousarray(self.voxels).tobytes()
        return hashlib.sha256(b"".join(parts)).hexdigest()

    def layer(self, index: int) -> np.ndarray:
        """(N, first, second) energies in the layer at a place from the front, MeV."""
        shape = self.geometry.layers[index].shape
        return self.voxels[:, self.geometry.slices[index]].reshape(-1, *shape)

    def features(self) -> pd.DataFrame:
        """A row for each shower: the deposited share of its energy, ``share``, and of each layer, by its number, energy
        ``E_0`` [MeV], centroid ``x_0``, ``y_0`` and ``width_0`` [mm], and ``sparsity_0``, the share of empty voxels.
        Centroid and width of an empty layer are NaN; rings, of one angle, tell no centroid but 0.
        """
        columns = {"share": self.voxels.sum(1) / self.energies}
        for k, part in zip(self.geometry.layers, self.geometry.slices, strict=True):
            voxels = self.voxels[:, part].astype(float)
            energy = voxels.sum(1)
            with np.errstate(invalid="ignore"):
                mean = voxels @ k.centers.T / energy[:, None]
                square = voxels @ k.squares / energy
            width = np.sqrt(np.maximum(square - (mean**2).sum(1), 0))
            sparsity = (voxels == 0).mean(1)
            columns |= dict(zip((f"{name}_{k.number}" for name in FEATURES), (energy, *mean.T, width, sparsity),
                                strict=True))  # fmt: skip
        return pd.DataFrame(columns)


def read_showers(path, geometry: Geometry, *, rows: slice = slice(None)) -> Showers:
    """Showers of an HDF5 file in the layout of the CaloChallenge or of CaloGAN, whichever it has.

    The former has ``incident_energies`` and ``showers`` [MeV], the latter ``energy`` [GeV], ``layer_0``, ... [MeV].

    Args:
        path: of the file.
        geometry: what it was made with; `CALOGAN` or of `read_geometry`.
        rows: which of them.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it has another layout or binning, or what `Showers` refuses.
    """
    path = _there(path)
    a(geometry, Geometry, "a Geometry")
    try:
        with h5py.File(path, "r") as file:
            energies, parts, source = _contents(file, geometry, rows, path)
    except (OSError, RuntimeError, KeyError) as problem:  # KeyError: of a damaged link
        raise ValueError(
            f"Expected an HDF5 file that is whole, got something else in {path}; check the path or use another copy."
        ) from problem
    tables = [p.reshape(len(p), int(np.prod(p.shape[1:]))) for p in parts]
    return Showers(geometry, energies, np.concatenate(tables, axis=1), source)


def _contents(file, geometry: Geometry, rows: slice, path: Path) -> tuple[np.ndarray, list[np.ndarray], str]:
    """Energies, voxels in one table or several, and the source that a file tells of."""
    names = [f"layer_{k.number}" for k in geometry.layers]
    if {"incident_energies", "showers"} <= set(file):
        energies, parts = _table(file, "incident_energies", rows), [_table(file, "showers", rows)]
    elif "energy" in file and "layer_0" in file:
        there = [name for name in file if name.startswith("layer_")]
        if other := sorted(set(names) ^ set(there)):
            raise ValueError(
                f"Expected the layers of the geometry {geometry.name!r}, got {'no' if other[0] in names else 'also'} "
                f"{other[0]} in {path}; pass the geometry that these showers were made with."
            )
        energies, parts = 1e3 * _table(file, "energy", rows), [_table(file, name, rows) for name in names]
        for k, part in zip(geometry.layers, parts, strict=True):
            if part.shape != (len(energies), *k.shape):
                raise ValueError(
                    f"Expected layer {k.number} of {k.shape[0]} x {k.shape[1]} voxels for {len(energies)} showers, got "
                    f"shape {part.shape} in {path}; pass the geometry that these showers were made with."
                )
    else:
        raise ValueError(
            "Expected incident_energies and showers (CaloChallenge), or energy and layer_0, ... (CaloGAN), got "
            f"{', '.join(file) or 'nothing'} in {path}; check the path."
        )
    told = file.attrs.get("binning", geometry.digest)
    told = told.decode(errors="replace") if isinstance(told, bytes) else told
    if isinstance(told, str) and told != geometry.digest:
        raise ValueError(
            f"Expected showers made with the geometry {geometry.name!r}, {path} tells of another binning; pass "
            "that geometry."
        )
    source = str(file.attrs.get("source", path.name))
    return energies, parts, source


def write_showers(showers: Showers, path, *, layout: str = "calochallenge", overwrite: bool = False) -> Path:
    """Write an HDF5 file that `read_showers` reads, whole or not at all.

    Args:
        showers: what to write.
        path: of the file.
        layout: "calochallenge" or "calogan".
        overwrite: replace a file that is there.

    Raises:
        FileExistsError: if the file is there and must not be replaced.
        ValueError: for another layout.
    """
    a(showers, Showers, "Showers")
    if layout not in ("calochallenge", "calogan"):
        raise ValueError(f"Expected the layout calochallenge or calogan, got {shown(layout)}; choose one.")
    path = _free(path, overwrite)
    energies = showers.energies[:, None].astype(float)
    arrays: dict[str, np.ndarray] = {"incident_energies": energies, "showers": showers.voxels}
    if layout == "calogan":
        arrays = {f"layer_{k.number}": showers.layer(i) for i, k in enumerate(showers.geometry.layers)}
        arrays["energy"] = energies / 1e3
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.partial")
    try:
        with h5py.File(partial, "w") as file:
            for name, values in arrays.items():
                file.create_dataset(name, data=values, compression="gzip", compression_opts=1)
            file.attrs["binning"], file.attrs["source"] = showers.geometry.digest, showers.source
        partial.replace(_free(path, overwrite))  # it may have been made meanwhile
    finally:
        partial.unlink(missing_ok=True)
    return path


def _table(file, name: str, rows: slice) -> np.ndarray:
    values = file[name]
    if not isinstance(values, h5py.Dataset) or values.ndim < 1 or values.dtype.kind not in "fiu":
        raise ValueError(f"Expected {name} as a table of numbers, got something else in {file.filename}; correct it.")
    return np.asarray(values[rows])


def _there(path) -> Path:
    path = path_of(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a file at {path}, got none; check the path.")
    return path


def _free(path, overwrite: bool) -> Path:
    path = path_of(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"Expected a new file, {path} exists; choose another name or pass overwrite=True.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
