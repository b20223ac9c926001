"""FastConformer-CTC checkpoints of NeMo: a tar archive of settings, weights, and a SentencePiece model.

Nothing is extracted: members are read by name from the archive.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from supernet.audio.specification import SAMPLE_RATE
from supernet.errors import UserError
from supernet.pretrained.checkpoint import Checkpoint
from supernet.pretrained.huggingface import FAMILIES, PARAKEET
from supernet.pretrained.pieces import from_sentencepiece
from supernet.pretrained.tensors import restricted
from supernet.pretrained.vocabulary import Vocabulary, check_rows
from supernet.system.files import MAX_BYTES, parse_yaml
from supernet.text.tokens import BLANK, Tokens

_CONFIG, _WEIGHTS = "model_config.yaml", "model_weights.ckpt"
_ENCODER = {
    "d_model": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "feat_in": "num_mel_bins",
    "conv_kernel_size": "conv_kernel_size",
    "subsampling_conv_channels": "subsampling_conv_channels",
    "xscaling": "scale_input",
    "use_bias": "attention_bias",
}
"""Settings of the encoder, and their names in `transformers`."""
_WANTED: dict[str, dict[str, tuple[Any, ...]]] = {
    "encoder": {
        "subsampling": ("dw_striding",),
        "subsampling_factor": (8,),
        "self_attention_model": ("rel_pos",),
        "conv_norm_type": ("batch_norm",),
        "att_context_size": ([-1, -1],),
        "att_context_style": ("regular",),
        "causal_downsampling": (False,),
        "conv_context_size": (None,),
        "untie_biases": (True,),
        "reduction": (None,),
    },
    "preprocessor": {
        "sample_rate": (SAMPLE_RATE,),
        "window_stride": (0.01,),
        "window": ("hann",),
        "normalize": ("per_feature",),
        "log": (True,),
        "frame_splicing": (1,),
    },
}
"""The values of settings with which an encoder is a FastConformer on the usual features; those that are not
given have them.
"""
_NAMES = (
    (r"^encoder\.pre_encode\.conv\.", "encoder.subsampling.layers."),
    (r"^encoder\.pre_encode\.out\.", "encoder.subsampling.linear."),
    (r"^decoder\.decoder_layers\.0\.", "ctc_head."),
    (r"\.conv\.batch_norm\.", ".conv.norm."),
    (r"\.self_attn\.linear_([qkv])\.", r".self_attn.\1_proj."),
    (r"\.self_attn\.linear_out\.", ".self_attn.o_proj."),
    (r"\.self_attn\.linear_pos\.", ".self_attn.relative_k_proj."),
    (r"\.self_attn\.pos_bias_([uv])$", r".self_attn.bias_\1"),
)
"""Names of tensors, and their names in `transformers`."""


def read(file: Path) -> Checkpoint:
    """Read the checkpoint ``file``, whose tensors are not read yet. Raises ``UserError``."""
    with _opened(file) as archive:
        settings = parse_yaml(_content(file, archive, _CONFIG).decode(errors="replace"), f"{file}: {_CONFIG}")
        encoder, decoder, features = (_section(file, settings, name) for name in _SECTIONS)
        problems = [*_problems(file, "encoder", encoder), *_problems(file, "preprocessor", features)]
        num_rows = decoder.get("num_classes")
        if type(num_rows) is not int or num_rows < 1:
            raise UserError(f"'{file}' must have a decoder with `num_classes`, but has not.")
        tokens, order = _vocabulary(file, archive, settings, num_rows + 1, problems)
        if _member(archive, _WEIGHTS) is None:
            problems.append(f"'{file}' must contain {_WEIGHTS}, but does not.")
    return Checkpoint(
        file.name,
        FAMILIES[PARAKEET],
        PARAKEET,
        {**_architecture(file, encoder), "model_type": PARAKEET},
        _features(features),
        tokens,
        order,
        problems,
        [file],
        partial(_tensors, file),
    )


_SECTIONS = ("encoder", "decoder", "preprocessor")


@contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(file) as archive:
            yield archive
    except (tarfile.TarError, OSError, EOFError) as e:
        reason = " ".join(str(e).split())[:200].rstrip(".")
        raise UserError(f"'{file}' must be an archive as NeMo writes it, but is not: {reason}.") from None


def _member(archive: tarfile.TarFile, name: str) -> tarfile.TarInfo | None:
    """The regular file ``name`` at the top of the archive."""
    found = (one for one in archive if one.isreg() and PurePosixPath(one.name) == PurePosixPath(name))
    return next(found, None)


def _content(file: Path, archive: tarfile.TarFile, name: str) -> bytes:
    member = _member(archive, name)
    if member is None or (opened := archive.extractfile(member)) is None:
        raise UserError(f"'{file}' must contain {name}, but does not.")
    if member.size > MAX_BYTES:
        raise UserError(f"'{file}' must contain a {name} of at most {MAX_BYTES >> 20} MiB, but does not.")
    return opened.read()


def _section(file: Path, settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = settings.get(name)
    if isinstance(section, Mapping):
        target = str(section.get("_target_", ""))
        kind = {"encoder": "ConformerEncoder", "decoder": "ConvASRDecoder"}.get(name, "")
        if target.rpartition(".")[2].endswith(kind):
            return section
        raise UserError(
            f"'{file}' must hold a FastConformer with a CTC head, whose {name} is a {kind}, but holds "
            f"{target[:80] or 'another one'} instead."
        )
    raise UserError(f"'{file}' must have the settings of its {name}, but has none.")


def _problems(file: Path, name: str, section: Mapping[str, Any]) -> list[str]:
    return [
        f"'{file}' must have {name}.{setting} {' or '.join(map(str, values))}, but has "
        f"{str(section[setting])[:40]} instead."
        for setting, values in _WANTED[name].items()
        if setting in section and section[setting] not in values
    ]


def _architecture(file: Path, encoder: Mapping[str, Any]) -> dict[str, Any]:
    found = {new: encoder[old] for old, new in _ENCODER.items() if old in encoder}
    if found.get("subsampling_conv_channels") == -1:
        found["subsampling_conv_channels"] = encoder.get("d_model")
    width, factor = encoder.get("d_model"), encoder.get("ff_expansion_factor", 4)
    if type(width) is not int or type(factor) is not int:
        raise UserError(f"'{file}' must have an encoder with the width `d_model`, but has not.")
    biases = encoder.get("use_bias", True)
    return {**found, "intermediate_size": width * factor, "convolution_bias": biases}


def _features(section: Mapping[str, Any]) -> dict[str, Any]:
    found = {"n_fft": section.get("n_fft") or 512, "preemphasis": section.get("preemph", 0.97)}
    seconds = section.get("window_size", 0.025)
    found["win_length"] = round(seconds * SAMPLE_RATE) if isinstance(seconds, float) else seconds
    return {**found, "feature_size": section.get("features", 80), "hop_length": 160}


def _vocabulary(
    file: Path, archive: tarfile.TarFile, settings: Mapping[str, Any], num_rows: int, problems: list[str]
) -> Vocabulary:
    tokenizer = settings.get("tokenizer")
    try:
        if not isinstance(tokenizer, Mapping):
            return _characters(file, settings, num_rows)
        name = str(tokenizer.get("model_path", "")).removeprefix("nemo:")
        return from_sentencepiece(_content(file, archive, name), num_rows, f"{file}: {name}")
    except UserError as e:
        problems.append(str(e))
        return Tokens((BLANK,)), list(range(num_rows))


def _characters(file: Path, settings: Mapping[str, Any], num_rows: int) -> Vocabulary:
    labels = settings.get("labels") or settings["decoder"].get("vocabulary")
    symbols = dict(enumerate(map(str, labels))) if isinstance(labels, list) else {}
    check_rows(file, {**symbols, len(symbols): BLANK}, num_rows)
    if len({*symbols.values()}) < len(symbols):
        raise UserError(f"'{file}' must have different labels, but some are equal.")
    return Tokens((BLANK, *symbols.values())), [len(symbols), *symbols]


def _tensors(file: Path) -> dict[str, Tensor]:
    with _opened(file) as archive:
        member = _member(archive, _WEIGHTS)
        opened = None if member is None else archive.extractfile(member)
        if opened is None:  # a problem of the checkpoint already
            return {}
        found = restricted(opened, f"{file}: {_WEIGHTS}")
    wanted = {name: x for name, x in found.items() if not name.startswith("preprocessor.")}
    return {_translated(name): x.float() for name, x in wanted.items() if isinstance(x, Tensor)}


def _translated(name: str) -> str:
    for old, new in _NAMES:
        name = re.sub(old, new, name)
    return name
