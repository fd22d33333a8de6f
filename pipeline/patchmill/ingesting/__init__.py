"""Image files of any common kind, as one canonical store that everything else starts from."""

from __future__ import annotations

from patchmill.ingesting.entry import ingest
from patchmill.ingesting.report import IngestReport

__all__ = ["IngestReport", "ingest"]
