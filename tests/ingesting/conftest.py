"""Ingest into a temporary folder and look at the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import patchmill
from ingesting.looking import Array, images_of
from patchmill.ingesting import IngestReport


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def ingest(tmp_path: Path) -> Iterator[Callable[..., tuple[IngestReport, list[Array]]]]:
    """Ingest, and give back each image's own pixels as zarr-python reads them; nothing else may be left around."""
    target = tmp_path / "made" / "source.zarr"

    def run(images: Any, **options: Any) -> tuple[IngestReport, list[Array]]:
        report = patchmill.ingest(images, target, **{"mode": "overwrite", **options})
        return report, images_of(target)

    yield run
    if target.parent.exists():
        assert {path.name for path in target.parent.iterdir()} <= {"source.zarr"}
