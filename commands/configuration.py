"""The configuration of a study from a preset, a file and single options, each laid over the one before."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from lesionlens.config.presets import layered
from lesionlens.config.study import StudyConfig
from lesionlens.config.words import takes_several

Preset = Literal["barnett", "demo", "detector", "paper", "petrini", "shen", "small", "sound"]


@Parameter(name="*")
@dataclass(frozen=True)
class Wanted:
    """What a person says of a study."""

    preset: Preset = "sound"
    """What everything is that nothing else names: sound, paper (the published study), small (few lesions), demo,
    detector (lesions found on films), barnett (margins of masses by a black box, then by cases), or shen and petrini
    (films from patches, breasts from films)."""
    config: Path | None = None
    """JSON with the options that differ from the preset."""
    data: Path | None = None
    """Folder of the data set (docs/data.md)."""
    name: str | None = None
    """Name of the study in reports."""
    set: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    """One option, such as `training.weights=none`; lists with commas. May be repeated."""

    def studies(self) -> tuple[StudyConfig, ...]:
        """The whole configurations of the preset's studies, in their order.

        ValueError where two of these contradict each other, or an option is wrong.
        """
        return layered(self.preset, *self._layers())

    def study(self) -> StudyConfig:
        """The whole configuration. ValueError as `studies`, and for a preset of several."""
        found = self.studies()
        if len(found) > 1:
            raise ValueError(f"preset {self.preset} is {len(found)} studies: lesionlens study --preset {self.preset}")
        return found[0]

    def values(self) -> list[dict[str, Any]]:
        """The same as JSON has it, where the folder of the data may be left open (null)."""
        layers, anywhere = self._layers(), {"data": {"root": "/"}}
        found = [study.model_dump(mode="json") for study in layered(self.preset, anywhere, *layers)]
        for values in found:
            if values["data"]["root"] == "/" or values["data"]["source"] == "phantom":
                values["data"]["root"] = None
        return found

    def leaves_size_open(self) -> bool:
        """Whether the size of patches is to follow from the lesions: preset small, and no other size is named."""
        named = [layer.get("patches", {}) for layer in self._layers()]
        return self.preset == "small" and not any("size" in part for part in named)

    def _layers(self) -> tuple[dict[str, Any], dict[str, Any]]:
        if self.data is not None and self.preset == "demo":
            raise ValueError("--preset demo draws its own data: leave --data out, or choose another preset")
        return {} if self.config is None else read_options(self.config), _nested(dict(self._own()))

    def _own(self) -> list[tuple[str, Any]]:
        """(option, value) in the order given. ValueError where one is given twice with different values."""
        given: list[tuple[str, Any]] = (
            [] if self.data is None else [("data.root", str(self.data.expanduser().resolve()))]
        )
        given += [] if self.name is None else [("name", self.name)]
        given += map(option, self.set)
        seen: dict[str, Any] = {}
        for name, value in given:
            if seen.setdefault(name, value) != value:
                raise ValueError(f"{name} is given twice, as {seen[name]!r} and as {value!r}: say which")
        return given


SOUND = Wanted()


def config(*, wanted: Wanted = SOUND) -> None:
    """Print a whole configuration as JSON, with every option.

    Of a preset of several studies one after another, in a list.

    For example:

        lesionlens config --preset sound > study.json
        lesionlens config --set training.weights=none --set grid.seeds=0,1
    """
    found = wanted.values()
    print(json.dumps(found if len(found) > 1 else found[0], indent=2, ensure_ascii=False))


def read_options(path: Path) -> dict[str, Any]:
    """Options from a JSON file in UTF-8. ValueError where it is none, or names an option twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twice = [name for i, (name, _) in enumerate(pairs) if name in dict(pairs[:i])]
        if twice:
            raise ValueError(f"{path} names {twice[0]} twice")
        return dict(pairs)

    try:
        found = json.loads(path.read_text("utf-8-sig"), object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text in UTF-8: save it as JSON") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no options: it must begin with {{")
    return found


def option(text: str) -> tuple[str, Any]:
    """The name and the value of `name=value`. ValueError for another form, or an option that there is not."""
    name, sign, value = text.partition("=")
    if not sign:
        raise ValueError(f"--set {text}: write OPTION=VALUE, such as training.weights=none")
    several = takes_several(StudyConfig, name)
    read = _value(value)
    if several and not isinstance(read, list):
        read = [_value(part) for part in value.split(",")]
    return name, read


def _value(text: str) -> Any:
    """JSON where it is some, else the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, leaf = name.split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = value
    return nested
