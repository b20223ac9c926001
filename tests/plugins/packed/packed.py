"""An example of a reader of one's own: the pretrained phoneme recognizer of the package `hama` 1.7.0, a
Conformer on log-mel features whose convolutions have no norm.

Shapes: N rows, T samples or feature frames, F mel bands, S stream frames, D model dimension, H heads,
K features of a head.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from packed_file import is_packed, read_tensors
from torch import Tensor, nn

from supernet.audio.features import InputName
from supernet.audio.specification import NUM_BANDS, SHIFT, WINDOW
from supernet.encoder_family import Decided, EncoderFamily, PretrainedError
from supernet.model_config import ModelConfig
from supernet.network.branches import Branch, Branches, Call
from supernet.network.frontend import SeparateFrontend
from supernet.network.huggingface.frames import Frames, convolve, frames_of, joined
from supernet.network.options import NoOptions
from supernet.text.tokens import BLANK, Tokens
from supernet.units import Module

SIZES = {"num_layers": 4, "dim": 144, "num_heads": 4, "ffn_dim": 576, "kernel": 31}
VOCABULARY = "g2p_vocab.json"
"""The phonemes, in a file beside that of the weights."""
NAMES = ("ffn1", "attn", "conv", "ffn2")
KINDS = {"attn": "attention", "conv": "convolution"}

_BINS = WINDOW // 2 + 1
_FLOOR = 1e-10
_ROOT = 1.4140625
"""The square root of 2 in half precision, which the package uses."""
_MATRICES = (829, 830, 831, 835, 836, 837)
"""The numbers of the matrices of the first layer; those of the next are 9 higher."""


class Packed(EncoderFamily[NoOptions]):
    """Conformer layers without positions, on samples. The context of rows is ``Frames``."""

    Options = NoOptions
    input: ClassVar[InputName] = "samples-20ms-centered"
    pretrains = True

    @property
    def modules(self) -> tuple[Module, ...]:
        return tuple(Module(name, KINDS.get(name, "feed-forward")) for name in NAMES)

    def frontend(self) -> nn.Module:
        return Centered(self.config.dim)

    def layer(self, number: int, shared: None) -> nn.Module:
        return Layer(self.config)

    def branches(self, layer: Any) -> Branches:
        named = {
            name: Branch(
                getattr(layer, name),
                _call(getattr(layer, name), name),
                getattr(layer, f"{name}_norm"),
                0.5 if name.startswith("ffn") else 1.0,
                attributes=(name, f"{name}_norm"),
            )
            for name in NAMES
            if hasattr(layer, name)
        }
        return Branches(layer, named, layer.norm)

    def rows(self, lengths: Sequence[int], width: int, device: torch.device, dtype: torch.dtype) -> Frames:
        return frames_of(lengths, width, device, dtype)

    @classmethod
    def reads(cls, path: Path) -> bool:
        return bool(is_packed(path))

    @classmethod
    def decide(cls, init: str, known: Mapping[str, Any] | None) -> Decided:
        if Path(init).exists() or known is None:
            cls.weights(init)
        return Decided(settings=SIZES)

    @classmethod
    def weights(cls, init: str) -> Mapping[str, Tensor]:
        """The tensors by their names here; the package numbers those that it folds or transposes."""
        theirs = read_tensors(Path(init))
        try:
            return _renamed(theirs)
        except KeyError as e:
            raise PretrainedError(f"`model.init` must have {e}, but '{init}' has not.") from None

    @classmethod
    def tokens(cls, init: str) -> Tokens:
        """The blank, which is the package's last token, the phonemes, and the boundary of words."""
        file = Path(init).with_name(VOCABULARY)
        try:
            phonemes = [str(symbol) for symbol in json.loads(file.read_text(encoding="utf-8"))["decoder"]]
        except (OSError, ValueError, KeyError, TypeError):
            raise PretrainedError(
                f"`model.init` must have its phonemes beside it, but '{file}' is missing or damaged."
            ) from None
        return Tokens((BLANK, *(symbol.strip() or "<space>" for symbol in phonemes), "<wb>"), "words")


