"""lm-eval's command line, typed by habit: the command here that does the same, and what of it has no counterpart."""

from __future__ import annotations

import ast
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchbench.core.errors import ArgumentError
from benchbench.core.settings import name_value_pairs

Arity = Literal["none", "one", "many", "maybe"]
KEPT = "every doc is kept in the results folder anyway"
BATCHES = "batches are counted in tokens, and found by themselves; --batch-tokens bounds them"
LOGGING = "results stay on this machine; `benchbench results export` writes them for others"
UNSAFE_CODE = "--allow-code-execution runs programs of our tasks, --trust-task-code Python of lm_eval: tasks"
CURVES = "--log wandb:ENTITY/PROJECT draws results there, --log trackio:PROJECT in Trackio"


@dataclass(frozen=True, slots=True)
class _Option:
    """One option of lm-eval."""

    short: str
    takes: Arity
    left_out: str = ""
    """Why it has no counterpart; empty: it has one, see `_TAKERS`."""


OPTIONS: Mapping[str, _Option] = {
    "model": _Option("-M", "one"),
    "model_args": _Option("-a", "many"),
    "tasks": _Option("-t", "many"),
    "num_fewshot": _Option("-f", "one"),
    "limit": _Option("-L", "one"),
    "device": _Option("", "one"),
    "gen_kwargs": _Option("", "many"),
    "output_path": _Option("-o", "one"),
    "apply_chat_template": _Option("", "maybe"),
    "fewshot_as_multiturn": _Option("", "maybe"),
    "system_instruction": _Option("", "one"),
    "include_path": _Option("", "one"),
    "seed": _Option("", "one"),
    "trust_remote_code": _Option("", "none"),
    "batch_size": _Option("-b", "one", BATCHES),
    "max_batch_size": _Option("", "one", BATCHES),
    "log_samples": _Option("-s", "none", KEPT),
    "predict_only": _Option("-x", "none", f"{KEPT}, with what the model wrote; scores cost nothing beside it"),
    "use_cache": _Option("-c", "one", "answers of the same model to the same prompts are always taken over"),
    "cache_requests": _Option("", "maybe", "prompts are made in seconds and kept nowhere"),
    "samples": _Option("-E", "one", "docs cannot be chosen one by one; --limit takes the first"),
    "write_out": _Option("-w", "none", "`benchbench tasks render TASK` shows its prompts"),
    "show_config": _Option("", "none", "`benchbench tasks show TASK` shows it; run.json holds it"),
    "check_integrity": _Option("", "none", "`benchbench tasks check` does that"),
    "verbosity": _Option("-v", "one", "there are no levels of logging"),
    "wandb_args": _Option("", "many", CURVES),
    "wandb_config_args": _Option("", "many", CURVES),
    "trackio_args": _Option("", "many", CURVES),
    "hf_hub_log_args": _Option("", "many", LOGGING),
    "confirm_run_unsafe_code": _Option("", "none", UNSAFE_CODE),
    "metadata": _Option("", "many"),
    "config": _Option("-C", "one", "settings are read from the command line alone"),
}
OURS_TOO = frozenset(
    [
        *("model", "model_args", "tasks", "num_fewshot", "limit", "device", "gen_kwargs", "include_path", "seed"),
        *("apply_chat_template", "fewshot_as_multiturn", "trust_remote_code", "metadata"),
    ]
)
"""Options that are called the same here, with dashes: typed so, they are no habit."""
SHORT = {option.short: name for name, option in OPTIONS.items() if option.short}
HF = frozenset(["hf", "hf-auto", "huggingface", "hf-multimodal"])
SERVERS = {
    "local-completions": "completions",
    "local-chat-completions": "chat",
    "openai-completions": "completions",
    "openai-chat-completions": "chat",
}
OTHERS = frozenset(
    ["sglang", "sglang-generate", "nemo_lm", "mamba_ssm", "neuronx", "openvino", "gguf", "ggml", "dummy"]
)
PROGRAMS = ("lm_eval", "lm-eval", "lm-evaluation-harness")


def refuse_habits(words: Sequence[str]) -> None:
    """ArgumentError, with the command to give instead, where `words` are a command line of lm-eval."""
    words = list(words)
    is_named = bool(words) and words[0] in PROGRAMS
    if is_named:
        words = words[1:]
    if words[:1] == ["ls"]:
        raise ArgumentError("this is lm-eval's command. The same here:\n\n  benchbench tasks ls\n")
    if words[:1] == ["validate"]:
        names = _split(words[1:])["tasks"]
        raise ArgumentError(f"this is lm-eval's command. The same here:\n\n  benchbench tasks check {names}".rstrip())
    verb = words.pop(0) if words and words[0] in ("run", "sweep") else "run"
    if is_named or _is_habit(words):
        command, told = translated(words, verb)
        left = "".join(f"\n{line}" for line in told)
        raise ArgumentError(f"these are options of lm-eval. The same here:\n\n  {command}\n{left}".rstrip())


