"""Authenticity and what lies nearest, beside definitions written out."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from meddiff.metrics import prdc
from meddiff.metrics.authenticity import find_neighbours


@pytest.mark.parametrize("block", [7, 512])
@pytest.mark.parametrize("grouped", [False, True])
def test_neighbours_are_those_of_all_distances(block, grouped, monkeypatch) -> None:
    monkeypatch.setattr("meddiff.metrics.authenticity.BLOCK", block)
    chance = np.random.default_rng(0)
    real, synthetic = chance.normal(size=(60, 3)), 1.3 * chance.normal(size=(45, 3))
    groups = np.arange(60) // 4 if grouped else None
    result, of_real = find_neighbours(real, synthetic, groups=groups).values()
    apart, own = cdist(synthetic, real), cdist(real, real)
    own[np.eye(60, dtype=bool) if groups is None else groups[:, None] == groups] = np.inf
    assert np.array_equal(result.nearest, apart.argmin(1))
    np.testing.assert_allclose(result.distance, apart.min(1))
    # Alaa et al. 2022: not authentic is what lies closer to a real image than any other real one.
    authentic = apart.min(1) > own.min(1)[apart.argmin(1)]
    assert np.array_equal(result.authentic, authentic) and 0 < authentic.mean() < 1
    members = np.arange(60) if groups is None else groups
    for row in range(60):
        # As a synthetic image beside the real ones of other groups.
        others = members != members[row]
        alone = find_neighbours(real[others], real[row : row + 1].repeat(2, 0),
                                groups=members[others])  # fmt: skip
        assert alone["synthetic"].authentic[0] == of_real.authentic[row]
    assert np.array_equal(of_real.nearest, apart.argmin(0))
    np.testing.assert_allclose(of_real.distance, apart.min(0))
    expected = prdc(real, synthetic)
    assert result.inside.mean() == pytest.approx(expected.precision)
    assert of_real.inside.mean() == pytest.approx(expected.coverage)


def test_copies_are_not_authentic_and_near_images_of_one_patient_hide_none() -> None:
    chance = np.random.default_rng(0)
    patients = chance.normal(size=(20, 1, 4))
    real = (patients + 1e-3 * chance.normal(size=(20, 3, 4))).reshape(-1, 4)
    copies = real[::3] + 2e-3 * chance.normal(size=(20, 4))
    groups = np.arange(60) // 3
    assert not find_neighbours(real, copies, groups=groups)["synthetic"].authentic.any()
    assert find_neighbours(real, copies)["synthetic"].authentic.mean() > 0.5
    assert (find_neighbours(real, real[:5])["synthetic"].distance == 0).all()
