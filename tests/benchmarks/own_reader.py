"""Make a run of the pretrained phoneme recognizer that the plug-in `packed` reads, to prune without training.

The texts of its corpus are its own output.

    python -m tests.benchmarks.own_reader asr_waveform.hama an4/ --out phonemes
    supernet select phonemes --budget units=14 --budget units=12 --budget units=10 --budget units=8

It needs the plug-in: ``pip install tests/plugins/packed``. Error rates count phonemes and word boundaries on
which a subnet and the whole network differ.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import soundfile
import torch

from supernet.config import Config, ModelConfig, PassesConfig
from supernet.evaluation.score_checkpoint import score_whole
from supernet.network.supernet_ctc import SupernetCTC
from supernet.runs.model_file import Model, save
from supernet.runs.resolve import resolve_trained
from supernet.runs.run import Run, as_data
from supernet.runs.warm_start import reading
from supernet.settings.plugins import find_plugin, validated

ENCODER = "packed"


def whole(weights: Path) -> Model:
    """The recognizer in the file ``weights``, with its modules as units."""
    family, problems = find_plugin("encoder", ENCODER), list[str]()
    settings = {**family.decide(str(weights), None).settings, "encoder": {"name": ENCODER}}
    model = validated(ModelConfig, settings, "model.", problems)
    assert model is not None, problems
    passes = PassesConfig(intermediate_weight=0.0)
    config = Config(
        granularity="module", sizes=(model.num_layers * len(model.modules),), model=model, passes=passes
    )
    tokens = family.tokens(str(weights))
    recognizer = SupernetCTC(config, len(tokens))
    recognizer.load_state_dict(dict(family.weights(str(weights))), strict=False)
    return Model(recognizer.eval(), tokens)


@torch.inference_mode()
def label(model: Model, corpus: Path, out: Path) -> None:
    """Write a table of the recordings of ``corpus`` with the output of ``model`` as texts."""
    network, head = model.recognizer, model.recognizer.head_of(len(model.recognizer.table))
    with (corpus / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        path = (corpus / row["path"]).resolve()
        samples_T = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
        emissions = network.log_probs(samples_T[None, :, None], [len(samples_T)], network.table.full)
        (ids,) = head.decode(emissions, [emissions.size(1)])
        row |= {"path": str(path), "text": " ".join(model.tokens.symbols[i] for i in ids)}
    out.mkdir(parents=True, exist_ok=True)
    with (out / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(row for row in rows if row["text"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    model, run = whole(args.weights), Run(args.out)
    label(model, args.corpus, args.out / "corpus")
    config = as_data(model.recognizer.config)
    data: dict[str, Any] = {name: config[name] for name in ("granularity", "sizes", "model", "passes")}
    task = {"name": "manifest", "path": str((args.out / "corpus").resolve()), "tokens": "words"}
    data |= {"task": task, "method": "individual"}
    table = model.recognizer.table
    model.tokens.save(run.tokens_file)
    run.save_subnets({str(len(table)): table.subnet(table.full)})
    save(model, run.model_stem, {"checkpoint": args.weights.name})
    run.begin(resolve_trained(reading(data, model.recognizer.config.model.input)).config)
    score_whole(run, lambda *_: None, None)


if __name__ == "__main__":
    main()