def _is_habit(words: Sequence[str]) -> bool:
    """Whether an option is spelled as lm-eval does, or only it has one of that name, or --model names its engine."""
    if not words or not words[0].startswith("-"):
        return False
    for place, word in enumerate(words):
        name = _name_of(word)
        if name is None:
            continue
        if word in SHORT or "_" in word.partition("=")[0] or name not in OURS_TOO:
            return True
        value = word.partition("=")[2] or next(iter(words[place + 1 :]), "")
        if name == "model" and _is_engine(value):
            return True
        if name == "model_args" and value.startswith("pretrained="):
            return True
    return False


def _is_engine(value: str) -> bool:
    known = HF | SERVERS.keys() | OTHERS | {"vllm"}
    return value in known and not Path(value).exists()


def _name_of(word: str) -> str | None:
    """lm-eval's name of an option, however it is spelled; None for anything else."""
    if word in SHORT:
        return SHORT[word]
    name = word.partition("=")[0].removeprefix("--").replace("-", "_")
    return name if word.startswith("--") and name in OPTIONS else None


class _Given(dict[str, str]):
    """lm-eval's options as typed, lists joined by commas; "" for one that was not given."""

    def __init__(self) -> None:
        super().__init__()
        self.rest: list[str] = []
        """Words of ours, which stay."""

    def __missing__(self, name: str) -> str:
        return ""


def _split(words: Sequence[str]) -> _Given:
    given, left = _Given(), list(words)
    while left:
        word = left.pop(0)
        name = _name_of(word)
        if name is None:
            given.rest.append(word)
            continue
        takes, values = OPTIONS[name].takes, [word.partition("=")[2]] if word.startswith("--") and "=" in word else []
        most = 0 if values or takes == "none" else len(left) if takes == "many" else 1
        while most and left and (not left[0].startswith("-") or takes == "one"):
            values.append(left.pop(0))
            most -= 1
        given[name] = ",".join(filter(None, [given[name], *values])) or "yes"
    return given


@dataclass(slots=True)
class _Command:
    """What is made of it."""

    words: list[str] = field(default_factory=list)
    model_args: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def add(self, *words: str) -> None:
        """More words of the command line."""
        self.words += words


def translated(words: Sequence[str], verb: str = "run") -> tuple[str, list[str]]:
    """(the command here, lines about what it leaves out) for lm-eval's options."""
    given, command = _split(words), _Command()
    _add_model(given, command)
    for name, take in _TAKERS.items():
        if name in given:
            take(given[name], command)
    if command.model_args:
        command.add("--model-args", ",".join(f"{name}={value}" for name, value in sorted(command.model_args.items())))
    for name, value in given.items():
        if OPTIONS[name].left_out:
            typed = f"--{name}" if OPTIONS[name].takes == "none" or value == "yes" else f"--{name} {value}"
            command.told.append(f"Without {typed}: {OPTIONS[name].left_out}.")
    return shlex.join(["benchbench", verb, *command.words, *given.rest]), command.told


def _pairs(text: str) -> dict[str, str]:
    """Names and values of `name=value,name=value`, or of a JSON object."""
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
            return {name: value if isinstance(value, str) else json.dumps(value) for name, value in found.items()}
        except (ValueError, AttributeError, RecursionError):
            pass
    return name_value_pairs(text, "--model_args", may_nest=True)


def _add_model(given: _Given, command: _Command) -> None:
    engine, args = given["model"], _pairs(given["model_args"]) if given["model_args"] not in ("", "yes") else {}
    model = args.pop("pretrained", None) or args.pop("model", None)
    if model is None and not _is_engine(engine):
        model, engine = engine or None, "hf"
    if model is None:
        command.told.append("MODEL is a folder or a name on the Hub; --model names no engine here.")
    command.add("--model", _with_file(model or "MODEL", args))
    if engine in SERVERS:
        _add_server(engine, args, command)
        return
    if engine == "vllm":
        command.add("--backend", "vllm")
    elif engine not in HF | {"", "yes"}:
        command.told.append(f"There is no engine {engine}; --backend hf, vllm, gguf and api are the engines here.")
    for flag in ("dtype", "revision", "tokenizer", "device"):
        value = None if flag in given else args.pop(flag, None)
        if value is not None and (flag, value) not in (("revision", "main"), ("dtype", "auto")):
            command.add(f"--{flag}", value)
    length = args.pop("max_length", None) or args.pop("max_model_len", None)
    command.add(*(("--max-length", length) if length is not None else ()))
    if args.pop("trust_remote_code", "false").lower() == "true":
        command.add("--trust-remote-code")
    _add_others("vllm" if engine == "vllm" else "hf", args, command)


def _with_file(model: str, args: dict[str, str]) -> str:
    file = args.pop("gguf_file", None)
    if file is None:
        return model
    return str(Path(model) / file) if Path(model).is_dir() else f"{model}:{file}"


