"""Every knob stands in base.yaml once; what the configuration does not know is refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from gridcast.config import CONFIGS_FOLDER, Config, merged, profile_names, profile_path
from gridcast.errors import EXIT_USAGE, ConfigError

DATA = {"tuning.space.", "open_meteo.variables."}
BASE, RULES = CONFIGS_FOLDER / "base.yaml", CONFIGS_FOLDER / "rules.yaml"


def fields_of(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The path of every knob below a section."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields_of(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def keys_of(node: yaml.Node, prefix: str = "") -> Iterator[str]:
    """Every path of a YAML file, those that stand twice twice; what is data ends a path."""
    if isinstance(node, yaml.MappingNode) and node.value and prefix not in DATA:
        for key, value in node.value:
            yield from keys_of(value, f"{prefix}{key.value}.")
    else:
        yield prefix.removesuffix(".")


def sections() -> Iterator[type[BaseModel]]:
    """All classes of the tree."""
    waiting: list[type[BaseModel]] = [Config]
    while waiting:
        section = waiting.pop()
        yield section
        for field in section.model_fields.values():
            kinds = (field.annotation, *get_args(field.annotation))
            waiting += [k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)]


def refusal(*overrides: str, profile: str = "base") -> ConfigError:
    with pytest.raises(ConfigError) as refused:
        Config.load(profile, overrides=overrides)
    return refused.value


def write_profile(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


# -- profiles ------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", profile_names())
@pytest.mark.parametrize("device_type", ["cpu", "cuda"])
def test_every_profile_loads(profile: str, device_type: Any) -> None:  # noqa: ANN401
    Config.load(profile, device_type=device_type)


def test_the_profiles_are_the_files_of_the_folder() -> None:
    names = {path.stem for path in Path("configs").glob("*.yaml")}
    assert profile_names() == sorted(names - {"rules"})
    assert {"base", "gpu", "seed"} <= set(profile_names())
    assert profile_path("seed") == CONFIGS_FOLDER / "seed.yaml"
    assert profile_path("mine/own.yml") == Path("mine/own.yml")


def test_base_has_every_field_exactly_once() -> None:
    nodes = [yaml.compose(path.read_text(encoding="utf-8")) for path in (BASE, RULES)]
    base, rules = (list(keys_of(node)) for node in nodes if node is not None)
    assert sorted([*base, *(f"rules.{key}" for key in rules)]) == sorted(fields_of(Config))


@pytest.mark.parametrize("profile", profile_names())
def test_no_profile_says_a_key_twice(profile: str) -> None:
    node = yaml.compose(profile_path(profile).read_text(encoding="utf-8"))
    assert node is not None
    keys = list(keys_of(node))
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.__name__)
def test_no_default_hides_in_a_class_and_every_field_says_what_it_is(
    section: type[BaseModel],
) -> None:
    assert section.model_config["extra"] == "forbid"
    assert section.model_config["frozen"]
    for name, field in section.model_fields.items():
        assert field.is_required(), name
        is_section = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        assert is_section or field.description, name


def test_a_profile_changes_what_it_names_and_nothing_else() -> None:
    tree = yaml.safe_load(profile_path("seed").read_text(encoding="utf-8"))
    expected = Config.load().model_dump(mode="json")
    for section, values in tree.items():
        if isinstance(values, dict):
            expected[section] = merged(expected[section], values)
        else:
            expected[section] = values
    assert Config.load("seed").model_dump(mode="json") == expected


def test_the_seed_profile_is_the_articles() -> None:
    seed = Config.load("seed")
    assert (seed.windows.unit, seed.windows.lookback, seed.windows.warmup) == ("rows", 90, 89)
    assert (seed.windows.horizon, seed.windows.stride) == (1, 1)
    assert (seed.features.kind, seed.scaling.method, seed.scaling.fit_on) == (
        "article", "minmax", "all",
    )  # fmt: skip
    assert (seed.split.test_share, seed.split.article_lookback) == (0.1, 90)
    model = seed.model
    assert (model.hidden_size, model.num_layers, model.dropout) == (256, 2, 0.2)
    assert (model.head_relu, model.target) == (True, "level")
    training = seed.training
    assert (training.passes, training.batch_size, training.drop_last) == (5, 1024, True)
    assert (training.optimizer, training.learning_rate, training.loss) == ("adam", 0.001, "mse")
    assert (training.schedule, training.weight_decay) == ("constant", 0.0)


def test_a_file_may_be_a_profile_and_a_json_copy_of_a_configuration_is_the_same(
    tmp_path: Path,
) -> None:
    mine = write_profile(tmp_path, "training:\n  passes: 3\n")
    config = Config.load(mine)
    assert config.training.passes == 3
    assert config.training.batch_size == Config.load().training.batch_size
    assert Config.model_validate(config.model_dump(mode="json")) == config


def test_a_configuration_cannot_be_changed() -> None:
    config = Config.load()
    with pytest.raises(ValidationError, match="frozen"):
        config.training.passes = 3  # type: ignore[misc]


# -- layers --------------------------------------------------------------------------------------


def test_the_gpu_profile_is_laid_over_on_cuda_only() -> None:
    on_cpu, on_cuda = (Config.load(device_type=device) for device in ("cpu", "cuda"))
    gpu = yaml.safe_load(profile_path("gpu").read_text(encoding="utf-8"))
    assert on_cpu.model.hidden_size == 64
    assert on_cuda.model.hidden_size == gpu["model"]["hidden_size"] != 64
    assert on_cuda.training.window_budget == gpu["training"]["window_budget"]
    assert on_cuda.windows == on_cpu.windows


def test_the_seed_profile_is_the_same_on_cuda() -> None:
    assert Config.load("seed", device_type="cuda") == Config.load("seed")


def test_overrides_win_over_profiles_and_later_ones_over_earlier_ones() -> None:
    overrides = ("model.hidden_size=7", "training.passes=2", "training.passes=3")
    for config in (
        Config.load(overrides=overrides),
        Config.load(overrides=overrides, device_type="cuda"),
        Config.load("seed", overrides=overrides),
    ):
        assert (config.model.hidden_size, config.training.passes) == (7, 3)


def test_an_override_decides_whether_there_is_a_gpu_profile() -> None:
    config = Config.load(overrides=("profile_on_cuda=null",), device_type="cuda")
    assert config.model.hidden_size == 64


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("training.max_steps=null", None),
        ("training.max_steps=5", 5),
        ("training.seeds=[1, 2]", (1, 2)),
        ("training.learning_rate=1e-3", 0.001),
        ("tracking.uri=http://127.0.0.1:5000/?a=b", "http://127.0.0.1:5000/?a=b"),
        ("training.drop_last=true", True),
    ],
)
def test_an_overrides_value_is_yaml(override: str, value: object) -> None:
    section, key = override.split("=", maxsplit=1)[0].split(".")
    assert getattr(getattr(Config.load(overrides=(override,)), section), key) == value


# -- rules ---------------------------------------------------------------------------------------


def test_a_region_may_have_rules_of_its_own_and_the_others_keep_the_default() -> None:
    own = "rules.regions.AEP={required: {min_mw: 5000, max_mw: 30000}, flagged: {zero: false}}"
    before, after = Config.load().rules, Config.load(overrides=(own,)).rules
    assert after.of("DOM") == after.default == before.default == before.of("AEP")
    assert (after.of("AEP").required.max_mw, after.of("AEP").flagged.zero) == (30_000, False)
    expected = before.default.model_dump()
    expected["required"] |= {"min_mw": 5000.0, "max_mw": 30000.0}
    expected["flagged"]["zero"] = False
    assert after.of("AEP").model_dump() == expected


def test_a_rule_of_the_default_reaches_the_regions_that_say_nothing_else() -> None:
    overrides = ("rules.regions.AEP.flagged.zero=false", "rules.default.flagged.spike_ratio=3")
    own = Config.load(overrides=overrides).rules.of("AEP").flagged
    assert (own.zero, own.spike_ratio) == (False, 3.0)


def test_the_key_that_gives_a_region_a_rule_is_known() -> None:
    rules = Config.load(overrides=("rules.regions.AEP.required.min_rows=7",)).rules
    assert rules.key_of("AEP", "required", "min_rows") == "rules.regions.AEP.required.min_rows"
    assert rules.key_of("AEP", "required", "max_mw") == "rules.default.required.max_mw"
    assert rules.key_of("DOM", "required", "min_rows") == "rules.default.required.min_rows"


def write_rules(folder: Path, replacements: dict[str, str]) -> Path:
    """The shipped file with other words, as a utility's own."""
    text = RULES.read_text(encoding="utf-8")
    for old, new in replacements.items():
        assert f"\n{old}" in text
        text = text.replace(f"\n{old}", f"\n{new}")
    path = folder / "own_rules.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_another_file_of_rules_is_named_by_a_path_from_here_or_from_its_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_rules(tmp_path, {"    dropout_ratio: 0.35": "    dropout_ratio: 0.5"})
    profile = write_profile(tmp_path, "rules_file: own_rules.yaml\ntraining:\n  passes: 3\n")
    loaded = [Config.load(profile), Config.load(overrides=(f"rules_file={path}",))]
    monkeypatch.chdir(tmp_path)
    loaded.append(Config.load(overrides=("rules_file=own_rules.yaml",)))
    assert [config.rules.default.flagged.dropout_ratio for config in loaded] == [0.5] * 3


