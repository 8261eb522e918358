"""The documents of a finished run, read again: what scoring needs of them that the stored items do not hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from benchbench.core.errors import DataError, TaskError
from benchbench.core.json_record import an_object
from benchbench.core.record import TaskRecord
from benchbench.core.types import Item, RenderedDoc
from benchbench.tasks.borders import FILE_FORMATS
from benchbench.tasks.config import TaskConfig
from benchbench.tasks.documents import open_rows
from benchbench.tasks.index import TaskIndex
from benchbench.tasks.render import Block, PromptRenderer
from benchbench.tasks.task import Task
from benchbench.tasks.template import Field

COMPLETION = "completion"
"""What `doc_to_program` calls the model's answer."""


@dataclass(frozen=True)
class RecordedTask:
    """A task as a run's record tells it, and where its documents may be found now."""

    name: str
    record: TaskRecord
    """What run.json says under `tasks.<name>`."""
    prompt: str
    """Name of the prompt variant."""
    index: TaskIndex
    """Task files of today, for what the record does not say."""
    data_root: Path | None = None
    """None: where the run found its data, if that is still there; else the Hub, at the revision that was recorded."""

    @cached_property
    def task(self) -> Task:
        """The task as it was when the run was made. TaskError if the record does not hold one of ours."""
        resolved = dict(self.record.resolved)
        variables = an_object(resolved.pop("variables", {}), f"`variables` of {self.name}")
        file = Path(str(resolved.pop("file", self.name)))
        try:
            config = TaskConfig.model_validate(resolved)
        except ValidationError as error:
            raise TaskError(f"{self.name}: the run's record does not hold a task file of benchbench's.") from error
        if self.record.data_revision:
            config = config.model_copy(update={"dataset_revision": self.record.data_revision})
        return Task(self.name, config, self._folder(config.dataset_path) / file.name, variables)

    def _folder(self, dataset_path: str) -> Path:
        """Where the task file lay, for data files beside it: as recorded, or where the task of this name lies now."""
        recorded = Path(self.record.data_path or "")
        if dataset_path in FILE_FORMATS and not recorded.is_dir() and self.name in self.index.variants:
            return self.index.variants[self.name].path.parent
        return recorded

    def _root(self) -> Path | None:
        config = self.task.config
        place = f"/{config.dataset_path}/{config.dataset_name or 'default'}"
        recorded = self.record.data_path or ""
        if self.data_root is not None or not recorded.endswith(place):
            return self.data_root
        root = Path(recorded.removesuffix(place))
        return root if root.is_dir() else None

    def documents(self, items: Sequence[Item]) -> dict[int, RenderedDoc]:
        """doc id → the document as it was asked, without its shots, for every item.

        Raises:
            DataError: the data are not there, or are not those that were asked.
            TaskError: a template of the task fails.
        """
        wanted = {item.doc_id: item.doc_hash for item in items}
        source = open_rows(self.task, self._root())
        rows = source.rows(str(self.task.config.eval_split), max(wanted, default=0) + 1)
        renderer = PromptRenderer(self.task, prompt=self.prompt, first_row=rows[0], overflow="drop_shots", seed=0)
        docs = {number: renderer.doc(row, number) for number, row in enumerate(rows) if number in wanted}
        other = [number for number, known in wanted.items() if number not in docs or docs[number].hash != known]
        if other:
            raise DataError(
                f"{self.name}: document {other[0]} of {source.path} is not the one that the run asked, nor are"
                f" {len(other) - 1} others of {len(wanted)}. Name the data that it was run on with --data-root."
            )
        renderer.learn_inputs(renderer.doc(rows[0], 0))
        return {number: renderer.render(doc, Block()) for number, doc in docs.items()}

    def program_template(self) -> str | None:
        """The task's `doc_to_program`: as recorded, else as the task of this name has it today."""
        return self._recorded_or_todays(lambda config: config.doc_to_program)

    def source_template(self) -> str | None:
        """The task's `doc_to_source`: as recorded, else as the task of this name has it today."""
        return self._recorded_or_todays(lambda config: config.doc_to_source)

    def _recorded_or_todays(self, template: Callable[[TaskConfig], str | None]) -> str | None:
        recorded = template(self.task.config)
        if recorded is not None or self.name not in self.index.variants:
            return recorded
        return template(self.index.task(self.name).config)

    def sources(self, docs: Iterable[RenderedDoc], template: str | None = None) -> dict[int, str]:
        """doc id → text that was to be translated, by `template` or else the task. TaskError if it fails."""
        where = self.task.where("doc_to_source") if template is None else "--source"
        return source_texts(self.task, docs, template or self.source_template() or "", where)


def source_texts(task: Task, docs: Iterable[RenderedDoc], template: str, where: str) -> dict[int, str]:
    """doc id → the text that a template, or the name of a field, makes of it. TaskError, beginning with `where`."""
    found: dict[int, str] = {}
    field: Field | None = None
    for rendered in docs:
        if field is None:
            field = Field(template, where, rendered.doc.fields.keys())
        found[rendered.doc.id] = str(field.text({**rendered.doc.fields, **task.variables}, rendered.doc.id))
    return found


def program_writer(
    task: Task, docs: Mapping[int, RenderedDoc], template: str | None = None
) -> Callable[[int, str], str]:
    """What makes a program of a doc's id and an answer to it, by `template` or else the task's `doc_to_program`.

    It raises TaskError where the template fails on a doc.
    """
    columns = {COMPLETION, *task.variables, *(name for one in docs.values() for name in one.doc.fields)}
    field = Field(template or task.config.doc_to_program or "", task.where("doc_to_program"), columns)

    def write(number: int, completion: str) -> str:
        scope = {**docs[number].doc.fields, **task.variables, COMPLETION: completion}
        return str(field.text(scope, number))

    return write
