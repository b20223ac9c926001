"""The oracle: its losses and errors equal those of each subnet run alone, and nothing is scored twice."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from selection.measuring import oracle as module
from selection.measuring.evidence_store import EvidenceStore, Judged
from selection.measuring.oracle import Oracle, Sample, thinned
from supernet.network.ctc import ctc_loss
from supernet.recognition.decoding import greedy
from supernet.runs.model_file import Model
from supernet.system.processes import Processes
from supernet.task import Batch
from supernet.text.tokens import Tokens
from supernet.units import Kept
from tests.supernet import tiny

TOKENS = Tokens(("<blk>", "a", "b", "c", "d", "e"), "characters")
DATA = [tiny.batch([60, 33, 47], seed=1), tiny.batch([52, 40], seed=2)]
FRAMES = 14 + 7 + 11 + 12 + 9
"""The number of frames after subsampling by four, which is (n - 1) // 2 applied twice."""


@pytest.fixture
def model() -> Model:
    return Model(tiny.recognizer(tiny.tiny_config(sizes=(2, 4), model={"heads": "per-size"})), TOKENS)


class Walks:
    """Counts progress reports, of which each walk makes one per batch."""

    def __init__(self) -> None:
        self.batches = 0

    def __call__(self, what: str, done: int, total: int) -> None:
        assert what == "scoring subnets"
        assert 1 <= done <= total
        assert total % len(DATA) == 0
        self.batches += 1


def make(
    model: Model, store: EvidenceStore, report: Walks, data: list[Batch] = DATA, network: str = "net"
) -> Oracle:
    return Oracle(model, Sample(data), store, network, report)


def mask(text: str) -> Kept:
    return tuple(letter == "1" for letter in text)


def test_losses_and_errors_equal_those_of_the_subnet_alone(model: Model) -> None:
    oracle, subnets = make(model, EvidenceStore(None), Walks()), [mask("1010"), mask("1111"), mask("0001")]
    for kept, judged in zip(subnets, oracle.judge(subnets, with_errors=True), strict=True):
        losses, errors = [], []
        for batch in DATA:
            log_probs = model.recognizer.log_probs(batch.features_BTF, batch.num_frames, kept)
            lengths = model.recognizer.embed(batch.features_BTF, batch.num_frames)[1]
            losses += ctc_loss(log_probs, lengths, batch, range(len(batch))).tolist()
            texts = greedy(log_probs, lengths, TOKENS)
            errors += [int(text != reference) for text, reference in zip(texts, batch.texts, strict=True)]
        np.testing.assert_allclose(judged.losses_N, losses, rtol=1e-12)
        assert oracle.loss(judged) == pytest.approx(sum(losses) / FRAMES, rel=1e-12)
        assert judged.errors_N2 is not None
        assert [min(1, int(words)) for words in judged.errors_N2[:, 0]] == errors
        assert judged.seconds > 0


def test_several_processes_find_the_same(model: Model) -> None:
    """Bit for bit, with one thread in each."""
    subnets, data = (
        [mask("1010"), mask("1111"), mask("0001")],
        [*DATA, tiny.batch([31], seed=3), tiny.batch([45], seed=4)],
    )
    found, walks = [], Walks()
    for processes in (Processes(1, 1), Processes(3, 1)):
        oracle = Oracle(model, Sample(data), EvidenceStore(None), "net", walks, processes)
        found.append([*oracle.judge(subnets, with_errors=True), *oracle.judge([mask("0110")])])
        assert len(workers := oracle._workers.pids) == processes.count - 1
        oracle.close()
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
        oracle.judge([mask("0111")])
    for alone, together in zip(*found, strict=True):
        np.testing.assert_array_equal(alone.losses_N, together.losses_N)
        np.testing.assert_array_equal(alone.errors_N2, together.errors_N2)
    assert walks.batches == 6 * len(data)


def test_subnets_are_scored_with_the_head_of_their_size(model: Model) -> None:
    oracle = make(model, EvidenceStore(None), Walks())
    assert [oracle.name(mask(m)) for m in ("1000", "1010", "0111", "1111")] == [
        "2:1000",
        "2:1010",
        "4:0111",
        "4:1111",
    ]


def test_nothing_is_scored_twice(model: Model, tmp_path: Path) -> None:
    walks, file = Walks(), tmp_path / "selections" / "evidence.sqlite"
    first = make(model, EvidenceStore(file), walks).judge([mask("1010"), mask("1100"), mask("1010")])
    assert walks.batches == len(DATA)
    again = make(model, EvidenceStore(file), walks)
    second = again.judge([mask("1100"), mask("1010")])
    assert walks.batches == len(DATA)
    np.testing.assert_array_equal(first[0].losses_N, second[1].losses_N)
    np.testing.assert_array_equal(first[0].losses_N, first[2].losses_N)
    again.judge([mask("1100"), mask("1110")])
    assert walks.batches == 2 * len(DATA)


def test_errors_are_counted_on_request(model: Model) -> None:
    walks = Walks()
    oracle = make(model, EvidenceStore(None), walks)
    assert oracle.judge([mask("1110")])[0].errors_N2 is None
    assert oracle.judge([mask("1110")], with_errors=True)[0].errors_N2 is not None
    assert walks.batches == 2 * len(DATA)
    assert oracle.judge([mask("1110")])[0].errors_N2 is not None
    assert walks.batches == 2 * len(DATA)