def test_profiles_and_overrides_are_laid_over_the_named_file_of_rules(tmp_path: Path) -> None:
    path = write_rules(tmp_path, {"    max_fill_hours: 3": "    max_fill_hours: 5"})
    overrides = ("rules.default.repaired.fill_weeks=2", f"rules_file={path}")
    repaired = Config.load("seed", overrides=overrides).rules.default.repaired
    assert (repaired.max_fill_hours, repaired.fill_weeks) == (5, 2)
    assert (repaired.exclude_flagged, repaired.replaced_flags) == (False, ())


@pytest.mark.parametrize(
    ("line", "instead", "key", "found", "expected"),
    [
        ("    zero: true", "    zero: 1", "default.flagged.zero", 1, "a valid boolean"),
        ("    zero: true", "    nil: true", "default.flagged.nil", "nil", "a known key: zero, "),
        ("    spike_ratio: 2.5", "    spike_ratio: yes", "default.flagged.spike_ratio", True,
         "a valid number"),
        ("    max_flat_hours: 6", "    max_flat_hours: 6.0", "default.flagged.max_flat_hours", 6.0,
         "a valid integer"),
        ("    min_rows: 1000", "    min_rows: on", "default.required.min_rows", True,
         "a valid integer"),
        ("    min_rows: 1000", "", "default.required.min_rows", None, "required"),
        ("    max_mw: 200000.0", "    max_mw: '9'", "default.required.max_mw", "9",
         "a valid number"),
        ("regions: {}", "regions: { NO: {} }", "regions", False, "a region's name"),
        ("regions: {}", "regions: { 12: {} }", "regions", 12, "a region's name"),
        ("regions: {}", "regions: { ../x: {} }", "regions", "../x", "a region's name"),
        ("regions: {}", "regions: [AEP]", "regions", ["AEP"], "a valid dictionary"),
        ("regions: {}", "regions: { AEP: 3 }", "regions.AEP", 3, "a valid dictionary"),
        ("regions: {}", "regions: { AEP: { flagged: { dip: 1 } } }", "regions.AEP.flagged.dip",
         "dip", "a known key: zero, "),
    ],
)  # fmt: skip
def test_a_fault_in_a_file_of_rules_names_file_key_found_and_expected(
    tmp_path: Path, line: str, instead: str, key: str, found: object, expected: str
) -> None:
    path = write_rules(tmp_path, {line: instead})
    error = refusal(f"rules_file={path}", "training.passes=2")
    assert (error.where, error.key, error.found) == (str(path), f"rules.{key}", found)
    assert expected in error.expected


