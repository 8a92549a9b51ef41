"""Voxels, files and mocks of showers."""

import h5py
import numpy as np
import pytest

from clearview.calorimeter import CALOGAN, Geometry, Layer, Showers, read_geometry, read_showers, write_showers
from clearview.mocks import PARTICLES, mock_showers

XML = """<Bins><Bin pid="22" name="photon">
  <Layer id="0" r_edges="0,5,10,30" n_bin_alpha="1"/>
  <Layer id="1" r_edges="0,2,4" n_bin_alpha="10" />
  <Layer id="2" r_edges="0" n_bin_alpha="1" />
  <Layer id="12" r_edges="0,100,200,400" n_bin_alpha="2" />
</Bin></Bins>"""


@pytest.fixture
def polar(tmp_path):
    (tmp_path / "binning.xml").write_text(XML)
    return read_geometry(tmp_path / "binning.xml")


def test_a_binning_file_is_read(polar, tmp_path):
    assert [k.number for k in polar.layers] == [0, 1, 12]  # a layer of one edge has no voxels
    assert [k.size for k in polar.layers] == [3, 20, 6]
    assert (polar.size, polar.name) == (29, "photon")
    assert sum(k.thickness for k in polar.layers) == pytest.approx(25)
    again = read_geometry(polar.write(tmp_path / "again.xml"))
    assert again.digest == polar.digest
    assert Geometry.from_dict(polar.to_dict()) == polar
    with pytest.raises(FileExistsError, match="overwrite=True"):
        polar.write(tmp_path / "again.xml")


def test_voxels_are_counted_angle_by_angle(polar):
    layer = polar.layers[1]
    x, y = layer.centers
    assert layer.voxel(x, y).tolist() == list(range(20))
    # Radii are neighbours, angles begin at -pi.
    np.testing.assert_allclose(np.hypot(x, y)[:4], [1, 3, 1, 3])
    np.testing.assert_allclose(np.arctan2(y, x)[[0, 2]], [-0.9 * np.pi, -0.7 * np.pi])
    assert layer.voxel(np.array([4.1, 0.0]), np.array([0.0, -9.0])).tolist() == [-1, -1]


def test_calogan_is_of_504_voxels():
    assert CALOGAN.size == 504
    assert [k.shape for k in CALOGAN.layers] == [(3, 96), (12, 12), (12, 6)]
    for k in CALOGAN.layers:
        assert k.voxel(*k.centers).tolist() == list(range(k.size))


def test_features_of_a_shower_made_by_hand(polar):
    voxels = np.zeros((2, polar.size))
    voxels[:, 0] = 4.0
    opposite = [0, 10]  # of ten angles, five apart
    voxels[0, [3 + i for i in opposite]] = 1.0
    table = Showers(polar, np.array([10.0, 8.0]), voxels).features()
    np.testing.assert_allclose(table["share"], [0.6, 0.5], rtol=1e-6)
    assert table["E_1"].tolist() == [2.0, 0.0]
    np.testing.assert_allclose(table["sparsity_1"], [0.9, 1.0])
    assert table["x_1"][0] == pytest.approx(0, abs=1e-9)
    assert table["width_1"][0] == pytest.approx(1.0)
    assert np.isnan(table["width_1"][1])


@pytest.mark.parametrize("layout", ["calochallenge", "calogan"])
def test_files_come_back(layout, tmp_path):
    showers = mock_showers(20, seed=1)
    path = write_showers(showers, tmp_path / "s.hdf5", layout=layout)
    again = read_showers(path, CALOGAN)
    np.testing.assert_allclose(again.energies, showers.energies, rtol=1e-6)
    np.testing.assert_array_equal(again.voxels, showers.voxels)
    assert again.source == showers.source
    assert "mock" in again.source
    assert len(read_showers(path, CALOGAN, rows=slice(5, 9))) == 4
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_showers(showers, path, layout=layout)


