"""Small changes of the code, each of which a test has to notice.

They stand at lines that choose, key, shift time, judge or compute: where a slip would pass in
silence. ``old`` occurs once in its file, which ``tests/policy/test_mutations.py`` holds.
"""

from __future__ import annotations

from typing import NamedTuple


class Mutation(NamedTuple):
    """A change of one line, and the tests that are to notice it."""

    file: str
    old: str
    new: str
    tests: str

    @property
    def name(self) -> str:
        """What it changes, on one line."""
        return f"{self.file}: {' '.join(self.old.split())} -> {' '.join(self.new.split())}"


TIME = "tests/readings/test_parsing.py tests/readings/test_utc_labels.py"
SERIES, SPLITS = "tests/features/test_series.py", "tests/features/test_splits.py"
FEATURES, WINDOWS = "tests/features/test_features.py", "tests/features/test_windows.py"
QUALITY, SCALING = "tests/readings/test_quality.py", "tests/features/test_scaling.py"
METRICS, NAIVE = "tests/evaluation/test_metrics.py", "tests/baselines/test_naive_forecasts.py"
FORECASTS = (
    "tests/forecasting/test_recursion.py tests/forecasting/test_calibration.py "
    "tests/forecasting/test_by_lead.py"
)
PREDICTION, TRAINING = "tests/training/test_prediction.py", "tests/training/test_training.py"
CONTESTANTS = (
    "tests/evaluation/test_comparison.py tests/evaluation/test_forecasts.py "
    "tests/evaluation/test_scores.py"
)
REPORT = "tests/report/test_run_page.py"
LOOPS = "tests/kernels/test_cpu_recurrence.py tests/training/test_cpu_gradients.py"
ADAM = "tests/kernels/test_adam.py"
CLOSURE, SECTION = "tests/runs/test_import_closure.py", "tests/config/test_section.py"
REGION_KEY = "tests/ingest/test_region_store.py"
STATE = "tests/training/test_state.py"
COVARIATES = "tests/covariates/test_inputs.py tests/covariates/test_values.py"

AHEAD, NEIGHBOURS = "tests/features/test_known_ahead.py", "tests/features/test_neighbours.py"
LEADS, BY_LEAD = "tests/networks/test_lead_forecaster.py", "tests/forecasting/test_by_lead.py"
LINEAR = "tests/baselines/test_linear_baselines.py"
BLENDING = "tests/evaluation/test_blending.py"
BANDS, ERROR_DAYS = "tests/forecasting/test_bands.py", "tests/forecasting/test_error_days.py"
BAND_SCORES = "tests/evaluation/test_band_scores.py"

_AHEAD, _NEIGHBOURS = "gridcast/features/known_ahead.py", "gridcast/features/neighbours.py"
_LEADS = "gridcast/networks/lead_forecaster.py"
_LEAD_WINDOWS, _RECURSION = "gridcast/training/lead_windows.py", "gridcast/forecasting/recursion.py"
_LINEAR = "gridcast/baselines/linear_baselines.py"
_LINEAR_INPUTS = "gridcast/baselines/linear_inputs.py"
_LINEAR_MODELS = "gridcast/baselines/linear_models.py"
_MAKERS, ISSUE = "gridcast/forecasting/makers.py", "tests/forecasting/test_issue.py"
LINEAR_LEADS = "tests/forecasting/test_linear_leads.py"
_ROLLING = "gridcast/forecasting/rolling.py"
_BANDS, _TYPICAL = "gridcast/forecasting/bands.py", "gridcast/forecasting/typical_errors.py"
_ERROR_DAYS = "gridcast/forecasting/error_days.py"
_BAND_SCORES = "gridcast/evaluation/band_scores.py"
_LOCAL = "gridcast/readings/local_time.py"
_QUALITY = "gridcast/readings/quality.py"
_APPENDING = "gridcast/readings/appending.py"
_SERIES = "gridcast/features/series.py"
_SPLITS = "gridcast/features/splits.py"
_SCALING = "gridcast/features/scaling.py"
_TABLE = "gridcast/features/table.py"
_WINDOWS = "gridcast/features/windows.py"
_METRICS = "gridcast/evaluation/metrics.py"
_NAIVE = "gridcast/baselines/naive_forecasts.py"
_COMPARISON = "gridcast/evaluation/comparison.py"
_FORECASTS = "gridcast/evaluation/forecasts.py"
_SCORES = "gridcast/evaluation/scores.py"
_PREDICTION = "gridcast/training/prediction.py"
_FORECASTER = "gridcast/networks/forecaster.py"
_CLOSURE = "tasks/runs/import_closure.py"
_ADAM = "gridcast/kernels/adam.py"
_STACK, _STEP = "gridcast/training/stack.py", "gridcast/training/step.py"
_GRADIENTS, _CPU = "gridcast/training/gradients.py", "gridcast/training/cpu_gradients.py"
_CLOCK, _LOOP = "gridcast/training/clock.py", "gridcast/training/loop.py"
_STATE = "gridcast/training/state.py"