def test_a_file_of_rules_that_is_not_there_is_refused_by_its_path(tmp_path: Path) -> None:
    error = refusal(f"rules_file={tmp_path}/none.yaml")
    assert (error.where, error.key) == (f"{tmp_path}/none.yaml", "rules_file")
    error = refusal("rules_file=3")
    assert (error.where, error.key, error.found) == ("--set rules_file=3", "rules_file", 3)


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "key", "expected"),
    [
        ("trainng.passes=3", "trainng", "a known key: profile_on_cuda, rules_file"),
        ("training.epochs=3", "training.epochs", "a known key: device, seeds, passes"),
        ("rules.default.required.low=1", "rules.default.required.low", "min_mw, max_mw"),
        ("training.passes=many", "training.passes", "a valid integer"),
        ("training.passes=1.5", "training.passes", "a valid integer"),
        ("training.passes=0", "training.passes", "greater than or equal to 1"),
        ("training.loss=huber", "training.loss", "'l1' or 'mse'"),
        ("training.learning_rate=.nan", "training.learning_rate", "a finite number"),
        ("training.device=tpu", "training.device", "auto|cpu|cuda"),
        ("model.cells=[gru, rnn]", "model.cells.1", "'gru' or 'lstm'"),
        ("model.cells=[]", "model.cells", "at least 1 item"),
        ("split.test_share=1.5", "split.test_share", "less than or equal to 1"),
        ("windows.warmup=168", "windows", "warmup below lookback (168)"),
        ("ingestion.timezone=Mars/Base", "ingestion.timezone", "an IANA time zone"),
        ("rules.regions=3", "rules.regions", "a valid dictionary"),
        ("rules.default.required.min_mw=300000", "rules.default.required",
         "min_mw below max_mw (200000.0)"),
    ],
)  # fmt: skip
def test_an_override_that_is_not_allowed_is_refused_by_its_own_words(
    override: str, key: str, expected: str
) -> None:
    error = refusal("training.passes=2", override, "training.batch_size=8")
    assert (error.where, error.key) == (f"--set {override}", key)
    assert expected in error.expected
    assert str(error) == (
        f"ERROR --set {override}: {key}: found {error.found!r}, expected {error.expected}"
    )
    assert error.exit_code == EXIT_USAGE


