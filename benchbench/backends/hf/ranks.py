"""The processes that train one model together: the first scores it, the others wait and hear how it went."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch.distributed as dist

from benchbench.core.errors import BenchbenchError

PATIENCE = timedelta(days=30)
"""How long the others wait: scoring takes longer than the timeout of a training's own calls. Where the first process
dies they notice at once, its connections close."""

T = TypeVar("T")


class Ranks:
    """All processes of a training. Each method is called by every process at the same point of it.

    A process that trains alone waits for nobody.
    """

    def __init__(self) -> None:
        alone = not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1
        # A group of its own, on the processors: with that of the training a GPU would be busy waiting.
        self._group = None if alone else dist.new_group(backend="gloo", timeout=PATIENCE)
        self.is_first = alone or dist.get_rank() == 0

    def first(self, work: Callable[[], T]) -> T:
        """What `work` gives in the first process, which alone does it, in all of them.

        What it raises is raised in all: the first process's BenchbenchError as it is, anything else as a RuntimeError
        that says what it was.
        """
        if self._group is None:
            return work()
        if not self.is_first:
            return cast("T", self._tell(None))
        try:
            found = work()
        except BenchbenchError as error:
            self._tell((None, type(error), str(error)))
            raise
        except BaseException as error:
            self._tell((None, RuntimeError, f"the first process of the training failed while it scored: {error!r}"))
            raise
        self._tell((found, None, ""))
        return found

    def _tell(self, told: tuple[Any, type[Exception] | None, str] | None) -> Any:
        box = [told]
        dist.broadcast_object_list(box, src=0, group=self._group)
        found, kind, why = cast("tuple[Any, type[Exception] | None, str]", box[0])
        if kind is not None and not self.is_first:
            raise kind(why)
        return found
