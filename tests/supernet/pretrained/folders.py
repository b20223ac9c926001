"""Small checkpoints with random weights, written by `transformers` itself."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from torch import Tensor, nn
from transformers.audio_utils import mel_filter_bank
from transformers.models.parakeet.feature_extraction_parakeet import ParakeetFeatureExtractor

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "|"]
LETTERS = "abcDE"
SMALL = {
    "vocab_size": len(SPECIAL) + len(LETTERS),
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [12] * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "num_feat_extract_layers": 7,
    "pad_token_id": 0,
}
NUM_PIECES = 25
STABLE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}


@dataclass(frozen=True)
class Variant:
    """An architecture, and its differences from the default small one."""

    model: str
    changes: dict[str, Any] = field(default_factory=dict)
    normalizes: bool = True
    masks: bool = False
    """Whether its feature extractor returns attention masks."""
    leaks: bool = False
    """Whether padding affects valid frames in `transformers` in spite of a mask."""


PARAKEET = {
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "subsampling_conv_channels": 8,
}
VARIANTS = {
    "parakeet": Variant("Parakeet", masks=True),
    "parakeet-no-biases": Variant("Parakeet", {"attention_bias": False, "scale_input": False}, masks=True),
    "wav2vec2-base": Variant("Wav2Vec2"),
    "wav2vec2-large": Variant("Wav2Vec2", STABLE, masks=True),
    "wav2vec2-post-norm-layer-norm": Variant("Wav2Vec2", {"feat_extract_norm": "layer"}, masks=True),
    "wav2vec2-adapters": Variant("Wav2Vec2", {**STABLE, "adapter_attn_dim": 4}, masks=True),
    "hubert-base": Variant("Hubert", {}, normalizes=False),
    "hubert-large": Variant("Hubert", STABLE, masks=True),
    "hubert-batch-norm": Variant("Hubert", {**STABLE, "conv_pos_batch_norm": True}, masks=True, leaks=True),
    "hubert-no-projection-norm": Variant("Hubert", {"feat_proj_layer_norm": False}),
    "wavlm-base": Variant("WavLM", {"num_buckets": 16, "max_bucket_distance": 20}),
    "conformer-relative": Variant("Wav2Vec2Conformer", masks=True, leaks=True),
    "conformer-rotary": Variant(
        "Wav2Vec2Conformer",
        {"position_embeddings_type": "rotary", "hidden_act": "swish"},
        masks=True,
        leaks=True,
    ),
    "conformer-no-positions": Variant("Wav2Vec2Conformer", {"position_embeddings_type": None}, leaks=True),
    "wavlm-large": Variant("WavLM", {**STABLE, "num_buckets": 16, "max_bucket_distance": 20}, masks=True),
}


BERT = {
    "conv_depthwise_kernel_size": 5,
    "left_max_position_embeddings": 6,
    "right_max_position_embeddings": 3,
}
VARIANTS |= {
    "w2v-bert": Variant("Wav2Vec2Bert", BERT, masks=True),
    "w2v-bert-rotary": Variant("Wav2Vec2Bert", {**BERT, "position_embeddings_type": "rotary"}, masks=True),
    "w2v-bert-relative": Variant(
        "Wav2Vec2Bert", {**BERT, "position_embeddings_type": "relative"}, masks=True
    ),
}

TEXTS = ["to eat a date", "tea at ten", "note the tone", "a neat net", "ten teens ate"]


def configuration(variant: Variant) -> Any:
    """The configuration of a small model."""
    if variant.model == "Parakeet":
        encoder = {**PARAKEET, **variant.changes}
        return transformers.ParakeetCTCConfig(
            vocab_size=NUM_PIECES, pad_token_id=NUM_PIECES - 1, encoder_config=encoder
        )
    small = {k: v for k, v in SMALL.items() if variant.model != "Wav2Vec2Bert" or "conv" not in k}
    return getattr(transformers, f"{variant.model}Config")(**{**small, **variant.changes})


def theirs(variant: Variant) -> Any:
    """The model in `transformers`, with random norms and biases."""
    config = configuration(variant)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = getattr(transformers, f"{variant.model}ForCTC")(config)
        stir(model)
    return model.eval()


@torch.no_grad()
def stir(model: nn.Module) -> None:
    """Randomize weights that are initialized to constants, and make the output depend on all weights."""
    for name, x in [*model.named_parameters(), *model.named_buffers()]:
        if name.endswith("running_var"):
            x.uniform_(0.5, 2.0)
        elif x.is_floating_point() and not name.endswith("inv_freq"):
            x.add_(torch.randn_like(x) * (0.1 if x.dim() < 2 else 0.05))


def write(folder: Path, variant: Variant) -> Any:
    """Write a checkpoint, and return the model."""
    model = theirs(variant)
    model.save_pretrained(folder)
    if variant.model == "Parakeet":
        write_pieces(folder)
    else:
        write_characters(folder, variant)
    return model


def write_pieces(folder: Path) -> None:
    """Write a tokenizer of pieces, and the settings of the feature extractor, which would need librosa."""
    tokenizer = tokenizers.SentencePieceBPETokenizer()
    tokenizer.train_from_iterator(TEXTS, vocab_size=NUM_PIECES - 1, min_frequency=1, show_progress=False)
    fast = transformers.ParakeetTokenizerFast(
        tokenizer_object=tokenizer._tokenizer, unk_token="<unk>", pad_token="<pad>"
    )
    assert len(fast) == NUM_PIECES
    fast.save_pretrained(folder)
    settings = {"feature_size": 80, "hop_length": 160, "n_fft": 512, "win_length": 400, "preemphasis": 0.97}
    (folder / "preprocessor_config.json").write_text(json.dumps({**settings, "sampling_rate": 16_000}))


def write_characters(folder: Path, variant: Variant) -> None:
    """Write the tokenizer and the feature extractor."""
    vocabulary = {symbol: i for i, symbol in enumerate([*SPECIAL, *LETTERS])}
    (folder / "words.json").write_text(json.dumps(vocabulary))
    tokenizer = transformers.Wav2Vec2CTCTokenizer(str(folder / "words.json"))
    if variant.model == "Wav2Vec2Bert":
        extractor = transformers.SeamlessM4TFeatureExtractor()
        transformers.Wav2Vec2BertProcessor(extractor, tokenizer).save_pretrained(folder)
    else:
        extractor = transformers.Wav2Vec2FeatureExtractor(
            return_attention_mask=variant.masks, do_normalize=variant.normalizes
        )
        transformers.Wav2Vec2Processor(extractor, tokenizer).save_pretrained(folder)
    (folder / "words.json").unlink()


def rewrite_as_release_5(folder: Path) -> None:
    """Change the files of a checkpoint to those that release 5 of `transformers` writes: the settings of the
    feature extractor are with those of the processor, and no file names the special tokens alone.
    """
    extractor = json.loads((folder / "preprocessor_config.json").read_text())
    name = extractor.pop("processor_class", "ParakeetProcessor")
    processor = {"feature_extractor": extractor, "processor_class": name}
    if name == "ParakeetProcessor":
        processor |= {"blank_token": "<blank>", "decoder_type": None}
    (folder / "processor_config.json").write_text(json.dumps(processor))
    for old in ("preprocessor_config.json", "special_tokens_map.json"):
        (folder / old).unlink()
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer |= {"backend": "tokenizers" if (folder / "tokenizer.json").is_file() else "custom"}
    tokenizer["tokenizer_class"] = tokenizer["tokenizer_class"].removesuffix("Fast")
    for old in ("clean_up_tokenization_spaces", "extra_special_tokens"):
        tokenizer.pop(old, None)
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "transformers_version": "5.17.0"}))


def speech(lengths: list[int]) -> list[Tensor]:
    """Random samples within the range of recordings."""
    rng = torch.Generator().manual_seed(0)
    return [torch.rand(n, generator=rng) - 0.4 for n in lengths]


@torch.no_grad()
def their_log_probs(folder: Path, model: Any, recordings: list[Tensor]) -> list[Tensor]:
    """The log-probabilities of the complete pipeline of `transformers`, in the order of its head."""
    arrays = [x.numpy() for x in recordings]
    inputs = feature_extractor(folder, model)(arrays, sampling_rate=16_000, padding=True, return_tensors="pt")
    out, lengths = model(**inputs).logits.log_softmax(-1), [len(x) for x in recordings]
    if model.config.model_type == "parakeet_ctc":
        frames = [n // 160 for n in lengths]
        lengths = model._get_subsampling_output_length(torch.tensor(frames)).tolist()
    elif model.config.model_type == "wav2vec2-bert":
        lengths = [((n - 400) // 160 + 1) // 2 for n in lengths]
    else:
        lengths = [(n - 400) // 320 + 1 for n in lengths]
    return [row[:n] for row, n in zip(out, lengths, strict=True)]


def feature_extractor(folder: Path, model: Any) -> Any:
    """The feature extractor of a checkpoint."""
    if model.config.model_type != "parakeet_ctc":
        return transformers.AutoFeatureExtractor.from_pretrained(folder)
    # Its constructor gets the filters from librosa, although the library can compute them itself.
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    extractor = object.__new__(ParakeetFeatureExtractor)
    names = ("feature_size", "sampling_rate")
    transformers.SequenceFeatureExtractor.__init__(
        extractor, padding_value=0.0, **{n: settings[n] for n in names}
    )
    for name in ("hop_length", "n_fft", "win_length", "preemphasis"):
        setattr(extractor, name, settings[name])
    filters = mel_filter_bank(257, 80, 0.0, 8000.0, 16_000, norm="slaney", mel_scale="slaney")
    extractor.mel_filters = torch.from_numpy(filters.T).float()
    return extractor