RECORDS, CHECKPOINTS = "tests/runs/test_record_files.py", "tests/train/test_checkpoints.py"
_RECORD, _CHECKPOINTS = "gridcast/record.py", "tasks/train/checkpoints.py"

MUTATIONS = (
    # time
    Mutation(
        _LOCAL,
        'if config.label == "hour_ending" else 0 * _HOUR',
        'if config.label != "hour_ending" else 0 * _HOUR',
        TIME,
    ),
    Mutation(
        _LOCAL,
        "summer.where(~is_second[unclear.index], winter)",
        "winter.where(~is_second[unclear.index], summer)",
        TIME,
    ),
    Mutation(_LOCAL, "if swapped < jump:", "if swapped > jump:", TIME),
    Mutation(
        _LOCAL, "np.lexsort((lines, -loads, start[tied]))", "np.lexsort((lines, start[tied]))", TIME
    ),
    Mutation(_LOCAL, "allowed = 2 if is_repeated[group.index[0]] else 1", "allowed = 2", TIME),
    Mutation(
        _APPENDING,
        "if not settled.iloc[:_SETTLED].equals(recent[_COLUMNS].iloc[:_SETTLED]):",
        "if False:",
        "tests/readings/test_appending.py",
    ),
    # what is doubtful
    Mutation(
        _QUALITY,
        '"dropout": _is_beyond(-load_N, -median_N, -low_N, dropout)',
        '"dropout": _is_beyond(load_N, median_N, low_N, dropout)',
        QUALITY,
    ),
    Mutation(
        _QUALITY,
        "before = windows[at[own] - reference_hours]",
        "before = windows[at[own] - reference_hours + 1]",
        QUALITY,
    ),
    Mutation(
        _QUALITY,
        "> (rules.max_flat_hours or np.inf)",
        ">= (rules.max_flat_hours or np.inf)",
        QUALITY,
    ),
    # gaps, parts, scales
    Mutation(
        "gridcast/features/load_scale.py",
        "scaled * scale_mw + offset_mw\n    return",
        "scaled * scale_mw - offset_mw\n    return",
        SCALING,
    ),
    Mutation(
        _SERIES,
        "filled[step] = filled[step - 1] if np.isnan(value) else value",
        "filled[step] = filled[step - 1]",
        SERIES,
    ),
    Mutation(_SERIES, "run > rules.max_fill_hours", "run > rules.max_fill_hours + 1", SERIES),
    Mutation(
        _SERIES,
        '"is_trusted": observed & ~is_imputed & ~is_doubtful',
        '"is_trusted": observed & ~is_doubtful',
        SERIES,
    ),
    Mutation(
        _SERIES,
        'is_doubtful = (steps["flag"] != NO_FLAG) & rules.exclude_flagged',
        'is_doubtful = (steps["flag"] != NO_FLAG) & False',
        SERIES,
    ),
    Mutation(_SPLITS, "max(0, len(readings) - config.article_lookback)", "len(readings)", SPLITS),
    Mutation(
        _SPLITS,
        "parts[trusted[len(trusted) - num_validation :]] = VALIDATION",
        "parts[trusted[:num_validation]] = VALIDATION",
        SPLITS,
    ),
    Mutation(
        _SPLITS,
        "trusted = np.flatnonzero(is_trusted_T[:first_test])",
        "trusted = np.flatnonzero(is_trusted_T)",
        SPLITS,
    ),
    Mutation(
        "gridcast/features/load_scale.py",
        "return (load_mw - self.offset_mw) / self.scale_mw",
        "return (load_mw - self.offset_mw) * self.scale_mw",
        SCALING,
    ),
    Mutation(_SCALING, "float(1.0 / minmax.scale_[0])", "float(minmax.scale_[0])", SCALING),
    Mutation(
        _TABLE,
        'part_T == TRAIN if config.scaling.fit_on == "train" else ~np.isnan(load_mw)',
        "~np.isnan(load_mw)",
        FEATURES,
    ),
    # features
    Mutation(
        _TABLE, "lagged = before(lag - 1)", "lagged = before(lag - 2)", FEATURES
    ),
    Mutation(
        _TABLE,
        'next_hour = steps["timestamp"] + pd.Timedelta(hours=1)',
        'next_hour = steps["timestamp"]',
        FEATURES,
    ),
    Mutation(
        _TABLE,
        "np.nan_to_num(_last_steps(is_holiday_T, num_steps, lag))\n",
        "np.nan_to_num(_last_steps(is_holiday_T, num_steps, lag - 1))\n",
        FEATURES,
    ),
    Mutation(
        _TABLE,
        "out[..., -begin:] = values_T[..., :end]",
        "out[..., :begin] = values_T[..., :end]",
        FEATURES,
    ),
    # windows
    Mutation(
        _WINDOWS,
        "usable &= _count(steps.part_T > TRAIN, 0, span, len(usable)) == 0\n",
        "\n",
        WINDOWS,
    ),
    Mutation(
        _WINDOWS,
        "usable &= _count(~steps.is_input_T, 0, config.lookback, len(usable)) == 0\n",
        "\n",
        WINDOWS,
    ),
    Mutation(
        _WINDOWS,
        "np.random.default_rng([seed, pass_number])",
        "np.random.default_rng([seed, 0])",
        f"{WINDOWS} {TRAINING}",
    ),
    Mutation(
        _WINDOWS,
        "np.random.default_rng([seed, pass_number])",
        "np.random.default_rng([0, pass_number])",
        f"{WINDOWS} {TRAINING}",
    ),
    Mutation(
        _WINDOWS,
        "np.random.default_rng(pass_number).integers(config.stride)",
        "np.random.default_rng(0).integers(config.stride)",
        WINDOWS,
    ),
    Mutation(
        _WINDOWS,
        "usable &= _count(steps.part_T == part, first, span, len(usable)) == config.horizon",
        "usable &= _count(steps.part_T == part, first, span, len(usable)) > 0",
        WINDOWS,
    ),
    Mutation(
        _WINDOWS, "usable &= _count(~steps.is_input_T, 0, first, len(usable)) == 0\n", "\n", WINDOWS
    ),
    Mutation(
        _WINDOWS,
        "return np.flatnonzero(usable) + config.warmup",
        "return np.flatnonzero(usable) + config.warmup + 1",
        WINDOWS,
    ),
    # judging
    Mutation(
        _METRICS,
        "half_sum = (np.abs(y_true) + np.abs(y_pred)) / 2",
        "half_sum = np.abs(y_true)",
        METRICS,
    ),
    Mutation(
        _METRICS,
        "load_mw[season_length:] - load_mw[:-season_length]",
        "load_mw[1:] - load_mw[:-1]",
        METRICS,
    ),
    Mutation(
        _NAIVE,
        'back = lag * np.ceil(lead_N / lag).astype("int64")',
        "back = np.full_like(lead_N, lag)",
        NAIVE,
    ),
    Mutation(
        _NAIVE, "(region_T[np.maximum(source, 0)] == region_T[origin_N])", "(source >= 0)", NAIVE
    ),
    # who is chosen, and by what
    Mutation(_COMPARISON, "part in (VALIDATION, TEST)", "part in (TEST, TEST)", CONTESTANTS),
    Mutation(_COMPARISON, "blend_weights(validation, ", "blend_weights(test, ", BLENDING),
    Mutation("gridcast/evaluation/blending.py", "weight * (linear - networks)",
             "weight * (networks - linear)", BLENDING),
    Mutation("gridcast/forecasting/model.py", "self.weight_K[: networks_NK", "self.weight_K[1:][: "
             "networks_NK", "tests/forecasting/test_blend.py"),
    Mutation(
        _COMPARISON,
        "preferred=min(deciding, key=lambda name: deciding[name], default=None),",
        "preferred=next(iter(deciding), None),",
        CONTESTANTS,
    ),
    Mutation(_FORECASTS, 'frame["part"] == PARTS[part]', 'frame["part"] != "none"', CONTESTANTS),
    Mutation(_FORECASTS, ".take(step_N - lead_N)", ".take(step_N - 1)", CONTESTANTS),
    Mutation(_FORECASTS, "lead_N = common % span", "lead_N = common % span * 0 + 1", CONTESTANTS),
    Mutation(
        _SCORES,
        "(np.bincount(region_N, percent_errors(y_true_N, own, norm_N)) / num_R)[num_R > 0]",
        "percent_errors(y_true_N, own, norm_N)",
        CONTESTANTS,
    ),
    Mutation(
        _SCORES,
        'mean_over_regions("lead", rows["lead"]',
        'mean_over_regions("lead", rows["local_hour"]',
        CONTESTANTS,
    ),
    Mutation(_SCORES, '"under": (error < 0)', '"under": (error > 0)', CONTESTANTS),
    Mutation("gridcast/features/label_days.py", "dt.tz_convert(timezone)", 'dt.tz_convert("UTC")',
             "tests/features/test_label_days.py"),
    Mutation("gridcast/report/facts.py", "and self.horizon == article.HORIZON", "", REPORT),
    Mutation("gridcast/report/facts.py", "and used == article.REGIONS", "", REPORT),
    Mutation(
        "tasks/evaluate/score_models.py",
        "preferred=comparison.preferred,",
        "preferred=min(models, key=lambda name: models[name].smape, default=None),",
        "tests/evaluate",
    ),
    # forecasting
    Mutation(
        _PREDICTION,
        "origins[:, None] + np.arange(1, windows.horizon + 1)",
        "origins[:, None] + np.arange(0, windows.horizon)",
        PREDICTION,
    ),
    Mutation(_PREDICTION, "forecaster.eval()\n", "\n", f"{PREDICTION} {TRAINING}"),
    Mutation(
        _FORECASTER,
        "x_BOF[..., LOAD, None] + config.change_scale * y_BOH",
        "x_BOF[..., LOAD, None] + y_BOH",
        "tests/networks/test_forecaster.py",
    ),
    # keys
    Mutation(_CLOSURE, "todo += _packages_of(name)", "todo += []", CLOSURE),
    Mutation(_CLOSURE, "(branch.body)", "(branch.body if branch is None else ())", CLOSURE),
    Mutation(_CLOSURE, '(".cu", ".css", ".jinja")', '(".css", ".jinja")', CLOSURE),
    Mutation(
        _CLOSURE,
        '    "tasks.runs.storage": "brings',
        '    "tasks.evaluate.keep_models": "is said to write files alone, and no more than that",\n'
        '    "tasks.runs.storage": "brings',
        CLOSURE,
    ),
    Mutation(
        "tasks/train/plan_jobs.py",
        'config.keyed("windows", "model", "training")',
        'config.keyed("model", "training")',
        CLOSURE,
    ),
    Mutation("tasks/train/plan_jobs.py", '"code": code_sha256(NetworkJob.process),', "", CLOSURE),
    Mutation(
        "tasks/train/build_features.py",
        '"features", "scaling", "split", "windows"',
        '"features", "scaling", "windows"',
        CLOSURE,
    ),
    Mutation(
        "tasks/ingest/region_store.py",
        'keyed("required", "flagged")',
        'keyed("required")',
        REGION_KEY,
    ),
    Mutation(
        "gridcast/config/learning.py",
        "learning_rate: Positive = ",
        "learning_rate: Annotated[Positive, _WHERE] = ",
        SECTION,
    ),
    Mutation(
        "gridcast/config/section.py",
        "return {key: _keyed(value[key], each) for key, each in dumped.items()}",
        "return dumped",
        SECTION,
    ),
    # a training's state
    Mutation(_ADAM, '"square_SP": self._square_SP,', "", STATE),
    Mutation(_ADAM, '"count_S": self._count_S,', "", STATE),
    Mutation(_ADAM, '"good_S": self.loss_scale.good_S,', "", STATE),
    Mutation(_STACK, '{"served_SP": self._served_SP} if has_mean else {}', "{}", STATE),
    Mutation(
        _LOOP,
        'if stack.engine.layers != "cpu-loops":',
        'if stack.engine.layers == "gpu-kernels":',
        "tests/training/test_training.py tests/kernels/test_engine.py",
    ),
    Mutation(
        _LOOP,
        "config, num_shares = self._config, 1 + len(self._replicas)",
        "config, num_shares = self._config, 1",
        TRAINING,
    ),
    Mutation(
        "gridcast/readings/records.py",
        'AliasChoices("quarantined", "set_aside")',
        'AliasChoices("quarantined")',
        "tests/runs/test_record_files.py",
    ),
    Mutation(
        _GRADIENTS, "for number, each in enumerate(self._state or ())}", "for _ in ()}", STATE
    ),
    Mutation(
        _CPU,
        'self._rng.bit_generator.state = json.loads(tensors["rng"].numpy().tobytes())',
        "",
        STATE,
    ),
    Mutation(
        _CPU,
        "if not self._config.training.carry_hidden:\n            return {}",
        "if True:\n            return {}",
        STATE,
    ),
    Mutation(_STEP, "self.num_done = num_done", "", STATE),
    Mutation(
        _STEP, 'put_generators(of_part("generator", tensors), self._devices())\n', "\n", STATE
    ),
    Mutation(_CLOCK, "list(loss_BS.unbind())", "[]", STATE),
    Mutation(_CLOCK, "now - record.pass_seconds, now - record.elapsed_seconds", "now, now", STATE),
    Mutation(_LOOP, "self.outcomes = dict(errors_of(state.record))", "", STATE),
    Mutation(_LOOP, "self._order[0] != self._pass_number", "False", STATE),
    Mutation(_LOOP, "self._clock.start()\n", "\n", STATE),
    Mutation(_STATE, 'each.detach().to("cpu", copy=True)', 'each.detach().to("cpu")', STATE),
    # many hours at once
    Mutation(_AHEAD, "(self.hours_HK < lead_H1).any()", "False", AHEAD),
    Mutation(_AHEAD, "back_HK = lags_HK - lead_H1", "back_HK = lags_HK - lead_H1 + 1", AHEAD),
    Mutation(_AHEAD, "is_inside & is_known_T[places]", "is_inside", AHEAD),
    Mutation(_AHEAD, "is_inside = places >= first", "is_inside = places >= 0 * first", AHEAD),
    Mutation(_NEIGHBOURS, "values_GRJ[~is_known_GR] = 0.0", "", NEIGHBOURS),
    Mutation(_NEIGHBOURS, "out[hours:] = values_GR[:-hours]",
             "out[: -hours] = values_GR[hours:]", NEIGHBOURS),
    Mutation(_LEADS, "steps = origins[..., None] + torch.arange(",
             "steps = 1 + origins[..., None] + torch.arange(", LEADS),
    Mutation(_LEADS, "if self.training and self.config.neighbour_dropout:",
             "if self.config.neighbour_dropout:", LEADS),
    Mutation(_LEAD_WINDOWS, "(starts_B % stride)[:, None] + places_O", "places_O.expand("
             "len(starts_B), -1)", "tests/training/test_lead_windows.py"),
    Mutation(_LEAD_WINDOWS, "* ~is_filling_B[:, None, None]", "", LEADS
             + " tests/training/test_lead_windows.py"),
    # forecasts of hours to come
    Mutation(_RECURSION, "path.ahead_BSC[:, 1 : horizon + 1]",
             "path.ahead_BSC[:, :horizon]", FORECASTS),
    Mutation(_RECURSION, "path.ahead_BSC[:, horizon:]", "path.ahead_BSC", FORECASTS),
    Mutation(_RECURSION, "load_BT[:, -num_steps:]", "load_BT[:, :num_steps]", FORECASTS),
    Mutation("gridcast/covariates/inputs.py", "issue_B1 + np.arange(-back, num_hours)",
             "issue_B1 + 1 + np.arange(-back, num_hours)", COVARIATES),
    Mutation("gridcast/covariates/values.py", "hour_Q * self.span + minute_Q, side=",
             "hour_Q * self.span + minute_Q - 1, side=", COVARIATES),
    Mutation(_RECURSION, "path.ahead_BSC[:, :horizon].astype",
             "path.ahead_BSC[:, 1 : horizon + 1].astype", BY_LEAD),
    Mutation(_RECURSION, "first_B + num_steps - 1, first_B,",
             "first_B + num_steps - 2, first_B,", BY_LEAD),
    Mutation(_RECURSION, "end - num_steps : end]", "end - num_steps + 1 : end + 1]", FORECASTS),
    Mutation(_ROLLING, ' + np.timedelta64(1, "h"))', ")", FORECASTS),
    Mutation(_ROLLING, "np.arange(1 - lookback, origins[-1] + 1)",
             "np.arange(-lookback, origins[-1])", FORECASTS),
    Mutation(_ROLLING, "(hours + _HOUR).tz_convert", "hours.tz_convert", FORECASTS),
    Mutation(_ROLLING, "table.hour_T[steps_BL]]", "table.hour_T[steps_BL] - 1]", BY_LEAD),
    Mutation("gridcast/forecasting/region_state.py",
             "end = int(np.searchsorted(hour_N, issue_hour))",
             'end = int(np.searchsorted(hour_N, issue_hour, side="right"))', FORECASTS),
    Mutation("gridcast/forecasting/region_state.py", "steps_of_load(config), PAST_HOURS)",
             "steps_of_load(config), 1)", "tests/forecasting/test_backtest.py"),
    Mutation("gridcast/forecasting/calibration.py", '"part"].to_numpy() == VALIDATION, table',
             '"part"].to_numpy() > VALIDATION, table', FORECASTS),
    Mutation(_MAKERS, "np.cumsum(gain_K)", "np.cumsum(-gain_K)", ISSUE),
    Mutation(_MAKERS, "int(np.argmin(sums[::-1]))", "int(np.argmax(sums[::-1]))", ISSUE),
    Mutation(_MAKERS, "asked.place_NH < num_own_N", "asked.place_NH <= num_own_N", ISSUE),
    Mutation(_MAKERS, "min(makers, key=itemgetter(0))", "makers[0]", ISSUE),
    Mutation(_ROLLING, "table.hour_T[step_N][:, None] + pass_ends(num_leads)",
             "1 + table.hour_T[step_N][:, None] + pass_ends(num_leads)", LINEAR_LEADS),
    Mutation(_ROLLING, "hours_NK[:, ::LEADS]", "hours_NK[:, 1::LEADS]", LINEAR_LEADS),
    Mutation(_LINEAR_INPUTS, "num_N >= _DAY", "num_N >= 0 * _DAY", LINEAR),
    Mutation(_LINEAR_MODELS, "self.hour_NJ[:, 1:]", "self.hour_NJ", LINEAR_LEADS),
    Mutation(_LINEAR_MODELS, "self.calendar_NJV[:, 2:]", "self.calendar_NJV", LINEAR_LEADS),
    # linear baselines and the size of a training
    Mutation(_LINEAR_INPUTS, "step_NL = step_N[:, None] - np", "step_NL = 1 + step_N[:, None] - np",
             LINEAR),
    Mutation(_LINEAR_INPUTS, "place_N1 = (hour_N - hours)", "place_N1 = (hour_N + 1 - hours)",
             LINEAR),
    Mutation(_LINEAR_INPUTS, "is_one_R[region] = False", "", LINEAR),
    Mutation(_LINEAR, "max(0, last + 1 - LEADS)", "max(0, last + 2 - LEADS)", LINEAR),
    Mutation(_LINEAR, "np.minimum(end_NJ[:, ::2] + 1, ", "np.minimum(end_NJ[:, ::2], ", LINEAR),
    Mutation(_WINDOWS, "round(training.window_budget / max(1.0, windows_a_pass)), fewest",
             "round(training.window_budget / max(1.0, windows_a_pass)), 1", WINDOWS),
    # bands
    Mutation(_ERROR_DAYS, "[:, None] + np.arange(num_leads)", "[:, None] + np.arange(1, num_leads"
             " + 1)", ERROR_DAYS),
    Mutation(_ERROR_DAYS, "truth_BK - forecast_BK", "forecast_BK - truth_BK", ERROR_DAYS),
    Mutation(_ERROR_DAYS, "self.first_day + np.timedelta64(begin", "self.first_day + "
             "np.timedelta64(0 * begin", ERROR_DAYS),
    Mutation(_BANDS, "np.arange(HOURS)[:, None] - lead_K)", "np.arange(HOURS)[:, None] - lead_K - "
             "1)", BANDS),
    Mutation(_BANDS, "ago_VK = -(", "ago_VK = 0 * (", BANDS),
    Mutation(_BANDS, "(num_RK1 / HOURS) * ", "", BANDS),
    Mutation(_BANDS, " / _densities(state)", "", BANDS),
    Mutation(_BANDS, "(state.level_Q - below_RKQ)", "(below_RKQ - state.level_Q)", BANDS),
    Mutation(_BANDS, "np.minimum(lead_BK, state.scale_PRKH.shape[2]) - 1", "np.minimum(lead_BK, "
             "state.scale_PRKH.shape[2] - 1)", BANDS),
    Mutation(_BANDS, "np.sort(quantile_RKQ, axis=-1) - gap_Q, axis=-1) + gap_Q",
             "np.sort(quantile_RKQ, axis=-1), axis=-1)", BANDS),
    Mutation(_BANDS, "np.sort(quantile_RKQ, axis=-1) - gap_Q", "quantile_RKQ - gap_Q", BANDS),
    Mutation(_BANDS, "np.arange(num_kept) - num_days", "np.arange(num_kept)", BANDS),
    Mutation(_BANDS, "weight_RK1 = num_RK1 / (num_RK1 + _OF_ALL_SCORES)", "weight_RK1 = 1.0 + 0 * "
             "num_RK1", BANDS),
    Mutation(_TYPICAL, "values_RKH[:, :, hour_V]", "values_RKH", BANDS),
    Mutation(_TYPICAL, "(now_RK**config.recent_weight)", "(now_RK**0)", BANDS),
    Mutation(_TYPICAL, "np.where(num_K > 0, all_K, np.fmax.reduce(all_K))", "all_K", BANDS),
    Mutation(_TYPICAL, "return np.where(unit > 0, unit, 1.0)", "return unit", BANDS),
    Mutation(_TYPICAL, "(_kept(config.scale_days) ** share_RK)", "(_kept(config.scale_days) + 0 * "
             "share_RK)", BANDS),
    Mutation(_BAND_SCORES, "2.0 / (1.0 - level)", "1.0 / (1.0 - level)", BAND_SCORES),
    Mutation(_BAND_SCORES, "region_N * num_keys + key_N", "key_N * num_keys + region_N",
             BAND_SCORES),
    Mutation(_BAND_SCORES, "num >= 0.8 * num.max", "num >= 0.0 * num.max", BAND_SCORES),
    Mutation(_BAND_SCORES, "y_N < own_N", "y_N > own_N", BAND_SCORES),
    # what is believed, and gone on from
    Mutation(_RECORD, "is_whole = seal[1] == _digest(content[seal.end() :])", "is_whole = True",
             RECORDS),
    Mutation(_RECORD, "isinstance(version, int) and version < SEALED_SINCE", "True", RECORDS),
    Mutation(_CHECKPOINTS, "if sha256 != sha256_of(body).encode():", "if not sha256:", CHECKPOINTS),
    Mutation(_CHECKPOINTS, "    if found != note:", "    if not found.key:", CHECKPOINTS),
    Mutation(_CHECKPOINTS, "before[_KEPT - 1 :]", "before[_KEPT:]", CHECKPOINTS),
    Mutation(_CHECKPOINTS, "*members[-1])", "*members[0])", CHECKPOINTS),
)  # fmt: skip
