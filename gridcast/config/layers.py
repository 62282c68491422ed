"""Where settings come from: profiles, the file of rules, overrides, laid over one another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gridcast.errors import ConfigError, has_password, is_secret, masked

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIGS_FOLDER = Path(__file__).resolve().parent.parent.parent / "configs"
LAYOUTS_FOLDER = CONFIGS_FOLDER / "layouts"


BASE_PROFILE = "base"


_NO_PROFILES = {"rules"}  # other files of the folder


_DEEP = "brackets or sections in one another, deeper than can be read"
_LONGEST = 160  # characters of a value that is told


Layer = tuple[str, dict[str, Any]]  # a file or an override by name, and what it sets


def profile_names() -> list[str]:
    """The profiles that come with gridcast."""
    return sorted({path.stem for path in CONFIGS_FOLDER.glob("*.yaml")} - _NO_PROFILES)


def profile_path(profile: str) -> Path:
    """The file of ``profile``: a path that ends in .yaml, or a name in ``configs/``."""
    if profile.endswith((".yaml", ".yml")):
        return Path(profile)
    return CONFIGS_FOLDER / f"{profile}.yaml"


def _profile_layer(profile: str) -> Layer:
    path = profile_path(profile)
    known = f"one of {', '.join(profile_names())}, or the path of a .yaml file"
    return str(path), _read_yaml(path, key="profile", found=profile, expected=known)


def layout_names() -> list[str]:
    """The layouts that come with gridcast."""
    return sorted(path.stem for path in LAYOUTS_FOLDER.glob("*.yaml"))


def _layout_layers(layers: list[Layer]) -> list[Layer]:
    """What the last ``layout_file`` names, if any: as for ``rules_file``, or a name of ours."""
    where, named = next(
        (name, layer["layout_file"]) for name, layer in reversed(layers) if "layout_file" in layer
    )
    if named is None:
        return []
    expected = f"one of {', '.join(layout_names())}, or the path of a .yaml file"
    if not isinstance(named, str):
        raise ConfigError(where=where, key="layout_file", found=named, expected=expected)
    path = LAYOUTS_FOLDER / f"{named}.yaml"
    if named.endswith((".yaml", ".yml")):
        path = (Path() if where.startswith("--set ") else Path(where).parent) / named
    return [(str(path), _read_yaml(path, key="layout_file", found=named, expected=expected))]


def _rules_layer(layers: list[Layer]) -> Layer:
    """The file that the last ``rules_file`` names: from its YAML file's folder, or from here."""
    where, named = next(
        (name, layer["rules_file"]) for name, layer in reversed(layers) if "rules_file" in layer
    )
    if not isinstance(named, str):
        raise ConfigError(
            where=where,
            key="rules_file",
            found=named,
            expected="the path of a .yaml file that is there",
        )
    path = (Path() if where.startswith("--set ") else Path(where).parent) / named
    rules = _read_yaml(
        path, key="rules_file", found=named, expected="the path of a .yaml file that is there"
    )
    return str(path), {"rules": rules}


def _read_yaml(path: Path, *, key: str, found: str, expected: str) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        raise ConfigError(where=str(path), key=key, found=found, expected=expected) from None
    except RecursionError:
        raise ConfigError(
            where=str(path), key="(file)", found=_DEEP, expected="at most a few"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(
            where=str(path), key="(file)", found=_place_of(error), expected="valid YAML in UTF-8"
        ) from None
    if not isinstance(tree, dict):
        raise ConfigError(
            where=str(path),
            key="(file)",
            found=f"no mapping ({type(tree).__name__})",
            expected="sections with keys (a YAML mapping)",
        )
    return tree


def _place_of(error: yaml.YAMLError | UnicodeDecodeError) -> str:
    """What is wrong and where; none of the file's own words, which may be meant for nobody."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return type(error).__name__
    return f"{getattr(error, 'problem', None)} in line {mark.line + 1}, column {mark.column + 1}"


def _require_no_password(value: object, *, where: str, key: str) -> None:
    """Settings are written down in many places, so no address in them may hold a password.

    Raises:
        ConfigError: one does; it is not told.
    """
    if isinstance(value, dict):
        for name, each in value.items():
            _require_no_password(each, where=where, key=f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for each in value:
            _require_no_password(each, where=where, key=key)
    elif isinstance(value, str) and has_password(value):
        raise ConfigError(
            where=masked(where), key=key, found="an address with a password",
            expected="one without: the environment has it, in MLFLOW_TRACKING_URI, or in "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        )  # fmt: skip


def _name_of(override: str) -> str:
    """An override as messages name it: without a value that looks like a secret."""
    key, _, _ = override.partition("=")
    return f"--set {key}=…" if is_secret(key) else f"--set {override}"


def _parse_override(override: str) -> dict[str, Any]:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(
            where="--set",
            key=override.partition(" ")[0],
            found=override,
            expected="key=value, as training.passes=3",
        )
    try:
        value: Any = yaml.safe_load(text)
    except RecursionError:
        raise ConfigError(where="--set", key=key, found=_DEEP, expected="a YAML value") from None
    except yaml.YAMLError:
        found = text if len(text) < _LONGEST else f"{text[:_LONGEST]}…"
        raise ConfigError(where="--set", key=key, found=found, expected="a YAML value") from None
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """Settings ``key=value`` as one tree.

    Raises:
        ConfigError: one is no setting.
    """
    tree = dict[str, Any]()
    for override in overrides:
        _lay_over(tree, _parse_override(override), {}, override)
    return tree


def _stack(layers: list[Layer]) -> tuple[dict[str, Any], dict[str, str]]:
    """``base.yaml``, its rules, a layout, the layers over them, and which layer set which key."""
    tree, origin = dict[str, Any](), dict[str, str]()
    base = _profile_layer(BASE_PROFILE)
    for name, layer in layers:
        _require_no_password(layer, where=name, key="")
    of_source = _layout_layers([base, *layers])
    for name, layer in (base, _rules_layer([base, *layers]), *of_source, *layers):
        _lay_over(tree, layer, origin, name)
    return tree, origin


def _lay_over(
    tree: dict[str, Any], layer: dict[str, Any], origin: dict[str, str], name: str, prefix: str = ""
) -> None:
    """Merge ``layer`` into ``tree`` in place; ``origin`` remembers which layer set which key."""
    for key, value in layer.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            _lay_over(tree[key], value, origin, name, f"{path}.")
        else:
            tree[key] = value
            origin.pop(path, None)  # so that the layer that came last stands last
            origin[path] = name
