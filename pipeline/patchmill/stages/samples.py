"""What a stage works on when it was given nothing: the packaged sample, cut as far as the stage needs it."""

from __future__ import annotations

from patchmill.stages.places import SAMPLE, TEMPORARY, TemporaryFolder

_folder = TemporaryFolder()
"""Of the notebook that runs in this process: what it makes for itself lies in one folder."""


def use(folder: TemporaryFolder) -> TemporaryFolder:
    """Put what is made from now on into another folder."""
    global _folder  # noqa: PLW0603
    _folder = folder
    return folder


def place(path: str) -> str:
    """Where a ``temp:`` path of the notebook that runs in this process lies."""
    return _folder.place(path)


def source_or_sample(source: str) -> str:
    """`source`, or where ``sample:`` stands for it, a new store of the packaged photographs in a temporary folder."""
    if source != SAMPLE:
        return source
    import patchmill

    target = _folder.place(f"{TEMPORARY}sample.zarr")
    patchmill.ingest(SAMPLE, target, mode="overwrite")
    return target


def patches_or_sample(source: str) -> str:
    """`source`, or where ``sample:`` stands for it, a new patch set of the photographs in a temporary folder."""
    if source != SAMPLE:
        return source
    import patchmill

    target = _folder.place(f"{TEMPORARY}sample-patches.zarr")
    patchmill.write_patches(source_or_sample(SAMPLE), target, 256, 128, mode="overwrite")
    return target
