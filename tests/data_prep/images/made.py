"""Files of pictures for tests, and a preparation of them in this process."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_prep import run as text_run
from data_prep.config import TokenizerConfig
from data_prep.contract.receipt import Receipt
from data_prep.images import run
from data_prep.images.config import ImagesConfig
from tests.data_prep.helpers import Here

TOKENIZER = {"kind": "bpe", "vocabulary_size": 400}


def photograph(seed: int, width: int = 40, height: int = 32) -> Image.Image:
    """A picture of soft blobs that differs for every seed."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def packed(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """The file of a picture."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write(path: Path, content: bytes | str) -> Path:
    """A file, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def prepared(monkeypatch: pytest.MonkeyPatch, folder: Path, seed: int = 1, **images: Any) -> Receipt:
    """Prepare in this process; `Here.done` has the steps of the parts that were done."""
    monkeypatch.setattr(text_run, "Cluster", Here)
    Here.done.clear()
    config = ImagesConfig.model_validate(images)
    return run.prepare(config, TokenizerConfig.model_validate(TOKENIZER), seed, folder, lambda line: None)