def _add_others(engine_name: str, args: Mapping[str, str], command: _Command) -> None:
    """What the engine takes under lm-eval's own name, and what it does not."""
    from benchbench.backends.engines import engine
    from benchbench.backends.models.options import TransformersOptions

    known = engine(engine_name).option_names
    for name, value in args.items():
        if name in known:
            command.model_args[name] = value
        else:
            why = TransformersOptions.elsewhere.get(name, f"the engine {engine_name} has nothing of that name.")
            command.told.append(f"Without {name}={value}: {why}")


def _add_server(name: str, args: dict[str, str], command: _Command) -> None:
    names = {"num_concurrent": "concurrency", "max_retries": "retries", "timeout": "timeout", "tokenizer": "tokenizer"}
    url = args.pop("base_url", "https://api.openai.com/v1" if name.startswith("openai") else "http://localhost:8000/v1")
    for end in ("/chat/completions", "/completions", "/"):
        url = url.removesuffix(end)
    command.add("--backend", "api")
    command.model_args |= {"base_url": url, "endpoint": SERVERS[name]}
    for one, value in args.items():
        if one == "max_length":
            command.add("--max-length", value)
        elif one in names:
            command.model_args[names[one]] = value
        else:
            command.told.append(f"Without {one}={value}: the engine api has nothing of that name.")


def _take_tasks(value: str, command: _Command) -> None:
    from benchbench.cli.options import task_index

    index = task_index()
    known = {*index.suites, *index.groups, *index.variants}
    names = []
    for name in filter(None, value.split(",")):
        is_own = name in known or name.startswith("lm_eval:") or any(sign in name for sign in "*?[/.")
        names.append(name if is_own else f"lm_eval:{name}")
    command.add("--tasks", ",".join(names))
    if any(name.startswith("lm_eval:") for name in names):
        command.told.append("lm_eval:NAME is lm-eval's own task, which needs pip install 'benchbench-eval[lm-eval]'.")


def _take_shots(value: str, command: _Command) -> None:
    command.add("--num-fewshot", value)
    if value != "0":
        command.told.append("With --fewshot-mode lm_eval beside it the shots are those that lm-eval draws.")


def _take_limit(value: str, command: _Command) -> None:
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if number >= 1 and number.is_integer():
        command.add("--limit", str(int(number)))
    elif 0 < number < 1:
        command.add("--limit", value)
    else:
        command.told.append(f"Without --limit {value}: it is a number of docs, or a share of them below 1.")


def _take_output(value: str, command: _Command) -> None:
    command.add("--results", str(Path(value).parent) if value.endswith((".json", ".jsonl")) else value)


def _take_template(value: str, command: _Command) -> None:
    command.add("--apply-chat-template")
    if value.lower() not in ("yes", "true"):
        command.model_args["chat_template"] = value


def _take_turns(value: str, command: _Command) -> None:
    yes = value.lower() in ("yes", "true", "1")
    command.add("--fewshot-as-multiturn" if yes else "--no-fewshot-as-multiturn")
    if "--apply-chat-template" not in command.words:
        command.add("--apply-chat-template")


def _take_system(value: str, command: _Command) -> None:
    command.add("--system", value)
    if "--apply-chat-template" not in command.words:
        command.add("--apply-chat-template")
        command.told.append(
            "A system prompt is part of a conversation here, so --apply-chat-template stands beside it."
        )


def _take_seed(value: str, command: _Command) -> None:
    """The last of four draws the shots; the others move nothing here."""
    seeds = value.split(",")
    seed = seeds[0] if len(seeds) == 1 else seeds[3] if len(seeds) > 3 else "1234"
    if seed != "None":
        command.add("--seed", seed)


def _take_kwargs(value: str, command: _Command) -> None:
    pairs = {("until" if name == "stop" else name): _literal(one) for name, one in _pairs(value).items()}
    if all(isinstance(one, str | int | float) and "," not in str(one) for one in pairs.values()):
        command.add("--gen-kwargs", ",".join(f"{name}={one}" for name, one in pairs.items()))
    else:
        command.add("--gen-kwargs", json.dumps(pairs, ensure_ascii=False))


def _literal(text: str) -> object:
    try:
        found: object = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text
    return found


def _flag(name: str) -> Callable[[str, _Command], None]:
    def take(value: str, command: _Command) -> None:
        command.add(name, value)

    return take


def _trust(value: str, command: _Command) -> None:
    if "--trust-remote-code" not in command.words:
        command.add("--trust-remote-code")


_TAKERS: Mapping[str, Callable[[str, _Command], None]] = {
    "trust_remote_code": _trust,
    "device": _flag("--device"),
    "tasks": _take_tasks,
    "include_path": _flag("--include-path"),
    "num_fewshot": _take_shots,
    "limit": _take_limit,
    "apply_chat_template": _take_template,
    "fewshot_as_multiturn": _take_turns,
    "system_instruction": _take_system,
    "gen_kwargs": _take_kwargs,
    "metadata": _flag("--metadata"),
    "seed": _take_seed,
    "output_path": _take_output,
}
"""lm-eval's options that have a counterpart, in the order in which it is written, and what is made of each."""
