"""Raw archives of a configuration, as paths below the run directory."""

from collections.abc import Iterable
from dataclasses import dataclass

from meddiff.data.registry import registered_files
from meddiff.workflow.config import Config

FETCHED = "data/raw/published/"


@dataclass(frozen=True)
class Archives:
    """Where the files that a configuration reads lie, drawn here or as published."""

    cfg: Config
    drawn: bool

    @property
    def images(self) -> list[str]:
        """Archives that the images are read from; a folder's files are watched as a parameter."""
        source = self.cfg.source
        return [
            path
            for version in (self._editions if source.challenge else [None])
            for role, path in self._paths(source.archives, version).items()
            if role == "images" or not source.challenge
        ]

    @property
    def kaggle(self) -> list[str]:
        """One archive per edition, with the images at 224 px."""
        return [self._paths("kaggle", edition)["images"] for edition in self._editions]

    @property
    def challenge_tables(self) -> list[str]:
        """What the ISIC challenge publishes about its images, apart from the images."""
        return [
            path
            for edition in self._editions
            for role, path in self._paths("isic", edition).items()
            if role != "images"
        ]

    @property
    def isic2016(self) -> dict[str, str]:
        """Images and masks of ISIC 2016, training and test, by role."""
        return self._paths("isic", "2016")

    @property
    def mednist(self) -> str:
        """The MedNIST archive."""
        return self._paths("mednist")["images"]

    @property
    def _editions(self) -> list[str]:
        data = self.cfg.data
        return list(data.phantom.editions if self.cfg.source.drawn else data.editions)

    def _paths(self, source: str, version: str | None = None) -> dict[str, str]:
        place = "data/raw/phantom/" if self.drawn else FETCHED
        return {role: place + file for role, file in registered_files(source, version).items()}


def downloads_among(outputs: Iterable[str]) -> list[str]:
    """Return the files of the registry among the outputs of jobs."""
    return [path.removeprefix(FETCHED) for path in outputs if path.startswith(FETCHED)]