def test_calogan_tells_energies_in_gev(tmp_path):
    write_showers(mock_showers(5, energies=(5e3, 5.001e3)), tmp_path / "s.hdf5", layout="calogan")
    with h5py.File(tmp_path / "s.hdf5") as file:
        assert file["layer_0"].shape == (5, 3, 96)
        np.testing.assert_allclose(file["energy"][:, 0], 5.0, rtol=1e-3)


def test_files_of_another_kind_are_refused(polar, tmp_path):
    showers = mock_showers(5, geometry=polar)
    path = write_showers(showers, tmp_path / "s.hdf5")
    with pytest.raises(ValueError, match=r"Expected .* another binning; pass that geometry"):
        read_showers(path, CALOGAN)
    with h5py.File(path, "a") as file:
        del file.attrs["binning"]  # as the files of others
    with pytest.raises(ValueError, match=r"Expected showers of 504 voxels.*pass the geometry"):
        read_showers(path, CALOGAN)
    with h5py.File(path, "a") as file:
        file["showers"][2, 3] = -1.0
    with pytest.raises(ValueError, match=r"Expected voxels of energy 0 or more.*in 1 of 5 showers.*number 2"):
        read_showers(path, polar)
    with h5py.File(tmp_path / "grid.hdf5", "w") as file:
        file["energy"], file["layer_0"] = np.ones((2, 1)), np.ones((2, 3, 4))
    with pytest.raises(ValueError, match="no layer_1"):
        read_showers(tmp_path / "grid.hdf5", CALOGAN)
    with h5py.File(tmp_path / "grid.hdf5", "a") as file:
        file["layer_1"] = file["layer_2"] = np.ones((2, 12, 12))
    with pytest.raises(ValueError, match="Expected layer 0 of 3 x 96 voxels"):
        read_showers(tmp_path / "grid.hdf5", CALOGAN)
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["stars"] = np.ones(3)
    with pytest.raises(ValueError, match="got stars in"):
        read_showers(tmp_path / "other.hdf5", CALOGAN)
    whole = write_showers(showers, tmp_path / "whole.hdf5").read_bytes()
    for share in (0.1, 0.5, 0.98):
        (tmp_path / "cut.hdf5").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ValueError, match=r"Expected .*cut\.hdf5"):
            read_showers(tmp_path / "cut.hdf5", polar)
    damaged = bytearray(whole)
    for i in range(len(whole) // 2, len(whole), 97):  # among the compressed numbers
        damaged[i] ^= 0xFF
    (tmp_path / "cut.hdf5").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"Expected .*cut\.hdf5"):
        read_showers(tmp_path / "cut.hdf5", polar)
    (tmp_path / "text.hdf5").write_text("no")
    with pytest.raises(ValueError, match="Expected an HDF5 file that is whole"):
        read_showers(tmp_path / "text.hdf5", CALOGAN)
    with pytest.raises(ValueError, match="Expected a binning XML"):
        read_geometry(tmp_path / "text.hdf5")
    with pytest.raises(FileNotFoundError, match="Expected a file"):
        read_showers(tmp_path / "none.hdf5", CALOGAN)
    with pytest.raises(ValueError, match="Expected one particle"):
        read_geometry(tmp_path / "binning.xml", "pion")
    with pytest.raises(ValueError, match="calogan"):
        CALOGAN.write(tmp_path / "grid.xml")


def test_rings_tell_the_width_but_no_side(polar):
    """An even disc in rings about 2.5, 7.5 and 20 mm."""
    voxels = np.zeros((1, polar.size))
    edges = np.array(polar.layers[0].second)
    voxels[0, :3] = np.diff(edges**2)
    told = Showers(polar, np.array([1e3]), voxels).features().iloc[0]
    assert (told["x_0"], told["y_0"]) == (0, 0)
    assert told["width_0"] == pytest.approx(np.sqrt((25 * 2.5**2 + 75 * 7.5**2 + 800 * 20**2) / 900))


