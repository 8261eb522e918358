"""One file of a data set of the Hub, as a task names it by its address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchbench.tasks.hub import resolved_revision

_ADDRESS = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+?)(?:@([\w.-]+))?/([\w./-]+)")


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a data set of the Hub, as `data_files` names it: `hf://datasets/org/name@revision/folder/file`."""

    data_set: str
    revision: str | None
    path: str
    """Inside the data set."""

    @classmethod
    def of(cls, address: object) -> HubFile | None:
        """The file that an address names; None for what is no such address, or names several files."""
        found = _ADDRESS.fullmatch(address) if isinstance(address, str) and ".." not in address else None
        return None if found is None else cls(found[1], found[2], found[3])

    @property
    def name(self) -> str:
        """Its path in a data root."""
        return f"{self.data_set}/{self.path}"

    def fetch(self) -> Path:
        """Where the Hub's client keeps it, loaded if it is not there. Raises what that client raises."""
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(self.data_set, self.path, repo_type="dataset", revision=self.revision))

    def commit(self) -> str | None:
        """The commit that it is of; None where that cannot be learnt."""
        return resolved_revision(self.data_set, self.revision, {})


def hub_files(files: object) -> dict[str, HubFile]:
    """Address → file, of every address of the Hub in `data_files`."""
    named = files.values() if isinstance(files, Mapping) else [files]
    listed = [one for names in named for one in (names if isinstance(names, list | tuple) else [names])]
    return {str(one): file for one in listed if (file := HubFile.of(one)) is not None}