def test_a_value_where_a_section_belongs_is_refused() -> None:
    error = refusal("training=3")
    assert (error.where, error.key, error.found) == ("--set training=3", "training", 3)
    assert "TrainingConfig" in error.expected


@pytest.mark.parametrize(
    "override",
    ["training.passes", "=3", "passes 3", ""],
    ids=["no_value", "no_key", "space", "empty"],
)
def test_an_override_that_is_no_pair_is_refused(override: str) -> None:
    error = refusal(override)
    assert (error.where, error.found) == ("--set", override)
    assert error.expected == "key=value, as training.passes=3"


def test_an_override_whose_value_is_no_yaml_is_refused() -> None:
    error = refusal("training.seeds=[1")
    assert (error.where, error.key, error.found) == ("--set", "training.seeds", "[1")


@pytest.mark.parametrize(
    "override",
    [
        "tracking.uri=http://me:hunter2@host:5000",
        "tracking.experiment=postgresql+psycopg2://me:hunter2@host/x",
        "training.seeds=[http://me:hunter2@host]",
        "tracking.password=hunter2",
        "tracking.uri http://me:hunter2@host",
        "training.passes=http://me:hunter2@host",
    ],
)
def test_a_password_is_refused_and_never_told(override: str) -> None:
    error = refusal(override)
    assert "hunter2" not in str(error)
    assert "tracking" in str(error) or "training" in str(error)


def test_a_password_in_a_profile_is_refused_and_never_told(tmp_path: Path) -> None:
    mine = write_profile(tmp_path, "tracking:\n  uri: http://me:hunter2@host\n")
    error = refusal(profile=mine)
    assert (error.where, error.key) == (mine, "tracking.uri")
    assert "hunter2" not in str(error)
    assert "MLFLOW_TRACKING_PASSWORD" in error.expected


@pytest.mark.parametrize("content", ["root:x:0:0\nhunter2: [", "hunter2", "- hunter2"])
def test_of_a_file_that_holds_no_settings_none_is_printed(tmp_path: Path, content: str) -> None:
    path = tmp_path / "passwd"
    path.write_text(content, encoding="utf-8")
    assert "hunter2" not in str(refusal(f"rules_file={path}"))


def test_brackets_without_end_are_refused_in_one_short_line(tmp_path: Path) -> None:
    brackets = "[" * 100_000
    for text in (brackets, brackets + "]" * 100_000, brackets[:900] + "1"):
        error = refusal(f"training.seeds={text}")
        assert (error.where, error.key) == ("--set", "training.seeds")
        assert len(str(error)) < 400
        assert "\n" not in str(error)
    mine = write_profile(tmp_path, f"training: {brackets}")
    error = refusal(profile=mine)
    assert (error.where, error.key) == (mine, "(file)")
    assert len(str(error)) < 400


def test_an_unknown_profile_is_refused_naming_the_known_ones() -> None:
    error = refusal(profile="sead")
    assert (error.key, error.found) == ("profile", "sead")
    assert error.expected.startswith(f"one of {', '.join(profile_names())}")
    assert error.where == str(CONFIGS_FOLDER / "sead.yaml")


def test_a_fault_in_a_profile_is_refused_naming_its_file(tmp_path: Path) -> None:
    mine = write_profile(tmp_path, "training:\n  passes: many\n")
    error = refusal("training.batch_size=8", profile=mine)
    assert (error.where, error.key, error.found) == (mine, "training.passes", "many")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("training: [1", "valid YAML"), ("- 1", "a YAML mapping"), ("", "a YAML mapping")],
    ids=["broken", "list", "empty"],
)
def test_a_profile_that_is_no_mapping_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    mine = write_profile(tmp_path, text)
    error = refusal(profile=mine)
    assert error.where == mine
    assert expected in error.expected


def test_a_profile_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes("tracking:\n  experiment: Größe\n".encode("latin-1"))
    assert refusal(profile=str(path)).expected == "valid YAML in UTF-8"


def test_a_field_that_is_missing_is_refused_naming_what_has_to_be_there() -> None:
    error = refusal("rules.default.required=null")
    assert (error.key, error.found) == ("rules.default.required", None)


def test_what_holds_of_a_region_is_told_without_a_look_at_the_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = Config.load()

    def refuse() -> frozenset[str]:
        pytest.fail("all time zones of the machine are listed again")

    monkeypatch.setattr("gridcast.config.data.known_zones", refuse)
    own = [config.ingestion.of(f"R{number}") for number in range(10_000)]
    assert own[0].model_dump() == own[-1].model_dump()
    assert own[0].timezone == config.ingestion.timezone