class Centered(SeparateFrontend):
    """Log-mel features of windows centered on multiples of 10 ms, and a convolution of stride 2. Features are
    rounded to half precision, as in the package.
    """

    cosines: Tensor
    sines: Tensor
    bands: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        for name, shape in (
            ("cosines", (_BINS, 1, WINDOW)),
            ("sines", (_BINS, 1, WINDOW)),
            ("bands", (_BINS, NUM_BANDS)),
        ):
            self.register_buffer(name, torch.zeros(shape))
        self.conv = nn.Conv1d(NUM_BANDS, dim, 3, stride=2, padding=1)

    def forward(self, samples_T: Tensor, hidden_T: Tensor | None = None) -> Tensor:
        """The stream ``(S, D)`` of one utterance; masked samples become 0."""
        if hidden_T is not None:
            samples_T = samples_T.masked_fill(hidden_T, 0.0)
        samples_T = F.pad(samples_T, (0, max(0, WINDOW // 2 + 1 - len(samples_T))))
        x_11T = F.pad(samples_T[None, None], (WINDOW // 2, WINDOW // 2), mode="reflect")
        waves = (F.conv1d(x_11T, kernel, stride=SHIFT) for kernel in (self.cosines, self.sines))
        power_T = sum((wave[0].T.square() for wave in waves), torch.zeros(()).to(samples_T))
        features_TF = (power_T @ self.bands).clamp(min=_FLOOR).log().half().to(samples_T)
        x_SD = self.conv(features_TF.T[None])[0].T
        row_SD: Tensor = 0.5 * x_SD * (1 + torch.erf(x_SD / _ROOT))
        return row_SD


class Layer(nn.Module):
    """Four branches, each with a norm, and a final norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.dim
        self.ffn1_norm, self.attn_norm, self.conv_norm, self.ffn2_norm, self.norm = (
            nn.LayerNorm(dim) for _ in range(5)
        )
        self.ffn1, self.ffn2 = (
            nn.Sequential(nn.Linear(dim, config.ffn_dim), nn.SiLU(), nn.Linear(config.ffn_dim, dim))
            for _ in range(2)
        )
        self.attn = Attention(dim, config.num_heads)
        self.conv = Convolution(dim, config.kernel)


class Attention(nn.Module):
    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.heads = num_heads, dim // num_heads
        self.inner, self.outer = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x_NSD: Tensor, frames: Frames) -> Tensor:
        q_NHSK, k_NHSK, v_NHSK = self.inner(x_NSD).unflatten(-1, (3, *self.heads)).permute(2, 0, 3, 1, 4)
        y_NHSK = F.scaled_dot_product_attention(q_NHSK, k_NHSK, v_NHSK, frames.attention_mask(x_NSD))
        return self.outer(joined(y_NHSK))  # type: ignore[no-any-return]


class Convolution(nn.Module):
    """The parts of a Conformer's convolution, which ``convolve`` runs."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.pointwise_conv1 = nn.Conv1d(dim, 2 * dim, 1)
        self.depthwise_conv = nn.Conv1d(dim, dim, kernel, padding="same", groups=dim)
        self.activation = nn.SiLU()
        self.pointwise_conv2 = nn.Conv1d(dim, dim, 1)


def _call(module: Any, name: str) -> Call:
    match name:
        case "attn":
            return module  # type: ignore[no-any-return]
        case "conv":
            return lambda x_NSD, frames: convolve(module, nn.Identity(), x_NSD, frames)
    return lambda x_NSD, frames: module(x_NSD)


def _renamed(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = {
        "frontend.cosines": theirs["stft_real_kernel"],
        "frontend.sines": theirs["stft_imag_kernel"],
        "frontend.bands": theirs["mel_fb"],
        "frontend.conv.weight": theirs["onnx::Conv_801"],
        "frontend.conv.bias": theirs["onnx::Conv_802"],
    }
    for layer in range(SIZES["num_layers"]):
        named = _layer(theirs, f"acoustic_model.model.blocks.{layer}.", layer)
        found |= {f"encoder.layers.{layer}.{name}": x for name, x in named.items()}
    for name in ("weight", "bias"):
        x = theirs[f"acoustic_model.model.proj.{name}"]
        head = x[..., 0] if x.dim() == 3 else x  # a convolution of width 1
        found[f"heads.shared.{name}"] = torch.cat([head[-1:], head[:-1]])  # the blank becomes the first
    return found


def _layer(theirs: Mapping[str, Tensor], prefix: str, layer: int) -> dict[str, Tensor]:
    """The tensors of one layer by their names here."""
    names = ("ffn1.0", "ffn1.2", "attn.inner", "attn.outer", "ffn2.0", "ffn2.2")
    biases = ("ffn1.fc1.bias", "ffn1.fc2.bias", "attn.in_proj_bias", "attn.out_proj.bias", "ffn2.fc1.bias")
    found = {}
    for name, number, bias in zip(names, _MATRICES, (*biases, "ffn2.fc2.bias"), strict=True):
        found[f"{name}.weight"] = theirs[f"onnx::MatMul_{number + 9 * layer}"].T
        found[f"{name}.bias"] = theirs[prefix + bias]
    for kind, number in (("weight", 804), ("bias", 805)):
        found[f"conv.depthwise_conv.{kind}"] = theirs[f"onnx::Conv_{number + 3 * layer}"]
        for part in ("1", "2"):
            found[f"conv.pointwise_conv{part}.{kind}"] = theirs[f"{prefix}conv.pointwise{part}.{kind}"]
        for name in ("ffn1", "conv", "ffn2"):
            found[f"{name}_norm.{kind}"] = theirs[f"{prefix}{name}.norm.{kind}"]
        for name in ("attn_norm", "norm"):
            found[f"{name}.{kind}"] = theirs[f"{prefix}{name}.{kind}"]
    return found
