"""A run as a Provenance Run Crate: its results, and of every job what it read, wrote and ran.

Terms are those of RO-Crate 1.1 (Soiland-Reyes et al. 2022) and of Workflow Run RO-Crate 0.5 (Leo et
al. 2024).
"""

import json
import mimetypes
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from rocrate.model import ContextEntity, Person
from rocrate.rocrate import ROCrate

import meddiff
from meddiff.core.console import Say
from meddiff.core.errors import MeddiffError, first_names
from meddiff.core.files import atomic_write
from meddiff.workflow.provenance.digests import sha256_here
from meddiff.workflow.provenance.lineage import lineage
from meddiff.workflow.provenance.record import Record, Records
from meddiff.workflow.provenance.store import read_effective
from meddiff.workflow.sharing.real_images import RAW, of_real_images

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
COMPLETED = "http://schema.org/CompletedActionStatus"
TERMS = {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}
"""The term of the profiles that is used here, so that no reader has to fetch their context."""
SNAKEMAKE = "https://snakemake.github.io"
CODE = ("workflow/Snakefile", "workflow/rules", "workflow/scripts", "config")
"""Files and folders of the project that a crate carries beside results."""

TYPES = {".smk": "text/x-snakemake", ".yaml": "application/yaml", ".md": "text/markdown",
         ".rst": "text/x-rst"}  # fmt: skip
"""Media types that Python does not know."""


class Job(NamedTuple):
    """One run of a rule: the records of the files that it wrote, which agree on all but these."""

    rule: str
    outputs: list[Record]

    @property
    def inputs(self) -> Mapping[str, str]:
        """SHA-256 of what it read, by path."""
        return self.outputs[0].inputs


class Content(NamedTuple):
    """What a crate holds beside names and digests of files.

    Attributes:
        largest: bytes of the largest file besides results.
        real_images: whether files that show or name real images are among them; raw data never are.
    """

    largest: int
    real_images: bool = False


def export(
    target: Path, root: Path, results: Sequence[str], content: Content, *, license: str, say: Say
) -> None:
    """Write the run in the working directory as a zip that is a Provenance Run Crate.

    Results are in it, and of what they were made from each file that `content` admits; others are
    named with their SHA-256.

    Args:
        results: files of the run to export, or none for all results.
        license: URL or SPDX identifier of the licence that the results are under.

    Raises:
        MeddiffError: there is no record of a result, or a file has other bytes than were recorded.
    """
    records = read_effective()
    results = list(results) or [path for path in records if path.startswith("results/")]
    missing = [path for path in results if path not in records]
    if missing or not results:
        raise MeddiffError(
            f"{first_names(missing) or 'results'}: no record in {Path.cwd()}: make it with "
            "Snakemake first, or name the run with --directory"
        )
    needed = {path: records[path] for path in dict.fromkeys(
        file for result in results for file in lineage(result, records))}  # fmt: skip
    crate = ROCrate(version="1.1")
    crate.name = f"meddiff run: {_data_of(needed)}"
    crate.description = (
        "Tables and figures of a run of meddiff (are synthetic medical images good enough to train "
        "on?), and the provenance of each"
    )
    url = license if "://" in license else f"https://spdx.org/licenses/{license}"
    crate.license = crate.add(
        ContextEntity(crate, url, properties={"@type": "CreativeWork", "name": license})
    )
    crate.datePublished = datetime.now(UTC)
    writer = _Writer(crate, root, needed, results, content)
    jobs = list(_jobs(needed))
    writer.add_run(jobs)
    with atomic_write(target) as temporary:
        crate.write_zip(temporary)
    inside = sum(1 for path in needed if writer.is_inside(path))
    say(f"{target}: {len(jobs)} jobs, {inside} of {len(needed)} files")
    if left := [path for path in needed if path in writer.left and not path.startswith(RAW)]:
        say(
            f"{len(left)} files that show or name real images stand by their digest alone: "
            f"{first_names(sorted(left, key=results.__contains__, reverse=True))}; --real-images "
            "puts them in, where the images' licence and the patients' consent allow that"
        )


