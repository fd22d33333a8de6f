"""A config that is not there, and the one that was probably meant."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath

from patchmill.errors import ConfigError


@contextmanager
def of_config(config: str) -> Iterator[None]:
    """Inside, an error about a config that is not there names the nearest one."""
    try:
        yield
    except ConfigError:
        check_config(config)
        raise


def check_config(config: str) -> None:
    """Refuse a config that is not there.

    Raises
    ------
    ConfigError
        With the nearest config, or with those that there are.
    """
    from patchmill.stages.around import check_place, configs_around
    from patchmill.stages.declared import nearest
    from patchmill.stages.packaged import PACKAGED

    along = _along()
    if config.startswith(PACKAGED) and config not in along:
        near = nearest(config.removeprefix(PACKAGED), [name.removeprefix(PACKAGED) for name in along])
        near = near.replace("mean ", f"mean {PACKAGED}")
        raise ConfigError(f"there is no {config}{near or '; there are ' + ', '.join(along)}")
    meant = [each for each in (*configs_around(), *along) if config in {PurePath(each).stem, each.partition(":")[2]}]
    if meant and not os.path.exists(config):
        raise ConfigError(f"there is no {config}; did you mean {meant[0]}?")
    check_place(config)


def _along() -> list[str]:
    """Names of the configs that come along."""
    from patchmill.stages.packaged import PACKAGED, packaged_folder

    names = sorted(os.listdir(packaged_folder("configs")))
    return [f"{PACKAGED}{name.removesuffix('.yaml')}" for name in names if name.endswith(".yaml")]
