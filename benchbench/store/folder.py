"""One run's folder: which attempt to go on with, what is done in it, how a task is sealed and the run finished."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from benchbench.core.errors import DamageError, StoreError
from benchbench.core.record import PlanRecord, RunRecord
from benchbench.core.types import Item, Json
from benchbench.store.extra_scores import items_with_added, with_added_rows
from benchbench.store.files import (
    REPAIR,
    fsync_folder,
    inside,
    make_folder,
    os_errors,
    read_json,
    remove_copied,
    remove_strays,
    replacing,
    sha256_of,
    write_copy,
    write_json,
    write_whole,
)
from benchbench.store.lines import LineLog, encode_line, read_lines
from benchbench.store.lock import RunLock
from benchbench.store.names import completed, folder_name, is_former
from benchbench.store.part_items import PartItems, held_or_read
from benchbench.store.table import (
    encode_part,
    item_from_line,
    item_to_line,
    join_parts,
    read_part,
    read_table,
    reused_in,
    sort_items,
)

PART = "part-00000.parquet"
LIVE = "live.jsonl"
WINDOW_PARTS = f"window-{5 * '[0-9]'}.parquet"
"""What is done of a large task whose part is not made yet."""


Influence = Callable[[Sequence[Item]], Mapping[str, Sequence[float | None]]]
"""Items → score columns that rest on all of them."""


class RunFolder:
    """Reads one run folder. Nothing here writes; see `RunWriter`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._parts: dict[str, str] | None = None
        self._sound: dict[str, tuple[int, int]] = {}
        """Name of a task's folder → time and size of its part when it was found to be what was written."""

    @property
    def name(self) -> str:
        """`model/run`: runs of the same weights under several names share their id, so that it alone is not enough."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def finished(self) -> bool:
        """run.json is there, which is written last."""
        return (self.path / "run.json").is_file()

    @property
    def is_planned(self) -> bool:
        """plan.json is there, which is written first."""
        return (self.path / "plan.json").is_file()

    def forget(self) -> None:
        """What was read of parts and record counts no more: files were changed."""
        self._parts = None
        self._sound.clear()

    def plan(self) -> PlanRecord:
        """plan.json: what the run is. StoreError if it is missing or damaged."""
        path = self.path / "plan.json"
        return PlanRecord.from_json(completed(read_json(path)), str(path))

    def record(self) -> RunRecord:
        """run.json of a finished run, with metrics that were added later (`extra_scores`).

        StoreError if the run is not finished or a file is damaged.
        """
        return with_added_rows(self.own_record(), self.path)

    def own_record(self) -> RunRecord:
        """The record as the run wrote it, without metrics that were added later. StoreError as `record`."""
        if not self.finished:
            raise StoreError(f"the run {self.path} is not finished; the command that started it goes on with it.")
        path = self.path / "run.json"
        record = RunRecord.from_json(completed(read_json(path)), str(path))
        self._parts = dict(record.provenance.parts)
        return record

    def is_of_former_version(self) -> bool:
        """run.json was written by a version that did not name the model's series. StoreError if it is damaged."""
        return is_former(read_json(self.path / "run.json"))

    def log(self) -> Iterator[dict[str, Json]]:
        """The events of log.jsonl, oldest first."""
        return read_lines(self.path / "log.jsonl")

    def parts(self) -> Mapping[str, str]:
        """Name of a task's folder → sha256 of its part, as run.json says if it was read, or else the log."""
        if self._parts is None:
            sealed = [event for event in self.log() if event.get("event") == "sealed"]
            self._parts = {folder_name(str(event.get("task"))): str(event.get("sha256")) for event in sealed}
        if not self._parts and self.finished:
            with suppress(StoreError):
                self.own_record()
        return self._parts

    def tasks(self) -> list[str]:
        """Names of the folders of tasks that have items on disk, or had them when the run was finished."""
        try:
            found = {folder.name for folder in (self.path / "items").iterdir() if folder.is_dir()}
        except FileNotFoundError:
            found = set()
        except OSError as error:
            raise StoreError(f"cannot list {self.path / 'items'}: {error.strerror}.") from error
        return sorted(found | (self.parts().keys() if self.finished else set()))

    def task_folder(self, task: str) -> Path:
        """Where the task's items lie. DamageError if a link leads out of the run there."""
        return inside(self.path, "items", folder_name(task))

    def is_sealed(self, task: str) -> bool:
        """The task is done: its items are in a parquet part."""
        return (self.task_folder(task) / PART).is_file()

    def part(self, task: str) -> Path:
        """The parquet file with the task's items. DamageError if it is missing or not what was written."""
        name, path = folder_name(task), self.task_folder(task) / PART
        with os_errors(path, "read"):
            try:
                status = path.stat()
            except FileNotFoundError:
                raise DamageError(f"{path} is missing; the run folder is damaged.{REPAIR}") from None
            expected, seen = self.parts().get(name), (status.st_mtime_ns, status.st_size)
            if expected is not None and self._sound.get(name) != seen:
                if sha256_of(path) != expected:
                    raise DamageError(f"{path} is damaged: its content is not that of its checksum.{REPAIR}")
                self._sound[name] = seen
        return path

    def items(self, task: str) -> list[Item]:
        """The task's items so far, sorted: those of its part, or else of its windows and of live.jsonl (the last
        line of each doc).

        DamageError if the part is missing, or not what was written.
        """
        own = self.own_items(task)
        return items_with_added(own, self.path, task) if self.is_sealed(task) else own

    def own_items(self, task: str) -> list[Item]:
        """The items as the run wrote them, without scores that were added later. DamageError as `items`."""
        if self.is_sealed(task) or (self.finished and folder_name(task) in self.parts()):
            return read_part(self.part(task))
        windows = (self.window_part(task, number) for number in self.windows(task))
        done = [item for path in windows for item in read_part(path)] + [item for item, _ in self.live(task)]
        return sort_items({(item.doc_id, item.prompt_name): item for item in done}.values())

    def sealed_items(self, task: str) -> Sequence[Item]:
        """The items of a sealed task as the run made them, sorted; those of a large one are not held, but read."""
        return held_or_read(self.part(task))

    def has_window(self, task: str, number: int) -> bool:
        """This window of a large task is finished."""
        return self.window_path(task, number).is_file()

    def window(self, task: str, number: int) -> list[tuple[Item, bool]]:
        """As `live`, of a finished window of a large task; empty if it is not finished."""
        if not self.has_window(task, number):
            return []
        reused = reused_in(path := self.window_part(task, number))
        return [(item, item.doc_id in reused) for item in read_part(path)]

    def windows(self, task: str) -> list[int]:
        """Numbers of the finished windows of a large task."""
        return sorted(int(path.stem[-5:]) for path in self.task_folder(task).glob(WINDOW_PARTS))

    def window_part(self, task: str, number: int) -> Path:
        """The parquet file of a finished window. DamageError if it was never written so (a kill may keep an older)."""
        path, place = self.window_path(task, number), {"event": "window", "task": folder_name(task), "number": number}
        written = {event.get("sha256") for event in self.log() if place.items() <= event.items()}
        with os_errors(path, "read"):
            if written and sha256_of(path) not in written:
                raise DamageError(f"{path} is damaged: its content is not that of its checksum.{REPAIR}")
        return path

    def window_path(self, task: str, number: int) -> Path:
        """Where the items of a window of a large task lie until the task is done."""
        return self.task_folder(task) / f"window-{number:05}.parquet"

    def has_failures(self, task: str) -> bool:
        """Docs of a sealed task failed. DamageError as `items`."""
        column = read_table(self.part(task), ["failure"]).column("failure")
        return column.null_count < len(column)

    def live(self, task: str) -> list[tuple[Item, bool]]:
        """(item, was reused from another run) for each doc in live.jsonl, sorted."""
        found: dict[tuple[int, str], tuple[Item, bool]] = {}
        for line in read_lines(self.task_folder(task) / LIVE):
            with suppress(KeyError, TypeError, ValueError):
                item = item_from_line(line)
                found[item.doc_id, item.prompt_name] = (item, bool(line.get("reused", False)))
        return [found[key] for key in sorted(found)]


