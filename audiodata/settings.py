"""The base of every settings class: frozen, nothing unknown accepted, and errors that a person can act on."""

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from audiodata.errors import CatalogError


class Settings(BaseModel):
    """A frozen group of settings; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


AnySettings = TypeVar("AnySettings", bound=Settings)


def validated(model: type[AnySettings], values: Mapping[str, Any], where: str) -> AnySettings:
    """Build settings from a mapping.

    Parameters
    ----------
    model : type of Settings
        What to build.
    values : mapping
        As read from a catalog.
    where : str
        The catalog and table, for the message.

    Raises
    ------
    CatalogError
        Names the first key that is wrong, what was expected, and for an unknown key the nearest known one.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise CatalogError(f"{where}: {_explain(model, error)}") from None


def _explain(model: type[Settings], error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown key `{key}`{nearest(str(first['loc'][-1]), _known_keys(model, first['loc'][:-1]))}"
    if first["type"] == "missing":
        return f"`{key}` is required"
    if not key:
        return first["msg"].removeprefix("Value error, ")
    return f"`{key}` = {first['input']!r}: {first['msg'].removeprefix('Value error, ')}"


def _known_keys(model: type[BaseModel], parents: tuple) -> list[str]:
    """Return the keys of the table in which an unknown key was found."""
    for parent in parents:
        field = model.model_fields.get(str(parent))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return []
        model = field.annotation
    return list(model.model_fields)


def nearest(word: str, known: list[str]) -> str:
    """Return the tail of an error message that names the nearest known word, or lists them all when none is near."""
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"; did you mean `{close[0]}`?"
    return f"; known: {', '.join(known)}" if known else ""