def test_files_of_other_layers_or_of_none(tmp_path):
    showers = mock_showers(5, seed=1)
    path = write_showers(showers, tmp_path / "s.hdf5", layout="calogan")
    fewer = Geometry("two", CALOGAN.layers[:2])
    with h5py.File(path, "a") as file:
        del file.attrs["binning"]
    with pytest.raises(ValueError, match="got also layer_2"):
        read_showers(path, fewer)
    with pytest.raises(ValueError, match="0 showers"):
        read_showers(path, CALOGAN, rows=slice(30, 40))
    with h5py.File(path, "a") as file:
        file.attrs["binning"] = np.bytes_(CALOGAN.digest)
    assert len(read_showers(path, CALOGAN)) == 5
    with h5py.File(path, "a") as file:
        file.attrs["binning"] = np.arange(3)  # of somebody else
    assert len(read_showers(path, CALOGAN)) == 5


def test_showers_that_cannot_be_are_refused(polar):
    with pytest.raises(ValueError, match="0 showers"):
        Showers(polar, np.zeros(0), np.zeros((0, polar.size)))
    with pytest.raises(ValueError, match="incident energies above 0"):
        Showers(polar, np.array([-1.0]), np.ones((1, polar.size)))
    with pytest.raises(ValueError, match="edges of layer 3 that increase"):
        Layer(3, (0.0, 1.0), (2.0, 1.0))
    with pytest.raises(ValueError, match="electron, photon, pion"):
        mock_showers(3, "muon")
    with pytest.raises(ValueError, match=r"Expected .* energies above 30 MeV"):
        mock_showers(3, energies=(1.0, 5.0))
    with pytest.raises(ValueError, match=r"Expected \(low, high\)"):
        mock_showers(3, energies=(5e4, 1e4))


def test_mocks_have_the_profile_that_they_were_asked_for():
    """Of electrons at 10 GeV the gamma profile of the mean parameters, to the few per cent that their spread makes."""
    from scipy.special import gammainc

    showers = mock_showers(3000, energies=(1e4, 1.0001e4), seed=3)
    mean = showers.layer_energies.mean(0) / 1e4
    ln_y = np.log(1e3)
    shape, top = 0.81 + 0.5 * ln_y, ln_y - 0.81
    expected = np.diff(gammainc(shape, (shape - 1) / top * np.array([0, 4.7, 22.8, 25])))
    np.testing.assert_allclose(mean, expected, atol=0.03)
    spread = showers.features()["share"].std()
    # Of n spots of a gamma of shape 3: sqrt(4 / 3 n), and 1 % of the visible share.
    assert spread == pytest.approx(np.sqrt(4 / 3 * 50 / 1e4 + 1e-4), rel=0.06)


def test_particles_differ_as_they_should():
    tables = {name: mock_showers(600, name, seed=4).features() for name in PARTICLES}
    first = {k: (t["E_0"] / (t["E_0"] + t["E_1"] + t["E_2"])).mean() for k, t in tables.items()}
    assert first["electron"] > 1.5 * first["photon"]
    assert tables["pion"]["width_1"].median() > 1.8 * tables["electron"]["width_1"].median()
    assert tables["pion"]["share"].std() > 2 * tables["electron"]["share"].std()
    one, two = mock_showers(50, seed=5), mock_showers(50, seed=5)
    assert one.digest == two.digest != mock_showers(50, seed=6).digest


def test_a_file_that_is_not_written_whole_leaves_the_one_before(polar, tmp_path, monkeypatch):
    showers = mock_showers(5, geometry=polar, seed=1)
    path = write_showers(showers, tmp_path / "s.hdf5")
    before = path.read_bytes()

    def fails(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(h5py.File, "create_dataset", fails)
    with pytest.raises(OSError, match="No space left"):
        write_showers(showers[:2], path, overwrite=True)
    assert path.read_bytes() == before
    assert list(tmp_path.glob(".*")) == []