@dataclass(frozen=True, slots=True, eq=False)
class FinishedRun:
    """A finished run, read."""

    folder: RunFolder
    record: RunRecord

    @property
    def name(self) -> str:
        """`model/run`, from the results folder: the same wherever that lies."""
        return self.folder.name

    @property
    def is_imported(self) -> bool:
        """Its numbers were made elsewhere."""
        return self.record.origin is not None

    @property
    def finished(self) -> str:
        """When, ISO 8601; empty if not known."""
        return self.record.provenance.finished or ""


class RunWriter(RunFolder):
    """Writes one run folder while holding its lock. Close it (or use `with`) to let go."""

    def __init__(self, path: Path, plan: PlanRecord) -> None:
        """Takes the lock, clears what a killed writer left half-written, and writes plan.json if it is missing.

        StoreError if another process holds the run or the folder cannot be written.
        """
        super().__init__(path)
        make_folder(path)
        self._lock = RunLock(path)
        try:
            remove_strays(path)
            self.resumed = self.is_planned
            if not self.resumed:
                write_json(path / "plan.json", plan.to_json(), keep_copy=True)
                fsync_folder(path.parent)
            self._was_finished = self.finished
            self._events: list[Mapping[str, Json]] = []
            """What happened to a finished run. It is written only if the run's results become others by it."""
            self._log = LineLog(path / "log.jsonl")
        except BaseException:
            self._lock.close()
            raise

    def note(self, event: Mapping[str, Json]) -> None:
        """Adds one event to log.jsonl; of a finished run later, if at all."""
        if self._was_finished:
            self._events.append(event)
        else:
            self._log.append(event)

    def log(self) -> Iterator[dict[str, Json]]:
        """See RunFolder; what is not yet written among them."""
        yield from super().log()
        yield from map(dict, self._events)

    def open_task(self, task: str) -> LiveLog:
        """The task's live.jsonl, opened for appending."""
        make_folder(self.task_folder(task))
        return LiveLog(LineLog(self.task_folder(task) / LIVE))

    def seal(self, task: str, items: list[Item]) -> None:
        """Turns the task's items into its parquet part; after that live.jsonl is gone."""
        data = encode_part(items)
        self._remember(task, hashlib.sha256(data).hexdigest())
        write_whole(self.task_folder(task) / PART, data)
        self.drop_live(task)

    def seal_window(self, task: str, number: int, items: Sequence[Item], reused: Collection[int]) -> None:
        """Writes the items of one window of a large task; the docs `reused` were taken over from other runs.

        After that live.jsonl is gone, unless the window was finished before: then it may hold items of a later one.
        """
        path = self.window_path(task, number)
        again, data = path.is_file(), encode_part(items, reused, for_now=True)
        digest = hashlib.sha256(data).hexdigest()
        self.note({"event": "window", "task": folder_name(task), "number": number, "sha256": digest})
        write_whole(path, data)
        if not again:
            self.drop_live(task)

    def seal_windows(self, task: str, count: int, influence: Influence) -> Sequence[Item]:
        """Makes one part of the windows, with the columns that `influence` gives for all items; returns these."""
        parts, path = [self.window_part(task, number) for number in range(count)], self.task_folder(task) / PART
        added = influence(PartItems(parts))
        with replacing(path) as target:
            join_parts(parts, target, added)
            self._remember(task, sha256_of(target))
        self.drop_live(task)
        return self.sealed_items(task)

    def _remember(self, task: str, digest: str) -> None:
        """Notes the sha256 of a part that is about to get its name."""
        parts = {**self.parts(), folder_name(task): digest}
        self.note({"event": "sealed", "task": task, "sha256": digest})
        self._parts = parts

    def open_again(self, task: str, keep: list[Item]) -> None:
        """Takes items away: only those to `keep` stay, in live.jsonl. A finished run is finished no more."""
        lines = b"".join(encode_line(item_to_line(item)) for item in keep)
        make_folder(self.task_folder(task))
        write_whole(self.task_folder(task) / LIVE, lines)
        self.reopen()
        path = self.task_folder(task) / PART
        with os_errors(path, "remove"):
            path.unlink(missing_ok=True)

    def asked_alone(self, task: str) -> bool:
        """The task is that of a finished run, and nothing in it came from other runs: nor should it now."""
        if not self.finished:
            return False
        return not RunFolder(self.path).own_record().provenance.tasks.get(task, {}).get("reused", 0)

    def reopen(self) -> None:
        """Takes run.json away, so that the run is not finished any more; nothing happens if it is not."""
        parts = dict(self.parts())
        remove_copied(self.path / "run.json")
        self._parts, self._was_finished = parts, False
        for event in self._events:
            self._log.append(event)
        self._events.clear()

    def has_same_results(self) -> bool:
        """It was finished before, and its parts are those of then: run.json holds still."""
        return self.finished and self.parts() == RunFolder(self.path).own_record().provenance.parts

    def drop_live(self, task: str) -> None:
        """Removes live.jsonl, and of a sealed task its windows: a kill may have left them beside the part."""
        folder = self.task_folder(task)
        for path in (folder / LIVE, *(folder.glob(WINDOW_PARTS) if self.is_sealed(task) else ())):
            with os_errors(path, "remove"):
                path.unlink(missing_ok=True)

    def finish(self, record: RunRecord) -> None:
        """Writes run.json, which makes the run a finished one. Before it come copies of it and what lies beside it."""
        parts = {name: digest for name, digest in self.parts().items() if self.is_sealed(name)}
        whole = replace(record, provenance=replace(record.provenance, parts=parts))
        if self.finished:
            self.reopen()
        log = self.path / "log.jsonl"
        with os_errors(log, "read"):
            write_copy(log, log.read_bytes())
        write_json(self.path / "run.json", whole.to_json(), keep_copy=True)
        self._was_finished = True

    def close(self) -> None:
        """Lets go of the folder."""
        self._log.close()
        self._lock.close()

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LiveLog:
    """Where a running task's items go, one write each."""

    def __init__(self, log: LineLog) -> None:
        self._log = log

    def append(self, item: Item, *, reused: bool = False) -> None:
        """Adds an item; `reused` marks one whose responses came from another run."""
        self._log.append({**item_to_line(item), "reused": True} if reused else item)

    def close(self) -> None:
        """Closes the file."""
        self._log.close()

    def __enter__(self) -> LiveLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
