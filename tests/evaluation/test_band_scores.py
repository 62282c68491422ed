"""Scores of bands: those of another library label by label, and means over regions of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gridcast.evaluation.band_scores import (
    is_covered,
    pinball,
    quantile_crps,
    score_bands,
    winkler,
    worst_coverage,
)
from gridcast.evaluation.forecasts import quantile_column

LEVELS = (0.05, 0.25, 0.75, 0.95)


def make_rows(num: int = 600, *, seed: int = 0) -> pd.DataFrame:
    """Labels of two regions, the second ten times the first, with bands that are too narrow."""
    rng = np.random.default_rng(seed)
    region = rng.integers(0, 2, num)
    load = np.where(region == 0, 100.0, 1000.0) * rng.uniform(0.8, 1.2, num)
    unit = np.where(region == 0, 1.0, 10.0)
    bands = {
        quantile_column(level): load + unit * place
        for level, place in zip(LEVELS, (-3.0, -1.0, 1.0, 3.0), strict=True)
    }
    return pd.DataFrame({
        "region": pd.Categorical.from_codes(region, pd.Index(["AEP", "DOM"])),
        "lead": rng.integers(1, 4, num),
        "local_hour": rng.integers(0, 24, num),
        "y_true": load + unit * rng.normal(0, 2, num),
        **bands,
    })  # fmt: skip


@pytest.mark.slow  # that library's import
def test_scores_are_those_of_another_library_label_by_label() -> None:
    import scoringrules

    rng = np.random.default_rng(0)
    y, quantile = rng.normal(size=300), np.sort(rng.normal(size=(300, 4)), axis=1)
    lower, upper = quantile[:, 0], quantile[:, -1]
    level = np.array(LEVELS)
    np.testing.assert_allclose(
        winkler(y, lower, upper, level=0.9), scoringrules.interval_score(y, lower, upper, 0.1)
    )
    np.testing.assert_allclose(
        pinball(y[:, None], quantile, level),
        scoringrules.quantile_score(y[:, None], quantile, level),
    )
    np.testing.assert_allclose(
        quantile_crps(y, quantile, level),
        scoringrules.crps_quantile(y, quantile, level, backend="numpy"),
    )


@pytest.mark.slow
def test_of_many_quantiles_the_score_is_that_of_the_whole_distribution() -> None:
    import scoringrules

    y, level = np.linspace(-3, 3, 13), (np.arange(2000) + 0.5) / 2000
    quantile = np.quantile(np.random.default_rng(0).normal(size=200_000), level)
    found = quantile_crps(y, np.broadcast_to(quantile, (13, 2000)), level)
    np.testing.assert_allclose(found, scoringrules.crps_normal(y, 0.0, 1.0), atol=0.01)


def test_each_table_is_the_mean_over_regions_of_what_a_loop_finds() -> None:
    rows = make_rows()
    found = score_bands(rows, LEVELS)

    def expected(own: pd.DataFrame) -> list[float]:
        means = []
        for _, each in own.groupby("region", observed=True):
            mean_mw = rows.loc[rows["region"] == each["region"].iloc[0], "y_true"].mean()
            y, low, high = (each[name].to_numpy() for name in ("y_true", "q05", "q95"))
            scores = winkler(y, low, high, level=0.9)
            means.append([
                100 * is_covered(y, low, high).mean(), 100 * (high - low).mean() / mean_mw,
                100 * scores.mean() / mean_mw,
            ])  # fmt: skip
        return [*np.mean(means, axis=0), len(own)]

    columns = ["coverage", "width", "winkler", "num_labels"]
    assert found.overall[columns].iloc[0].tolist() == pytest.approx(expected(rows))
    for table, key in ((found.by_lead, "lead"), (found.by_hour, "local_hour"),
                       (found.by_region, "region")):  # fmt: skip
        assert len(table) == rows[key].nunique()
        for _, row in table.iterrows():
            own = rows[rows[key] == row[key]]
            assert row[columns].tolist() == pytest.approx(expected(own))


def test_calibration_by_quantile_tells_how_many_labels_lie_below() -> None:
    rows = make_rows(20_000)
    found = score_bands(rows, LEVELS).by_quantile
    assert found["level"].tolist() == list(LEVELS)
    # Errors are normal, of deviation 2; quantiles lie at -3, -1, 1 and 3.
    assert found["below"].tolist() == pytest.approx([6.7, 30.9, 69.1, 93.3], abs=1)
    better = rows.assign(q05=rows["q05"] - np.where(rows["region"] == "AEP", 0.3, 3))
    losses = [score_bands(each, LEVELS).by_quantile["pinball"][0] for each in (rows, better)]
    assert losses[1] < losses[0]


def test_a_label_without_truth_or_band_does_not_count() -> None:
    rows = make_rows()
    more = pd.concat([rows, rows.assign(y_true=np.nan), rows.assign(q25=np.nan)])
    for name in ("overall", "by_region", "by_lead", "by_hour", "by_quantile"):
        ours, theirs = (getattr(score_bands(each, LEVELS), name) for each in (rows, more))
        pd.testing.assert_frame_equal(ours, theirs)


def test_a_region_without_labels_is_in_no_table() -> None:
    rows = make_rows()
    rows["region"] = rows["region"].cat.add_categories("ZZZ")
    found = score_bands(rows, LEVELS)
    assert found.by_region["region"].tolist() == ["AEP", "DOM"]
    assert found.overall["coverage"].notna().all()


def test_the_worst_days_in_a_row_are_found_and_thin_ones_left_out() -> None:
    rng = np.random.default_rng(0)
    day = np.repeat(np.arange(50), 24)
    covered = rng.uniform(size=len(day)) < 0.9
    covered[24 * 20 : 24 * 25] = False
    found = worst_coverage(day, covered, num_days=7)
    shares = [covered[24 * first : 24 * (first + 7)].mean() for first in range(44)]
    assert found == pytest.approx(min(shares))
    assert np.isnan(worst_coverage(day[:48], covered[:48], num_days=7))


def test_days_with_few_labels_are_not_the_worst() -> None:
    day = np.concatenate([np.repeat(np.arange(30), 24), np.arange(30, 50)])
    covered = day < 30
    # Six whole days and a label are the thinnest week that counts.
    assert worst_coverage(day, covered, num_days=7) == pytest.approx(144 / 145)
