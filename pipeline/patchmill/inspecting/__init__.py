"""What is in a source before it is cut: sizes, channels, what is not measured, and exact statistics of every pixel."""

from __future__ import annotations

from patchmill.inspecting.entry import inspect
from patchmill.inspecting.histograms import Histogram
from patchmill.inspecting.report import ChannelReport, SourceReport, VariableReport

__all__ = ["ChannelReport", "Histogram", "SourceReport", "VariableReport", "inspect"]
