"""Validation in training reports the measure by which texts are judged, and the rate of every size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from fairseq2.metrics import MetricBag

from supernet.engine.train_unit import Validation
from supernet.methods.simple_top_k import SimpleTopK, SimpleTopKOptions
from supernet.network.supernet_ctc import SupernetCTC
from supernet.recognition.decoding import greedy
from supernet.scoring.error_rates import Measure, score
from supernet.text.tokens import Tokens
from supernet.training.schedule import Schedule
from tests.supernet import tiny
from tests.supernet.tiny import NUM_TOKENS, tiny_config


class Listener:
    """Records what is reported to it."""

    def on_start(self, schedule: Schedule) -> None: ...

    def on_step(self, step: int) -> None: ...

    def on_note(self, message: str) -> None: ...

    def on_publish(
        self, step: int, scores: list[float], gates: list[float] | None, losses: Mapping[str, float]
    ) -> None: ...

    def on_validated(self, step: int, measure: Measure, values: Mapping[str, object]) -> None:
        self.heard = step, measure, dict(values)


@pytest.mark.parametrize(
    ("texts", "measure"), [(["ab a b", "b a"], "wer"), (["今天天气很好", "我们去公园"], "cer")]
)
def test_texts_are_judged_by_the_same_measure_as_in_evaluation(texts: list[str], measure: str) -> None:
    config, listener = tiny_config(), Listener()
    torch.manual_seed(0)
    model = SupernetCTC(config, NUM_TOKENS).eval()
    tokens = Tokens(("<blk>", " ", *"abcdefghijklmnop"[: NUM_TOKENS - 2]))
    schedule = Schedule(SimpleTopK(SimpleTopKOptions(), config), model, seed=0)
    batch = replace(tiny.batch([60, 48], dtype=torch.float32), texts=texts)
    validation, bag = Validation(model, schedule, tokens, listener), MetricBag(torch.device("cpu"))
    validation.prepare_metric_bag(bag)
    validation.set_train_step_nr(12)
    with torch.inference_mode():
        validation.process_batch(batch, bag)
        validation.finalize(bag)
        values: dict[str, object] = {name: metric.compute() for name, metric in bag.metrics.items()}
        validation.process_metric_values(values)
        (scored,) = model.score_all(batch, [schedule.subnets()[config.names[-1]]])
    expected = score(texts, greedy(scored.emissions_BSE, scored.lengths, tokens))
    step, said, heard = listener.heard
    assert (step, said, heard) == (12, measure, values)
    assert float(heard[f"wer/{max(config.sizes)}"]) == pytest.approx(expected.wer)  # type: ignore[arg-type]
    assert float(heard[f"{measure}/{max(config.sizes)}"]) == pytest.approx(expected.rate)  # type: ignore[arg-type]