def _data_of(records: Records) -> str:
    """Return what the run's tables say they are of: data, scale and protocol."""
    stamps = (record.params.get("stamp") for record in records.values())
    stamp = next((each for each in stamps if isinstance(each, Mapping)), {})
    return ", ".join(str(stamp[key]) for key in ("data", "scale", "protocol") if key in stamp)


def _jobs(records: Records) -> Iterator[Job]:
    """Yield the jobs behind files, each after those whose files it read."""
    by_job: dict[tuple[str, str, str], list[Record]] = {}
    for record in records.values():
        if record.rule:
            inputs = json.dumps(record.inputs, sort_keys=True)
            by_job.setdefault((record.rule, record.started, inputs), []).append(record)
    for (rule, _, _), outputs in by_job.items():
        yield Job(rule, outputs)


class _Writer:
    """Adds a run to a crate."""

    def __init__(
        self,
        crate: ROCrate,
        root: Path,
        records: Records,
        results: Sequence[str],
        content: Content,
    ) -> None:
        self.crate, self.root, self.records = crate, root, records
        self.results, self.largest = results, content.largest
        self.left = {
            path
            for path in of_real_images(records)
            if path.startswith(RAW) or not content.real_images
        }
        self._files: dict[str, Any] = {}
        self._people: dict[str, Person] = {}
        crate.metadata.extra_contexts.append(TERMS)

    def is_inside(self, path: str) -> bool:
        """Return whether the crate holds a file, and does not only name it."""
        record = self.records[path]
        wanted = path.startswith("results/") or record.size <= self.largest
        return wanted and path not in self.left and Path(path).is_file()

    def add_run(self, jobs: Sequence[Job]) -> None:
        """Add the workflow, its rules, its jobs and their files."""
        crate = self.crate
        profiles = [
            crate.add(ContextEntity(crate, url, properties={
                "@type": "CreativeWork", "name": name, "version": url.rsplit("/", 1)[1]}))
            for url, name in PROFILES.items()
        ]  # fmt: skip
        crate.root_dataset["conformsTo"] = profiles
        workflow = self._workflow()
        tools, steps = self._tools({job.rule for job in jobs}, workflow)
        actions = [self._action(number, job, tools) for number, job in enumerate(jobs)]
        records, agent = self.records.values(), actions[-1]["agent"]
        times = {"startTime": min(record.started for record in records),
                 "endTime": max(record.finished for record in records)}  # fmt: skip
        raw = self._all(path for path, record in self.records.items() if not record.rule)
        whole = self._entity(
            "#run", "CreateAction", name="run of the workflow", instrument=workflow, object=raw,
            result=self._all(self.results), actionStatus=COMPLETED, agent=agent, **times,
        )  # fmt: skip
        controls = [
            self._entity(f"#control-{number}", "ControlAction", name=f"orchestrate {job.rule}",
                         instrument=steps[job.rule], object=action)
            for number, (job, action) in enumerate(zip(jobs, actions, strict=True))
        ]  # fmt: skip
        versions = {record.packages.get("snakemake") for record in records} - {None}
        engine = self._entity(
            SNAKEMAKE, "SoftwareApplication", name="Snakemake", url=SNAKEMAKE,
            softwareVersion=", ".join(sorted(map(str, versions))) or "unknown",
        )  # fmt: skip
        self._entity("#orchestration", "OrganizeAction", name="execution by Snakemake",
                     instrument=engine, object=controls, result=whole, agent=agent,
                     **times)  # fmt: skip
        crate.root_dataset["mentions"] = [whole, *actions]
        crate.root_dataset["author"] = agent

    def _entity(self, identity: str, kind: Any, **properties: Any) -> ContextEntity:
        named = {"@type": kind, "name": properties["name"]}
        entity = self.crate.add(ContextEntity(self.crate, identity, properties=named))
        for key, value in properties.items():
            entity[key] = value[0] if isinstance(value, list) and len(value) == 1 else value
        return entity

    def _workflow(self) -> Any:
        """Add the code of the project; return its Snakefile, the crate's main entity."""
        for name in CODE[1:]:
            for path in sorted((self.root / name).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    name = path.relative_to(self.root).as_posix()
                    self.crate.add_file(path, name, properties=_format(name))
        kinds = ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]
        file, about = self.root / CODE[0], {"@type": kinds}
        workflow = self.crate.add_workflow(
            file, CODE[0], main=True, lang="snakemake", properties=about
        )
        workflow["name"] = "meddiff"
        workflow["version"] = meddiff.__version__
        commits = {record.commit for record in self.records.values() if record.commit}
        workflow["description"] = "Commits of the code: " + ", ".join(sorted(commits))
        return workflow

    def _tools(
        self, rules: Iterable[str], workflow: Any
    ) -> tuple[dict[str, ContextEntity], dict[str, ContextEntity]]:
        """Add a tool and a step of the workflow for each rule."""
        tools, steps = {}, {}
        for position, rule in enumerate(sorted(rules)):
            version = meddiff.__version__
            tools[rule] = self._entity(
                f"#rule-{rule}", "SoftwareApplication", name=rule, softwareVersion=version
            )
            own = {"position": str(position), "workExample": tools[rule]}
            steps[rule] = self._entity(f"#step-{rule}", "HowToStep", name=rule, **own)
        workflow["hasPart"] = list(tools.values())
        workflow["step"] = list(steps.values())
        return tools, steps

    def _action(self, number: int, job: Job, tools: Mapping[str, ContextEntity]) -> ContextEntity:
        first = job.outputs[0]
        params = json.dumps(first.params, sort_keys=True)
        settings = self._entity(
            f"#parameters-{number}", "PropertyValue", name="parameters", value=params
        )
        machine = first.machine
        where = f"{machine.system}, {machine.processor}, {machine.device}" if machine else "unknown"
        return self._entity(
            f"#job-{number}",
            "CreateAction",
            name=f"{job.rule}: {first.path}",
            description=f"on {where}",
            instrument=tools[job.rule],
            object=[*self._all(job.inputs), settings],
            result=self._all(record.path for record in job.outputs),
            startTime=first.started,
            endTime=first.finished,
            actionStatus=COMPLETED,
            agent=self._person(first.author),
        )

    def _person(self, author: str) -> Person:
        name = author.split(" <")[0] or "unknown"
        if name not in self._people:
            person = Person(self.crate, f"#person-{len(self._people)}", properties={"name": name})
            self._people[name] = self.crate.add(person)
        return self._people[name]

    def _all(self, paths: Iterable[str]) -> list[Any]:
        return [self._file(path) for path in paths if path in self.records]

    def _file(self, path: str) -> Any:
        if path not in self._files:
            record = self.records[path]
            about = _format(path) | {
                "name": path,
                "sha256": record.sha256,
                "contentSize": str(record.size),
                "dateModified": record.finished,
            }
            if self.is_inside(path):
                if sha256_here(path) != record.sha256:
                    raise MeddiffError(f"{path} has other bytes than were recorded: run it again")
                self._files[path] = self.crate.add_file(path, path, properties=about)
            else:
                # Files of the same bytes are several.
                identity = f"ni:///sha-256;{record.sha256}#{quote(path)}"
                self._files[path] = self._entity(identity, "CreativeWork", **about)
        return self._files[path]


def _format(path: str) -> dict[str, str]:
    """Return the media type of a file by its suffix."""
    media_type, _ = mimetypes.guess_type(path)
    kind = media_type or TYPES.get(Path(path).suffix, "application/octet-stream")
    return {"encodingFormat": kind}
