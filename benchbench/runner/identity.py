"""Who a run is: plan.json of its first attempt, and what the model is called there."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from benchbench.backends.protocol import Backend
from benchbench.core.ids import text_hash
from benchbench.core.record import BackendRecord, ChatRecord, PlannedTask, PlanRecord, Provenance
from benchbench.core.types import Json
from benchbench.runner.checkpoint import Checkpoint, step_at, tokens_at
from benchbench.runner.plan import Plan, task_identity
from benchbench.runner.record import now
from benchbench.runner.settings import RunSettings
from benchbench.store.names import (
    compute_identity,
    find_home,
    find_location,
    names_at,
    names_called,
    own_name,
    real_path,
    run_id,
)
from benchbench.store.reuse import refuse_other_training


def plan_record(plan: Plan, settings: RunSettings, backend: Backend) -> PlanRecord:
    """plan.json of the first attempt: enough to know a half-written run for what it is, and to reuse its items."""
    tasks = {prepared.task.name: task_identity(prepared) for prepared in plan.tasks}
    groups: Json = [group.as_record() for group in plan.groups]
    chat, names, location = _chat(plan, settings), _names(settings), _location(settings)
    decisive: dict[str, Json] = {"limit": settings.render.limit, "seed": settings.render.seed, "groups": groups}
    if settings.render.random_docs and settings.render.limit is not None:
        decisive["random_docs"] = True
    if chat is not None:
        decisive["chat"] = chat.to_json()
    return PlanRecord(
        run_id=run_id(backend.info, tasks, decisive),
        model=names.model,
        series=names.series,
        step=names.step,
        tokens_seen=names.tokens_seen,
        chat=chat,
        fresh=settings.fresh,
        compute=compute_identity(backend.info),
        settings=settings.as_record(),
        backend=BackendRecord.of(backend.info),
        tasks={
            p.task.name: PlannedTask.from_json({**tasks[p.task.name], "output_type": p.task.output_type}, p.task.name)
            for p in plan.tasks
        },
        provenance=Provenance(
            created=now(),
            host=socket.gethostname(),
            location=location,
            home=find_home(location, settings.model.revision),
            include_paths=tuple(str(path.expanduser().absolute()) for path in settings.include_paths),
            data_root=_absolute(settings.render.data_root),
            keys=("created", "host", "location", "home"),
        ),
    )


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.expanduser().absolute())


def _chat(plan: Plan, settings: RunSettings) -> ChatRecord | None:
    """What was done to make conversations of the prompts; None where they are plain."""
    if settings.render.chat is None or plan.chat is None:
        return None
    system = settings.render.chat.system
    return ChatRecord(
        template_sha256=plan.chat.sha256,
        system_role=plan.chat.system_role,
        system_sha256=None if system is None else text_hash(system),
        multiturn=settings.render.chat.multiturn,
        arguments=plan.chat.arguments or None,
    )


@dataclass(frozen=True, slots=True)
class _Names:
    """What to call the model; no number depends on it."""

    model: str
    series: str
    step: int | None
    tokens_seen: int | None


def _names(settings: RunSettings) -> _Names:
    place = (_location(settings), settings.model.revision)
    step = step_at(*place) if settings.step is None and settings.series is None else settings.step
    tokens = tokens_at(*place) if settings.tokens_seen is None else settings.tokens_seen
    if settings.series is not None:
        model, series = Checkpoint(settings.series, step, *place, tokens).name, settings.series
    elif settings.name is not None:
        model, series = settings.name, names_called(settings.name).series
    else:
        found, more = names_at(*place), _beside(settings)
        model, series = found.model + more, found.series + more
        if step != found.reading.step:
            model = f"{model}@step{step}"
    return _Names(model, series, step, tokens)


def _beside(settings: RunSettings) -> str:
    """What else makes the model than what lies at its location, for its name."""
    args = dict(settings.model.model_args)
    inside, delta = args.get("subfolder"), args.get("delta")
    more = "" if inside is None else f"/{inside}"
    return more if delta is None else f"{more}+{own_name(find_location(delta))}"


def refuse_taken_series(settings: RunSettings, folder: str) -> None:
    """ArgumentError where the series that the settings name stands for another training than the one in `folder`."""
    if settings.series is not None:
        refuse_other_training(settings.output, settings.series, [real_path(str(Path(folder).absolute()))])


def _location(settings: RunSettings) -> str:
    """Where the model lies; what a server calls a model is no path."""
    model = settings.model.model
    return model if settings.model.backend == "api" else find_location(model)
