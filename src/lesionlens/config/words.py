"""Options by name: what a wrong configuration is told, and what an option takes."""

from collections.abc import Iterator
from difflib import get_close_matches
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError


def plain_words(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """What is wrong with a configuration of this model, one line for all options; without it no name is proposed."""
    return "; ".join(dict.fromkeys(_fault(dict(found), model) for found in error.errors(include_url=False)))


def _fault(fault: dict[str, Any], model: type[BaseModel] | None) -> str:
    path = [str(part) for part in fault["loc"]]
    name, kind, context = ".".join(path), fault["type"], fault.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "json_invalid":
        return f"this is not JSON: {context['error']}"
    if kind == "extra_forbidden":
        return unknown(model, name) if model else f"there is no option {name}"
    if kind == "missing":
        return f"{name} is missing"
    if kind == "literal_error":
        near = get_close_matches(str(fault["input"]), str(context["expected"]).replace("'", " ").split(), 1, 0.7)
        asked = f", did you mean {near[0]}?" if near else ""
        return f"{name} is {fault['input']!r}{asked} It takes {context['expected']}"
    said = str(fault["msg"]).removeprefix("Input ").removeprefix("Value ")
    given = fault["input"] if isinstance(fault["input"], str | int | float | None) else type(fault["input"]).__name__
    return f"{name} is {given!r}: it {said}"


def unknown(model: type[BaseModel], name: str) -> str:
    """That a model has no option of that name, and which one was probably meant."""
    parent, _, leaf = name.rpartition(".")
    leaves = {option: option.rpartition(".")[2] for option in options(model)}
    beside = {own: option for option, own in leaves.items() if option.rpartition(".")[0] == parent}
    near = [beside[found] for found in get_close_matches(leaf, beside, 1, 0.7)]
    near = near or [option for option, own in leaves.items() if own == leaf]
    if near:
        return f"there is no option {name}: did you mean {near[0]}?"
    return f"this version has no option {name}: `lesionlens config` prints all, `lesionlens serve` registers them"


def options(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every option of a model by its dotted name, parts before what they hold."""
    for name, field in model.model_fields.items():
        yield prefix + name
        part = _part(field.annotation)
        if part is not None:
            yield from options(part, f"{prefix}{name}.")


def takes_several(model: type[BaseModel], name: str) -> bool:
    """Whether the option of that dotted name is a list. ValueError where there is none."""
    if name not in options(model):
        raise ValueError(unknown(model, name))
    head, _, rest = name.partition(".")
    annotation: Any = model.model_fields[head].annotation
    part = _part(annotation)
    if rest and part is not None:
        return takes_several(part, rest)
    return get_origin(annotation) is tuple


def _part(annotation: Any) -> type[BaseModel] | None:
    """The model that an option holds, if it holds one and no list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType):
        return next((found for found in map(_part, get_args(annotation)) if found is not None), None)
    return None
