"""A cascade at its ends equals its sizes; its decisions are those counted on outcomes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from supernet import Recognizer
from supernet.errors import ArgumentError, UserError
from supernet.recognition.transcript_formats import as_json
from supernet.runs.confidence_file import save_cascade
from supernet.runs.opening import own_selection
from supernet.runs.run import Run
from supernet.scoring.confidence import ALWAYS, Calibration
from tests.supernet.recognizing import SLOPES, confidences, fit_cascade
from tests.supernet.talkative import make_run, recordings


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of sizes 2, 3 and 4 with a threshold for the cascade 2,4, and calibrations of 2 and 4."""
    run = make_run(tmp_path_factory.mktemp("cascade") / "run")
    fit_cascade(run)
    return run


def text_of(handle: Recognizer) -> list[str]:
    return [result.text for result in handle.transcribe(recordings(), 16_000)]


def test_the_ends_equal_the_sizes_exactly(run: Run) -> None:
    loaded = Recognizer.load(run.folder)
    for sizes in ((2, 4), (2, 3, 4)):
        for limit, size in ((0.0, 2), (ALWAYS, 4), (1e9, 4)):
            found = loaded.cascade(*sizes, threshold=limit).transcribe(recordings(), 16_000)
            alone = loaded.use(size).transcribe(recordings(), 16_000)
            assert [x.text for x in found] == [x.text for x in alone]
            assert [x.words for x in found] == [x.words for x in alone]
            assert [x.size for x in found] == [size] * 4
    assert text_of(loaded.use(2)) != text_of(loaded.use(4))


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_each_recording_is_decided_by_its_confidence_in_any_batch(run: Run, batch: int) -> None:
    loaded = Recognizer.load(run.folder)
    values = confidences(run, 2)
    goes_on = [value < sorted(values)[2] for value in values]
    assert sorted(goes_on) == [False, False, True, True]
    found = loaded.cascade("2", "4").transcribe(recordings(), 16_000, batch=batch)
    small, large = text_of(loaded.use(2)), text_of(loaded.use(4))
    expected = [b if on else a for a, b, on in zip(small, large, goes_on, strict=True)]
    assert [x.text for x in found] == expected
    assert [x.size for x in found] == [4 if on else 2 for on in goes_on]


def test_the_confidence_is_calibrated_by_the_size_that_recognized(run: Run) -> None:
    loaded = Recognizer.load(run.folder)
    at = {int(size): Calibration(**row) for size, row in SLOPES.items()}
    for handle in (loaded.use(2), loaded.use(4), loaded.cascade(2, 4)):
        for i, result in enumerate(handle.transcribe(recordings(), 16_000)):
            assert result.size is not None
            expected = at[result.size].probability(confidences(run, result.size)[i])
            assert result.confidence == pytest.approx(expected, abs=1e-6)
            line = json.loads(as_json("a.wav", result))
            assert line["confidence"] == pytest.approx(expected, abs=1e-4)
            assert line["size"] == result.size
    assert loaded.use(3).transcribe(recordings()[0], 16_000).confidence is None
    silence = loaded.cascade(2, 4).transcribe(recordings()[0] * 0, 16_000)
    assert (silence.text, silence.confidence, silence.size) == ("", None, None)


def test_a_recording_in_parts_is_as_certain_as_its_least_certain_part(run: Run) -> None:
    handle = Recognizer.load(run.folder).cascade(2, 4, threshold=0.0)
    model = handle._model.recognizer
    long = [x for x in recordings() for _ in range(6)]
    result = handle.transcribe(torch.cat(long), 16_000)
    assert result.confidence is not None
    assert model.config.model.max_frames < result.seconds / 0.04
    assert 0 < result.confidence < max(x.confidence or 0 for x in handle.transcribe(recordings(), 16_000))


def test_wrong_cascades_are_said_in_one_line(run: Run) -> None:
    loaded = Recognizer.load(run.folder)
    for sizes, limit, words in (
        ((4, 2), None, "`cascade` must be two or more sizes, the smallest first, such as 6,12, but is 4,2"),
        ((2,), None, "`cascade` must be two or more sizes"),
        ((2, 5), None, "`cascade` must be one of 2, 3, 4, the budgets there are, but is 5"),
        (
            (2, 3),
            None,
            "`threshold` must be given for the cascade 2,3, as none was fitted on the validation split, only",
        ),
        ((2, 3), -1.0, "`threshold` must be at least 0, but is -1"),
        ((2, 3), float("nan"), "`threshold` must be at least 0, but is nan"),
    ):
        with pytest.raises(ArgumentError) as error:
            loaded.cascade(*sizes, threshold=limit)
        assert words in str(error.value)
        assert "\n" not in str(error.value)


def test_what_was_fitted_for_other_weights_or_units_is_not_used(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    selection, sizes = own_selection(run), {"2": {"slope": 3.0, "offset": -1.0}}
    save_cascade(run, selection, "entropy", sizes, "2,4", {"threshold": 0.5})
    save_cascade(run, selection, "entropy", sizes, "2,3", {"threshold": 0.25})
    assert Recognizer.load(run.folder)._confidences.thresholds == {"2,4": 0.5, "2,3": 0.25}
    save_cascade(run, selection, "tsallis", sizes, "2,3", {"threshold": 0.75})
    assert Recognizer.load(run.folder)._confidences.thresholds == {"2,3": 0.75}, "of another measure"
    file = run.confidence_file("run")
    stored = json.loads(file.read_text())
    for change in ({"network": "other"}, {"sizes": {"2": {**stored["sizes"]["2"], "kept": ["layers.0"]}}}):
        file.write_text(json.dumps({**stored, **change}))
        assert not Recognizer.load(run.folder)._confidences.thresholds
    file.write_text(json.dumps({**stored, "measure": "mood"}))
    with pytest.raises(
        UserError, match="must have calibrated confidences as the command evaluate writes them"
    ):
        Recognizer.load(run.folder)
