"""TensorBoard: an event file that always holds the whole curves.

A point that comes later than one of a higher step cannot be appended: TensorBoard takes a step that goes back for a
restart and forgets what lay beyond. So each time all curves are written again, by step, into a new file, whose first
event says that what was read before it counts no more. The file before it stays until the next time: a TensorBoard that
is running looks at its end once more.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.core.errors import ArgumentError
from benchbench.runner.logs.loggers import Batch, Place, need
from benchbench.runner.logs.rows import PREFIX
from benchbench.store.files import make_folder, remove_strays, write_whole
from benchbench.store.names import folder_name

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

NAMES = "events.out.tfevents.*.benchbench.*"
"""Our event files in a folder. TensorBoard reads those whose name has `tfevents` in it, in the order of their names."""
Points = dict[int, dict[str, tuple[float, float]]]
"""Step → curve → (value, time in seconds)."""


class TensorBoardLogger:
    """WHERE is a log folder, the training's own for instance; each series is a run of its own below it."""

    def __init__(self, place: Place, output: Path) -> None:
        need(place, "tensorboard")
        self._root = (output / "tensorboard" if place.where is None else Path(place.where)).expanduser().absolute()
        self.address = str(self._root)
        if place.run is not None:
            raise ArgumentError(
                f"--log {place}: a run of TensorBoard is a folder. Give the folder alone: "
                f"--log tensorboard:{self._root / place.run}"
            )
        taken = next((path for path in (self._root, *self._root.parents) if path.exists()), self._root)
        if not taken.is_dir():
            raise ArgumentError(f"--log {place}: {taken} is a file; a folder was expected.")

    def run_for(self, series: str, before: str | None) -> str:
        """See Logger: the folder's name below WHERE."""
        return before or f"{PREFIX}/{folder_name(series)}"

    def log(self, batch: Batch) -> bool:
        """See Logger. What is there already is written as it was read, so that nothing is there twice."""
        folder = self._root / batch.run
        make_folder(folder)
        remove_strays(folder, below=False)
        old = sorted(folder.glob(NAMES))
        points: Points = {}
        for file in old[-1:]:
            _add(points, _events_of(file))
        for row in batch.rows:
            seconds = row.finished.timestamp()
            points.setdefault(row.step, {}).update({name: (value, seconds) for name, value in row.values.items()})
        _write(folder, points, old)
        for file in old[:-1]:
            file.unlink()
        return True


def _events_of(file: Path) -> Iterator[Event]:
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    found: Iterator[Event] = LegacyEventFileLoader(str(file)).Load()
    return found


def _add(points: Points, events: Iterator[Event]) -> None:
    for event in events:
        for value in event.summary.value:
            points.setdefault(event.step, {})[value.tag] = (value.simple_value, event.wall_time)


def _write(folder: Path, points: Points, old: Sequence[Path]) -> None:
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    now = time.time()
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    events = [
        Event(wall_time=now, file_version="brain.Event:2"),
        Event(wall_time=now, step=0, session_log=SessionLog(status=SessionLog.START)),
    ]
    for step, curves in sorted(points.items()):
        for name, (value, seconds) in sorted(curves.items()):
            summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
            events.append(Event(wall_time=seconds, step=step, summary=summary))
    for event in events:
        writer.write(event.SerializeToString())
    write_whole(folder / "next", buffer.getvalue())
    (folder / "next").rename(folder / _name_after(old, int(now)))


def _name_after(old: Sequence[Path], now: int) -> str:
    """A name that comes after those of the old files, also where the clock was put back."""
    last = [file.name.split(".") for file in old[-1:]]
    seconds, count = max([(now, 0), *((int(parts[3]), int(parts[-1]) + 1) for parts in last)])
    return f"events.out.tfevents.{seconds:010d}.benchbench.{count:06d}"
