"""What pydantic found, in words that say where, what, why and how to fix it."""

from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from keeper.chain.secrecy import HEX_64
from keeper.config.document import KEY_FIX, Document, KeyPath, is_mnemonic, secret_problem
from keeper.config.schema import PREFIX, Tables
from keeper.config.written import WrongValueError, closest
from keeper.model.errors import Problem

SECRET_KEYS = {
    "private_key",
    "keystore_password",
    "password",
    "mnemonic",
    "seed_phrase",
    "seed",
    "webhook_url",
    "deadman_url",
    "apprise_url",
}
OTHER_VARIABLES = ("KEEPER_DEBUG",)


def from_validation(document: Document, error: ValidationError) -> Iterator[Problem]:
    """Every mistake that pydantic reports."""
    for details in error.errors(include_url=False):
        wrong = _explain(details)
        yield problem(document, details["loc"], wrong)


def problem(document: Document, path: KeyPath, wrong: WrongValueError) -> Problem:
    """A wrong value at its place."""
    return Problem(where=document.where(path), what=wrong.what, why=wrong.why, fix=wrong.fix)


def written_secrets(document: Document) -> Iterator[Problem]:
    """Keys and seed phrases that stand in the file."""
    for path, value in _leaves(document.values):
        name = str(path[-1])
        if name in SECRET_KEYS or (isinstance(value, str) and is_mnemonic(value)):
            what = "a seed phrase" if is_mnemonic(str(value)) else f"the secret `{name}`"
            fix = _url_fix(path) if name.endswith("_url") else KEY_FIX
            yield secret_problem(f"{document.path}:{document.line(path)}", what, fix=fix)


def _url_fix(path: KeyPath) -> str:
    # However it is written, it is set where it belongs: alone, or in its channel.
    name = path if path[0] == "channels" else path[-1:]
    return (
        "take it away, have its service make a new one if others may have seen it, and set the "
        f"environment variable {PREFIX}{'__'.join(map(str, name)).upper()} to it"
    )


def misplaced_secrets(document: Document) -> Iterator[Problem]:
    """Keys and seed phrases in variables that are not for them, which may be shown anywhere."""
    for name, value in document.environ.items():
        if name.endswith(("PRIVATE_KEY", "PASSWORD")) and HEX_64.fullmatch(value.strip()):
            continue
        what = (
            "a private key"
            if HEX_64.search(value)
            else "a seed phrase"
            if is_mnemonic(value)
            else None
        )
        if what is not None:
            yield Problem(
                where=f"environment variable {name}",
                what=f"{what} stands in a variable that is not for it",
                why="what belongs there is shown in messages and logs",
                fix=f"unset {name}; a signer's key comes by KEEPER_PRIVATE_KEY, or for one of "
                "several by KEEPER_SIGNERS__<NAME>__PRIVATE_KEY",
            )


def unknown_variables(document: Document) -> Iterator[Problem]:
    """Variables that look like ours and mean nothing."""
    sections = tuple(Tables.model_fields)
    for name in document.environ:
        section = name.removeprefix(PREFIX).split("__")[0].lower()
        if name in OTHER_VARIABLES or section in sections:
            continue
        meant = closest(section, sections)
        yield Problem(
            where=f"environment variable {name}",
            what="no such setting is known",
            why="a mistyped setting that is ignored leaves you with another one than you meant",
            fix=f"write {PREFIX}{meant.upper()}{name[len(PREFIX) + len(section) :]}"
            if meant
            else "take it away",
        )


def _explain(details: ErrorDetails) -> WrongValueError:
    path = details["loc"]
    key = path[-1]
    match details["type"]:
        case "value_error":
            wrong = details["ctx"]["error"]
            assert isinstance(wrong, WrongValueError)
            return wrong
        case "missing":
            return _missing(path)
        case "extra_forbidden":
            known = _known_keys(path[:-1])
            meant = closest(str(key), known)
            return WrongValueError(
                f"`{key}` is not known here",
                "a mistyped setting that is ignored leaves you with another one than you meant",
                f"write `{meant}`" if meant else f"known here are: {', '.join(known)}",
            )
        case "list_type":
            return WrongValueError(
                f"`{key}` is a list of sections",
                "each entry has a section of its own",
                f"write [[{key}]] with two brackets above each",
            )
        case _:
            name = ".".join(str(part) for part in path)
            return WrongValueError(
                f"`{key}` is a section, not a value",
                "its keys stand below its name",
                f"write [{name}] on a line of its own and the keys below",
            )


def _missing(path: KeyPath) -> WrongValueError:
    key = str(path[-1])
    why = "there is no safe guess for it"
    if len(path) == 1:
        section = f"[[{key}]]" if key == "positions" else f"[{key}]"
        if key in {"policies", "markets", "signers"}:
            section = f"[{key}.<name>]"
        return WrongValueError(
            f"the section {section} is missing", why, "copy it from config/keeper.example.toml"
        )
    model = _model(path[:-1])
    example = (model.model_fields[key].examples or ["…"])[0] if model else "…"
    return WrongValueError(f"`{key}` is missing", why, f"add a line such as: {key} = {example}")


def _known_keys(path: KeyPath) -> list[str]:
    model = _model(path)
    if model is None:
        return []
    return [name for name in model.model_fields if name not in SECRET_KEYS]


def _model(path: KeyPath) -> type[BaseModel] | None:
    """The model that holds the keys at `path`."""
    kind: Any = Tables
    for key in path:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = _or_none(kind.model_fields[str(key)].annotation)
        else:
            kind = get_args(kind)[-1]
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _or_none(annotation: Any) -> Any:
    """A section that may be left out as the one that it is."""
    kinds = get_args(annotation)
    return kinds[0] if kinds[1:] == (NoneType,) else annotation


def _leaves(values: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[KeyPath, Any]]:
    match values:
        case Mapping():
            for key, value in values.items():
                yield from _leaves(value, (*path, key))
        case list():
            for index, value in enumerate(values):
                yield from _leaves(value, (*path, index))
        case _:
            yield path, values