@pytest.mark.parametrize("change", ["network", "features", "texts"])
def test_other_weights_or_other_data_are_scored_again(model: Model, change: str) -> None:
    walks, store = Walks(), EvidenceStore(None)
    make(model, store, walks).judge([mask("1000")])
    changed = [tiny.batch([60, 33, 47], seed=1), tiny.batch([52, 40], seed=2)]
    if change == "features":
        changed[1].features_BTF[0, 0, 0] += 1e-6
    if change == "texts":
        changed[0].targets_BL[0, 0] = 1 + changed[0].targets_BL[0, 0] % 5
    make(model, store, walks, changed, "other" if change == "network" else "net").judge([mask("1000")])
    assert walks.batches == 2 * len(DATA)


def test_results_survive_an_interruption(
    model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "CHUNK", 4)
    file, subnets = tmp_path / "evidence.sqlite", list(dict.fromkeys(random.Random(0).choices(ALL, k=30)))
    assert len(subnets) > 8

    class Stopped(Walks):
        def __call__(self, what: str, done: int, total: int) -> None:
            super().__call__(what, done, total)
            if self.batches == 2 * len(DATA) + 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(model, EvidenceStore(file), Stopped()).judge(subnets)
    walks = Walks()
    found = make(model, EvidenceStore(file), walks).judge(subnets)
    assert walks.batches == len(DATA) * (-(-len(subnets) // 4) - 2)
    whole = make(model, EvidenceStore(None), Walks()).judge(subnets)
    for judged, expected in zip(found, whole, strict=True):
        np.testing.assert_allclose(judged.losses_N, expected.losses_N, rtol=1e-12)


ALL = [mask(f"{i:04b}") for i in range(1, 16)]


def utterances(batches: list[Batch]) -> Iterator[tuple[str, int, list[float]]]:
    for batch in batches:
        for row, name in enumerate(batch.ids):
            yield name, batch.num_frames[row], batch.targets_BL[row, : batch.num_targets[row]].tolist()


@pytest.mark.parametrize("most", [1, 2, 3, 4])
def test_a_sample_is_thinned_evenly(most: int) -> None:
    data = [tiny.batch([60, 33, 47], seed=1), tiny.batch([52, 40], seed=2)]
    kept = list(utterances(thinned(data, most)))
    assert len(kept) == most
    everything = list(utterances(data))
    assert kept == [everything[i * 5 // most] for i in range(most)]


def test_thinning_does_not_change_losses(model: Model) -> None:
    (whole, _), (part,) = DATA, thinned(DATA, 1)
    expected = ctc(model, whole)[0]
    torch.testing.assert_close(ctc(model, part)[0], expected, rtol=1e-12, atol=1e-12)


def ctc(model: Model, batch: Batch) -> torch.Tensor:
    (scored,) = model.recognizer.score_all(batch, [mask("1011")])
    return scored.losses_B


def test_a_small_sample_is_not_thinned() -> None:
    assert thinned(DATA, 5) == DATA


def test_the_store_keeps_arrays(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path / "x.sqlite")
    value = np.array([[1.5, -2.0]])
    assert store.fact("net", "cka", (1, None)) is None
    store.add_fact("net", "cka", value, 3.0)
    found = EvidenceStore(tmp_path / "x.sqlite").fact("net", "cka", (1, None))
    assert found is not None
    np.testing.assert_array_equal(found[0], value)
    assert found[1] == 3.0
    assert store.fact("other", "cka", (1, 2)) is None


@pytest.mark.parametrize(
    "blob", [None, "text", b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\x10\x00" + b"{'descr': '|O'}\n ", 3]
)
def test_damaged_entries_of_the_store_are_measured_again(tmp_path: Path, blob: object) -> None:
    store = EvidenceStore(tmp_path / "x.sqlite")
    store.add_fact("net", "cka", np.array([1.0, 2.0]), 3.0)
    store.add_judged("net", {"a": Judged(np.array([1.0]), np.array([[1, 2]]), 0.1)})
    assert store.fact("net", "cka", (3,)) is None
    assert store.judged("net", ["a"], 2, with_errors=False) == {}
    assert store.judged("net", ["a"], 1, with_errors=True).keys() == {"a"}
    with sqlite3.connect(tmp_path / "x.sqlite") as connection:
        connection.execute("UPDATE facts SET value = ?", [blob])
        connection.execute("UPDATE judged SET losses = ?, seconds = 'soon'", [blob])
    assert store.fact("net", "cka", (2,)) is None
    assert store.judged("net", ["a"], 1, with_errors=False) == {}


def test_the_store_handles_very_many_subnets() -> None:
    store, names = EvidenceStore(None), [f"4:{i:012b}" for i in range(4095)]
    store.add_judged("net", {n: Judged(np.array([float(i)]), None, 0.1) for i, n in enumerate(names)})
    found = store.judged("net", names, 1, with_errors=False)
    assert [found[name].losses_N[0] for name in names] == list(range(4095))
    assert store.judged("net", names, 1, with_errors=True) == {}


def test_a_file_that_is_not_a_store_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "evidence.sqlite").write_text("not a database, and long enough to be checked")
    with pytest.raises(ValueError, match=r"must be this program's own file, but is not .* Delete it"):
        EvidenceStore(tmp_path / "evidence.sqlite")
