"""Write a small wav2vec 2.0 whose convolutions have learned to predict log-mel features, to fine-tune.

    python -m tests.benchmarks.own_checkpoint an4/ --out untrained

No pretrained weights need to be downloaded: what a pretrained encoder knows about sound is learned here in
minutes, by regression, from the recordings of a corpus with the table manifest.csv.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import soundfile
import torch
import transformers
from torch import Tensor, nn
from torchaudio.compliance import kaldi

RATE, BANDS = 16_000, 40
CROP = 2 * RATE
CONFIGURATION: dict[str, Any] = {
    "vocab_size": 32,
    "hidden_size": 96,
    "num_hidden_layers": 8,
    "num_attention_heads": 4,
    "intermediate_size": 384,
    "conv_dim": [48] * 7,
    "num_conv_pos_embeddings": 32,
    "num_conv_pos_embedding_groups": 8,
    "do_stable_layer_norm": True,
    "hidden_dropout": 0.05,
    "activation_dropout": 0.0,
    "attention_dropout": 0.0,
    "feat_proj_dropout": 0.0,
    "pad_token_id": 0,
}


def batches(corpus: Path, size: int, seed: int) -> Iterator[Tensor]:
    """Crops of two seconds, normalized, of random training recordings (B, T)."""
    rng = torch.Generator().manual_seed(seed)
    with (corpus / "manifest.csv").open(encoding="utf-8") as file:
        paths = [corpus / row["path"] for row in csv.DictReader(file) if row["split"] == "train"]
    recordings = [torch.from_numpy(soundfile.read(path, dtype="float32")[0]) for path in paths]
    long = [x for x in recordings if len(x) >= CROP]
    while True:
        chosen = [long[i] for i in torch.randint(len(long), (size,), generator=rng)]
        starts = [int(torch.randint(len(x) - CROP + 1, (), generator=rng)) for x in chosen]
        crops_BT = torch.stack([x[start : start + CROP] for x, start in zip(chosen, starts, strict=True)])
        yield (crops_BT - crops_BT.mean(1, keepdim=True)) / (crops_BT.std(1, keepdim=True) + 1e-5)


def log_mel(samples_T: Tensor) -> Tensor:
    """Normalized log-mel features (S, F) of the windows that the convolutions see."""
    features_SF = kaldi.fbank(samples_T[None] * 1000, num_mel_bins=BANDS, frame_shift=20.0, dither=0.0)
    found: Tensor = (features_SF - features_SF.mean(0)) / (features_SF.std(0) + 1e-2)
    return found


def learn(model: Any, corpus: Path, steps: int) -> None:
    """Train the convolutions and their projection to predict the features of each frame."""
    encoder = model.wav2vec2
    head = nn.Linear(CONFIGURATION["hidden_size"], BANDS)
    parts = nn.ModuleList([encoder.feature_extractor, encoder.feature_projection, head])
    optimizer = torch.optim.AdamW(parts.parameters(), lr=3e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for step, samples_BT in zip(range(steps), batches(corpus, 16, 0), strict=False):
        wanted_BSF = torch.stack([log_mel(row_T) for row_T in samples_BT])
        stream_BSD, _ = encoder.feature_projection(encoder.feature_extractor(samples_BT).transpose(1, 2))
        loss = nn.functional.mse_loss(head(stream_BSD), wanted_BSF)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parts.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 49:
            print(f"update {step + 1}: error {float(loss.detach()):.3f} (a constant has 1)", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    args = parser.parse_args()
    torch.manual_seed(0)
    model = transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(**CONFIGURATION))
    learn(model.train(), args.corpus, args.steps)
    model.save_pretrained(args.out)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(args.out)
    symbols = ["<pad>", "|", *(f"<{i}>" for i in range(CONFIGURATION["vocab_size"] - 2))]
    words = "".join(f', "{symbol}": {i}' for i, symbol in enumerate(symbols))
    (args.out / "vocab.json").write_text(f"{{{words[2:]}}}", encoding="utf-8")


if __name__ == "__main__":
    main()
