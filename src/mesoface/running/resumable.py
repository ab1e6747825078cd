"""A folder that is filled job by job, possibly over several runs, always by the same recipe."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from mesoface.errors import IncompleteError, MesofaceError
from mesoface.files.atomic import atomic_file, remove_leftovers
from mesoface.files.lock import LOCK, locked_folder
from mesoface.running.progress import ProgressCallback, silent
from mesoface.running.workers import run_jobs

_MOST_NAMED = 5  # failed jobs that the error names with their reason
_GO_ON = "mend that and run the same command again; the others are kept"

Job = TypeVar("Job")


@contextmanager
def resumable_folder(path: str | Path, manifest: str, recipe: Mapping[str, Any]) -> Iterator[Path]:
    """A folder that one process at a time fills, by one recipe.

    Unfinished work of writers that were killed is removed at the start and at the end.

    Args:
        path: the folder; made when it does not exist.
        manifest: name of the JSON file in it that holds the recipe.
        recipe: what must be the same in all runs; JSON.

    Raises:
        MesofaceError: the folder holds other things or results of another recipe, another process is at
            work in it, or it cannot be written.
    """
    wanted = json.loads(json.dumps(recipe))
    with locked_folder(path) as folder:
        _check_recipe(folder, manifest, wanted)  # before anything is removed: the folder may be another's
        remove_leftovers(folder)
        try:
            yield folder
        finally:
            remove_leftovers(folder)


def _check_recipe(path: Path, manifest: str, recipe: dict[str, Any]) -> None:
    """Write the recipe into a new folder; in an older one it must be the same."""
    file = path / manifest
    if not file.exists():
        if any(entry.name != LOCK for entry in path.iterdir()):
            raise MesofaceError(
                f"this folder holds other things: it has no {manifest}", path=path, remedy="name another"
            )
        with atomic_file(file) as temporary:
            temporary.write_text(json.dumps(recipe, indent=1) + "\n", encoding="utf-8")
        return
    before = read_manifest(file)
    for name in (*recipe, *before):
        if before.get(name) != recipe.get(name):
            raise MesofaceError(
                f"was made with other settings: {name} {_difference(before.get(name), recipe.get(name))}",
                path=path,
                remedy="use the same ones to go on, or name another folder",
            )


def read_manifest(file: Path) -> dict[str, Any]:
    """The JSON object in a manifest.

    Raises:
        MesofaceError: it cannot be read, or is no JSON object.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MesofaceError("cannot be read as JSON", path=file, remedy="name another folder") from error
    if not isinstance(content, dict):
        raise MesofaceError("is no JSON object", path=file, remedy="name another folder")
    return content


def _difference(before: Any, now: Any) -> str:
    """``was A, now B``, of what differs in them when they are objects."""
    if isinstance(before, dict) and isinstance(now, dict):
        name = next(name for name in (*now, *before) if before.get(name) != now.get(name))
        return f"{name} {_difference(before.get(name), now.get(name))}"
    return f"was {json.dumps(before)}, now {json.dumps(now)}"


def run_all(
    function: Callable[[Job], Any],
    jobs: Sequence[Job],
    *,
    path: Path,
    name_of: Callable[[Job], str],
    kind: str,
    workers: int,
    done_before: int = 0,
    preload: Sequence[str] = (),
    progress: ProgressCallback = silent,
) -> list[Any]:
    """Run every job in a process of its own, and raise one error at the end for those that failed.

    Args:
        function: of a module; see :func:`mesoface.running.workers.run_jobs`.
        jobs: those that remain.
        path: the folder they fill, for the error.
        name_of: makes a job's name for messages.
        kind: what the jobs make, for messages: "captures".
        workers: processes at a time.
        done_before: jobs done in earlier runs, for the progress.
        preload: modules that the processes have loaded when they start.
        progress: called after every job.

    Returns:
        the results, in order of completion.

    Raises:
        IncompleteError: some jobs failed; all others were done nevertheless.
    """
    total = done_before + len(jobs)
    label = kind.capitalize()
    progress(label, done_before, total)
    results, failed = [], []
    for number, outcome in enumerate(run_jobs(function, jobs, workers=workers, preload=preload), 1):
        if outcome.error is None:
            results.append(outcome.result)
        else:
            failed.append(f"{name_of(outcome.job)} ({outcome.error})")
        progress(label, done_before + number, total)
    if failed:
        raise incomplete(failed, total, kind, path=path)
    return results


def incomplete(
    failed: Sequence[str], total: int, kind: str, *, path: Path, remedy: str = _GO_ON
) -> IncompleteError:
    """The error that names some of the jobs that failed.

    Args:
        failed: the jobs, each with its reason.
        total: how many jobs there were.
        kind: what the jobs make, for messages.
        path: the folder they fill.
        remedy: what to do about it.
    """
    named = sorted(failed)
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return IncompleteError(
        f"{len(failed)} of {total} {kind} failed: {'; '.join(named[:_MOST_NAMED])}{more}",
        path=path,
        remedy=remedy,
    )
