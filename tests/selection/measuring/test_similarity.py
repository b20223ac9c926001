"""Properties of similarity measures and of the streams that they compare."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from selection.evidence import Measure
from selection.measuring import similarity
from selection.measuring.similarity import Floats, linear_cka, stream_similarities, svcca
from supernet.network.lanes import Lane
from supernet.network.supernet_ctc import SupernetCTC, weights
from supernet.network.walk import FINAL
from supernet.task import Batch
from supernet.units import LayerType
from tests.supernet.tiny import batch, part, recognizer, run_lanes, tiny_config

MEASURES: tuple[Measure, ...] = ("cka", "svcca")
FUNCTIONS = {"cka": linear_cka, "svcca": svcca}
FRAMES = [60, 33, 5, 47]

each_measure = pytest.mark.parametrize("measure", MEASURES)


def quiet(what: str, done: int, total: int) -> None:
    pass


def noise(*shape: int, seed: int = 0) -> Floats:
    """Noise whose channels have different variances."""
    values = np.random.default_rng(seed).normal(size=shape)
    return np.asarray(values * np.geomspace(1.0, 0.1, shape[-1]))


def rotation(dim: int) -> Floats:
    return np.asarray(np.linalg.qr(noise(dim, dim, seed=9))[0])


# Functions


@each_measure
def test_a_stream_is_most_similar_to_itself(measure: Measure) -> None:
    x_ND = noise(200, 12)
    assert FUNCTIONS[measure](x_ND, x_ND) == pytest.approx(1.0, abs=1e-9)


@each_measure
def test_rotation_scale_and_mean_are_ignored(measure: Measure) -> None:
    x_ND, y_ND = noise(200, 12), noise(200, 12) + 0.5 * noise(200, 12, seed=1)
    expected = FUNCTIONS[measure](x_ND, y_ND)
    assert 0.3 < expected < 0.99
    moved_ND = 7.0 * x_ND @ rotation(12) + 3.0
    assert FUNCTIONS[measure](moved_ND, y_ND) == pytest.approx(expected, abs=1e-9)
    assert FUNCTIONS[measure](moved_ND, x_ND) == pytest.approx(1.0, abs=1e-9)


@each_measure
def test_similarity_is_symmetric(measure: Measure) -> None:
    x_ND, y_ND = noise(100, 12), noise(100, 5, seed=1)
    assert FUNCTIONS[measure](x_ND, y_ND) == pytest.approx(FUNCTIONS[measure](y_ND, x_ND), abs=1e-12)


@each_measure
def test_independent_noise_is_dissimilar(measure: Measure) -> None:
    assert 0.0 <= FUNCTIONS[measure](noise(4000, 8), noise(4000, 8, seed=1)) < 0.05


def test_cka_of_sine_and_cosine_equals_the_analytic_value() -> None:
    # The second stream is one of the first one's two channels: an HSIC of 1 and norms of sqrt(2) and 1.
    t = np.linspace(0, 2 * np.pi, 1000, endpoint=False)
    x_ND = np.stack([np.sin(t), np.cos(t)], axis=1)
    assert linear_cka(x_ND, x_ND[:, :1]) == pytest.approx(2**-0.5)
    assert linear_cka(x_ND[:, 1:], x_ND[:, :1]) == pytest.approx(0.0, abs=1e-9)


def test_cka_equals_that_of_gram_matrices() -> None:
    x_ND, y_ND = noise(60, 12), noise(60, 12)[:, :7] + noise(60, 7, seed=1)
    center_NN = np.eye(60) - 1 / 60
    k_NN, l_NN = (center_NN @ z_ND @ z_ND.T @ center_NN for z_ND in (x_ND, y_ND))
    expected = np.sum(k_NN * l_NN) / np.sqrt(np.sum(k_NN * k_NN) * np.sum(l_NN * l_NN))
    assert linear_cka(x_ND, y_ND) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("variance", [0.5, 0.9, 0.99, 1.0])
def test_svcca_equals_svd_followed_by_cca(variance: float) -> None:
    def leading(x_ND: Floats) -> Floats:
        u_NK, s_K, _ = np.linalg.svd(x_ND - x_ND.mean(0), full_matrices=False)
        held_K = np.cumsum(s_K**2) / np.sum(s_K**2)
        count = next(i + 1 for i, held in enumerate(held_K) if held >= variance - 1e-12)
        return np.asarray(u_NK[:, :count] * s_K[:count])

    x_ND, y_ND = noise(100, 12), noise(100, 12)[:, :7] + noise(100, 7, seed=1)
    bases = [np.linalg.qr(leading(z_ND))[0] for z_ND in (x_ND, y_ND)]
    expected = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False).mean()
    assert svcca(x_ND, y_ND, variance) == pytest.approx(expected, abs=1e-9)


def test_svcca_ignores_directions_of_low_variance() -> None:
    x_ND, quiet_ND = noise(500, 4), 1e-3 * noise(500, 4, seed=1)
    assert svcca(np.hstack([x_ND, quiet_ND]), x_ND) == pytest.approx(1.0, abs=1e-4)
    assert svcca(np.hstack([x_ND, quiet_ND]), x_ND, 1.0) == pytest.approx(1.0, abs=1e-9)


@each_measure
@pytest.mark.parametrize("offset", [0.0, 1.0, 1 / 3])
def test_a_constant_stream_is_similar_only_to_constant_ones(measure: Measure, offset: float) -> None:
    rounded_D: Floats = (noise(5) + offset).astype(np.float32).astype(np.float64)
    stills: list[Floats] = [np.tile(rounded_D, (50, 1)), np.full((50, 5), offset)]
    for still_ND in stills:
        assert FUNCTIONS[measure](still_ND, noise(50, 5)) == 0.0
        assert FUNCTIONS[measure](noise(50, 5), still_ND) == 0.0
        assert FUNCTIONS[measure](still_ND, still_ND) == 1.0


@each_measure
def test_duplicate_channels_are_accepted(measure: Measure) -> None:
    x_ND = noise(50, 3)
    twice = FUNCTIONS[measure](np.hstack([x_ND, x_ND]), x_ND)
    assert twice == pytest.approx(1.0, abs=1e-9), "the covariance matrix may be singular"


# Streams of a network


@each_measure
@pytest.mark.parametrize("granularity", ["layer", "module"])
@pytest.mark.parametrize("layer_type", ["conformer", "transformer"])
def test_the_matrix_is_symmetric_with_ones_only_on_the_diagonal(
    measure: Measure, granularity: str, layer_type: LayerType
) -> None:
    net = recognizer(tiny_config(granularity, layer_type))
    matrix = stream_similarities(net, [batch(FRAMES), batch(FRAMES, seed=1)], measure, quiet)
    assert matrix.shape == (len(net.table) + 1,) * 2
    assert np.array_equal(matrix, matrix.T)
    assert np.array_equal(np.diag(matrix), np.ones(len(matrix)))
    assert ((matrix >= 0) & (matrix <= 1)).all()
    assert (matrix[~np.eye(len(matrix), dtype=bool)] < 1).all()


@each_measure
@pytest.mark.parametrize("positions", ["relative", "sinusoidal"])
def test_similarities_equal_those_of_the_networks_streams(measure: Measure, positions: str) -> None:
    config = tiny_config(model={"positions": positions, "self_conditioning": True, "intermediate": (4,)})
    net, data = recognizer(config), batch([60, 60])
    x_BSD, _ = net.embed(data.features_BTF, data.num_frames)
    (reading,) = run_lanes(net, data, [Lane(range(2), net.table.full, positions=(1, 2, 3))])
    streams = [net.encoder.place(x_BSD), *(reading[p] for p in (1, 2, 3, FINAL))]
    x_ND = [stream.flatten(0, 1).detach().numpy() for stream in streams]
    expected = [[FUNCTIONS[measure](x, y) for y in x_ND] for x in x_ND]
    np.testing.assert_allclose(stream_similarities(net, [data], measure, quiet), expected, atol=1e-9)


@each_measure
def test_parts_that_run_together_leave_the_same_stream(
    measure: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_module, by_component = (recognizer(tiny_config(units)) for units in ("module", "component"))
    state = by_module.state_dict()
    by_component.load_state_dict({name: state[name] for name in weights(by_component)}, strict=False)
    expected = stream_similarities(by_module, [batch(FRAMES)], measure, quiet)
    places = [0, *(1 + i for i, group in enumerate(by_component.table.groups) for _ in group)]
    features, seen = similarity._FEATURES[measure], list[Floats]()

    def noted(x_ND: Floats) -> Floats:
        seen.append(x_ND)
        return features(x_ND)

    monkeypatch.setitem(similarity._FEATURES, measure, noted)
    found = stream_similarities(by_component, [batch(FRAMES)], measure, quiet)
    np.testing.assert_allclose(found, expected[np.ix_(places, places)], atol=1e-6)
    assert len(seen) == len(expected) < len(found), "each stream is compared once"


@each_measure
def test_padding_is_ignored(measure: Measure) -> None:
    net, whole = recognizer(tiny_config()), batch(FRAMES)
    alone = [part(whole, range(i, i + 1)) for i in range(len(whole))]
    together = stream_similarities(net, [whole], measure, quiet)
    np.testing.assert_allclose(stream_similarities(net, alone, measure, quiet), together, atol=1e-9)


@each_measure
def test_the_stream_is_the_same_after_a_unit_without_output(measure: Measure) -> None:
    net = recognizer(tiny_config("module"))
    torch.nn.init.zeros_(net.encoder.layers["1"].conv.pointwise_conv2.weight)  # type: ignore[union-attr,arg-type]
    unit = net.table.position["layers.1.conv"]
    matrix = stream_similarities(net, [batch(FRAMES)], measure, quiet)
    neighbors = 1 - np.diag(matrix, 1)
    assert neighbors[unit] == pytest.approx(0.0, abs=1e-9)
    assert (np.delete(neighbors, unit) > 1e-6).all()


@each_measure
def test_a_network_with_constant_streams_has_finite_similarities(measure: Measure) -> None:
    net = recognizer(tiny_config())
    torch.nn.init.zeros_(net.encoder.layers["2"].layer_norm.weight)  # type: ignore[union-attr,arg-type]
    matrix = stream_similarities(net, [batch(FRAMES)], measure, quiet)
    assert np.isfinite(matrix).all()
    assert (matrix[3, :3] == 0).all()
    assert matrix[3, 3] == 1


@each_measure
def test_a_sample_of_frames_approximates_all_frames(measure: Measure) -> None:
    net = recognizer(tiny_config())
    data = [batch([200, 120], seed) for seed in range(3)]
    every = stream_similarities(net, data, measure, quiet)
    some = stream_similarities(net, data, measure, quiet, max_frames=120)
    np.testing.assert_allclose(some, every, atol=0.2)
    assert not np.array_equal(some, every)
    assert np.array_equal(some, stream_similarities(net, data, measure, quiet, max_frames=120))


def test_sampled_frames_are_valid_and_evenly_spaced() -> None:
    data = [batch([60, 33]), batch([5]), batch([47, 29])]  # stream frames: 14, 7; 1; 11, 6
    chosen = similarity._chosen_frames(data, 13)
    pairs = [[*zip(rows.tolist(), frames.tolist(), strict=True)] for rows, frames in chosen]
    assert pairs == [
        [(0, 0), (0, 3), (0, 6), (0, 9), (0, 12), (1, 1), (1, 4)],
        [(0, 0)],
        [(0, 2), (0, 5), (0, 8), (1, 0), (1, 3)],
    ]
    assert [len(rows) for rows, _ in similarity._chosen_frames(data, 1000)] == [21, 1, 17]


def test_the_memory_limit_bounds_the_number_of_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    net, seen = recognizer(tiny_config()), []

    def recorded(x_ND: Floats, y_ND: Floats) -> Floats:
        seen.append(len(x_ND))
        return y_ND

    monkeypatch.setattr(similarity, "MAX_BYTES", 5 * 16 * 8 * 10)
    monkeypatch.setitem(similarity._FEATURES, "cka", lambda x_ND: recorded(x_ND, x_ND))
    stream_similarities(net, [batch(FRAMES)], "cka", quiet)
    assert seen == [10] * 5


def test_the_network_is_unchanged() -> None:
    net = recognizer(tiny_config()).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    told: list[tuple[str, int, int]] = []
    stream_similarities(net, iter([batch(FRAMES)]), "cka", lambda *told_now: told.append(told_now))
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert net.training
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert told[0] == ("running the full network", 1, 1)
    assert told[-1] == ("comparing streams", 5, 5)


def test_data_without_utterances_is_an_error() -> None:
    net: SupernetCTC = recognizer(tiny_config())
    empty: list[Batch] = [dataclasses.replace(batch([9]), num_frames=[], ids=[])]
    for batches in ([], empty):
        with pytest.raises(ValueError, match="at least one utterance"):
            stream_similarities(net, batches, "cka", quiet)
