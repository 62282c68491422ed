"""Bands hold their share in the long run whatever errors do, and know nothing of later hours."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridcast.config import BandsConfig
from gridcast.forecasting import bands
from gridcast.forecasting.bands import (
    BandState,
    first_state,
    next_day,
    offsets,
    offsets_by_day,
    side_by_side,
)
from gridcast.forecasting.error_days import HOURS, DayErrors, ErrorDays, error_days, local_hours
from tests.builders.values import make_config

LEVELS = (0.05, 0.25, 0.75, 0.95)
FIRST = np.datetime64("2018-01-01")
ZONE = "America/New_York"
DAY = np.timedelta64(1, "D")


def config(**changes: float) -> BandsConfig:
    return make_config(forecasting={"bands": changes}).forecasting.bands


def make_days(
    error_DRVK: np.ndarray, *, forecast_mw: float = 1000.0, first_day: np.datetime64 = FIRST
) -> ErrorDays:
    forecast = np.full(error_DRVK.shape, forecast_mw, np.float32)
    hours = local_hours(first_day, len(error_DRVK), timezone=ZONE)
    return ErrorDays(first_day, forecast, error_DRVK.astype(np.float32), hours)


def noise(
    num_days: int, num_regions: int = 2, num_leads: int = 3, *, seed: int = 0, size: float = 20.0
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return size * rng.standard_t(4, (num_days, num_regions, HOURS, num_leads))


def density(level: float) -> float:
    """Of a normal distribution whose mean absolute value is 1, at one of its quantiles."""
    normal = NormalDist(sigma=np.sqrt(np.pi / 2))
    return normal.pdf(normal.inv_cdf(level))


def shares_below(days: ErrorDays, offset_DRVKQ: np.ndarray) -> np.ndarray:
    """Of each region, lead and quantile, ``(R, K, Q)``."""
    return np.asarray((days.error_DRVK[..., None] < offset_DRVKQ).mean(axis=(0, 2)))


def all_offsets(state: BandState, forecast_mw: float = 1000.0) -> np.ndarray:
    """Of each region at each local hour and lead, ``(R, H, K, Q)``, MW."""
    num_regions, num_leads = state.scale_PRKH.shape[1:3]
    region_B, hour_B = (each.ravel() for each in np.indices((num_regions, HOURS)))
    lead_BK = np.broadcast_to(np.arange(1, num_leads + 1), (len(region_B), num_leads))
    found = offsets(
        state, np.full(lead_BK.shape, forecast_mw), region_B=region_B, lead_BK=lead_BK,
        hour_BK=np.broadcast_to(hour_B[:, None], lead_BK.shape),
    )  # fmt: skip
    return found.reshape(num_regions, HOURS, num_leads, -1)


def test_each_quantile_has_its_share_below_it_by_region_and_lead() -> None:
    every = make_days(noise(260) * np.array([1.0, 4.0])[None, :, None, None])
    state = first_state(every.between(0, 60), LEVELS, config())
    rest = every.between(60, 260)
    found, _ = offsets_by_day(state, rest, config())
    np.testing.assert_allclose(shares_below(rest, found), np.full((2, 3, 4), LEVELS), atol=0.01)


def test_errors_that_grow_and_shrink_by_hour_of_day_get_bands_that_do() -> None:
    by_hour = 1 + np.sin(2 * np.pi * local_hours(FIRST, 300, timezone=ZONE) / 24) * 0.5
    every = make_days(noise(300) * by_hour[:, None, :, None])
    state = first_state(every.between(0, 60), LEVELS, config())
    rest = every.between(60, 300)
    offset = offsets_by_day(state, rest, config())[0]
    is_inside = (offset[..., 0] <= rest.error_DRVK) & (rest.error_DRVK <= offset[..., -1])
    by_local = [is_inside.swapaxes(1, 2)[rest.hour_DV == hour].mean() for hour in range(24)]
    assert max(by_local) - min(by_local) < 0.08
    width = np.ptp(all_offsets(state)[..., [0, -1]], axis=-1).mean(axis=(0, 2))
    assert width[6] > 2 * width[18]


def drifting(seed: int, num_days: int) -> np.ndarray:
    """Errors of calm and rough months whose middle wanders off."""
    rng = np.random.default_rng(seed)
    size = np.exp(np.cumsum(rng.normal(0, 0.1, num_days)))
    shift = np.cumsum(rng.normal(0, 3, num_days))
    return noise(num_days, 1, 1, seed=seed) * size[:, None, None, None] + shift[:, None, None, None]


@given(st.integers(0, 10_000), st.floats(0.01, 0.5), st.floats(0.01, 0.99))
@settings(max_examples=15, deadline=None)
def test_whatever_errors_do_a_share_is_off_by_how_far_its_quantile_has_moved(
    seed: int, rate: float, level: float
) -> None:
    days = make_days(drifting(seed, 90))
    state = first_state(days.between(0, 30), (level,), config(rate=rate))
    rest = days.between(30, 90)
    found, last = offsets_by_day(state, rest, config(rate=rate))
    moved = (last.quantile_PRKQ - state.quantile_PRKQ)[0, 0, 0, 0]
    share = shares_below(rest, found)[0, 0, 0]
    assert level - share == pytest.approx(moved * density(level) / (rate * len(rest)), abs=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_errors_that_wander_off_take_their_bands_with_them(seed: int) -> None:
    days = make_days(drifting(seed, 240))
    state = first_state(days.between(0, 30), LEVELS, config())
    rest = days.between(30, 240)
    found, _ = offsets_by_day(state, rest, config())
    np.testing.assert_allclose(shares_below(rest, found)[0, 0], LEVELS, atol=0.06)
    assert (found[..., -1] - found[..., 0]).min() > 0


@pytest.mark.parametrize("factor", [2**0.5, 3.0])
def test_a_week_after_errors_have_grown_bands_hold_their_share_again(factor: float) -> None:
    error = noise(160, 4, 1)
    error[100:] *= factor
    days = make_days(error)
    state = first_state(days.between(0, 60), LEVELS, config())
    offset = offsets_by_day(state, days.between(60, 160), config())[0]
    own = days.between(60, 160).error_DRVK
    is_inside = ((offset[..., 0] <= own) & (own <= offset[..., -1])).mean(axis=(1, 2, 3))
    assert is_inside[40:42].mean() < 0.85
    assert is_inside[47:54].mean() > 0.88


def test_a_day_at_once_equals_the_same_day_hour_by_hour() -> None:
    state = first_state(make_days(noise(40, 2, 30)), LEVELS, config())
    rng = np.random.default_rng(1)
    forecast_BK, region_B = rng.uniform(500, 2000, (48, 30)), np.tile([0, 1], 24)
    lead_BK = np.broadcast_to(np.arange(1, 31), (48, 30))
    hour_BK = rng.integers(0, 24, (48, 30))
    at_once = offsets(state, forecast_BK, region_B=region_B, lead_BK=lead_BK, hour_BK=hour_BK)
    for row in range(48):
        own = slice(row, row + 1)
        one = offsets(
            state, forecast_BK[own], region_B=region_B[own], lead_BK=lead_BK[own],
            hour_BK=hour_BK[own],
        )  # fmt: skip
        assert one[0].tobytes() == at_once[row].tobytes()


def test_noise_after_the_issue_time_changes_no_band() -> None:
    rng = np.random.default_rng(0)
    issue = FIRST + np.arange(24 * 30) * np.timedelta64(1, "h")
    region = np.zeros(len(issue), dtype=int)
    forecast, load = rng.uniform(900, 1100, (len(issue), 48)), rng.uniform(900, 1100, 24 * 33)
    other = load.copy()
    other[24 * 20 :] = rng.uniform(0, 1e5, 24 * 13)
    found = []
    for each in (load, other):
        truth = each[np.arange(len(issue))[:, None] + np.arange(48)]
        days = error_days(issue, region, forecast, truth, num_regions=1, timezone=ZONE)
        found.append(all_offsets(first_state(days.between(0, 20), LEVELS, config())))
        # One hour of the day before is known later than that: it would be seen.
        found.append(all_offsets(first_state(days.between(0, 21), LEVELS, config())))
    assert found[0].tobytes() == found[2].tobytes()
    assert found[1].tobytes() != found[3].tobytes()


def test_a_day_s_hours_have_the_bands_of_the_days_they_were_issued_on() -> None:
    days = make_days(noise(30, 2, 50))
    state = first_state(days.between(0, 20), LEVELS, config())
    rest = days.between(20, 30)
    found, last = offsets_by_day(state, rest, config())
    states = [state]
    for errors in rest:
        states.append(next_day(states[-1], errors, config()))
    for day in (3, 9):
        for v in (0, 7, 23):
            for lead in (1, 7, 8, 9, 24, 25, 49, 50):
                issued_on = day + (v - (lead - 1)) // 24
                own = all_offsets(states[issued_on])[:, rest.hour_DV[day, v], lead - 1]
                np.testing.assert_allclose(found[day, :, v, lead - 1], own, rtol=1e-5)
    assert last.day == FIRST + 30 * DAY


def test_quantiles_move_by_the_share_that_lay_below_them_as_issued() -> None:
    days = make_days(noise(41, 1, 2))
    state = first_state(days.between(0, 40), LEVELS, config())
    (errors,) = days.between(40, 41)
    offset = offsets_by_day(state, days.between(40, 41), config())[0][0]
    after = next_day(state, errors, config())
    for lead in range(2):
        for number, level in enumerate(LEVELS):
            below = np.mean([
                errors.error_RVK[0, v, lead] < offset[0, v, lead, number] for v in range(24)
            ])  # fmt: skip
            moved = (
                after.quantile_PRKQ[0, 0, lead, number] - state.quantile_PRKQ[0, 0, lead, number]
            )
            expected = config().rate * (level - below) / density(level)
            assert moved == pytest.approx(expected, abs=1e-5)


def test_what_is_not_known_does_not_count() -> None:
    days = make_days(noise(41))
    state = first_state(days.between(0, 40), LEVELS, config())
    (errors,) = days.between(40, 41)
    none = DayErrors(
        np.full_like(errors.forecast_RVK, np.nan), np.full_like(errors.error_RVK, np.nan),
        errors.hour_V,
    )  # fmt: skip
    after = next_day(state, none, config())
    assert after.day == state.day + DAY
    np.testing.assert_allclose(all_offsets(after), all_offsets(state), rtol=1e-5)
    half = errors._replace(error_RVK=errors.error_RVK.copy())
    half.error_RVK[:, 12:] = np.nan
    moved = next_day(state, half, config(rate=0.1)).quantile_PRKQ[0] - state.quantile_PRKQ[0]
    offset = offsets_by_day(state, days.between(40, 41), config())[0][0]
    below = (errors.error_RVK[:, :12, :, None] < offset[:, :12]).mean(axis=1)
    step = 0.1 / np.array([density(level) for level in LEVELS])
    np.testing.assert_allclose(moved, 0.5 * step * (np.array(LEVELS) - below), atol=1e-5)


def test_a_region_or_lead_without_errors_has_the_bands_of_the_others() -> None:
    error = noise(60, 3, 3)
    error[:, 1] = np.nan
    error[:, :, :, 2] = np.nan
    error[:-1, 2] = np.nan  # a region with a single day
    found = all_offsets(first_state(make_days(error), LEVELS, config()))
    assert np.isfinite(found).all()
    width = np.ptp(found[..., [0, -1]], axis=-1).mean(axis=1)  # (R, K)
    assert (np.abs(width / width[0, 0] - 1) < 0.5).all()


def test_where_nothing_is_known_there_is_no_band_until_something_is() -> None:
    none = make_days(np.full((3, 2, HOURS, 2), np.nan))
    state = first_state(none, LEVELS, config())
    assert np.isnan(all_offsets(state)).all()
    for errors in make_days(noise(3, 2, 2)):
        state = next_day(state, errors, config())
    assert np.isfinite(all_offsets(state)).all()


@pytest.mark.parametrize("forecast_mw", [0.0, 1000.0])
def test_no_band_is_without_width(forecast_mw: float) -> None:
    days = make_days(np.zeros((200, 1, HOURS, 2)), forecast_mw=forecast_mw)
    found = all_offsets(first_state(days, LEVELS, config()), forecast_mw)
    assert (np.diff(found, axis=-1) > 0).all()


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_quantiles_never_cross(seed: int) -> None:
    rng = np.random.default_rng(seed)
    error = noise(25, 2, 2, seed=seed) * 10 ** rng.uniform(-3, 3, (25, 2, 1, 1))
    error[rng.uniform(size=error.shape) < 0.3] = np.nan
    levels = (0.005, 0.05, 0.25, 0.5, 0.75, 0.95, 0.9501)
    found = all_offsets(first_state(make_days(error), levels, config(rate=0.5)))
    assert (np.diff(found, axis=-1) > 0).all()


def test_quantiles_that_cross_change_places_and_such_as_meet_are_kept_apart() -> None:
    found = bands._in_order(np.array([[[3.0, 1.0, 2.0], [1.0, 1.0, 1.0]]]))
    np.testing.assert_allclose(found, [[[1.0, 2.0, 3.0], [1.0, 1.01, 1.02]]])


def test_errors_of_usual_size_are_neither_calm_nor_rough() -> None:
    by_hour = 1 + np.sin(2 * np.pi * local_hours(FIRST, 60, timezone=ZONE) / 24) * 0.8
    typical = first_state(
        make_days(noise(60, 2, 4) * by_hour[:, None, :, None]), LEVELS, config()
    ).typical
    np.testing.assert_allclose(typical.recent_RK / typical.recent_num_RK, 1, atol=0.15)


def test_a_state_comes_back_from_a_file_without_pickle() -> None:
    days = make_days(noise(31, 2, 30))
    state = first_state(days.between(0, 30), LEVELS, config())
    file = BytesIO()
    np.savez_compressed(file, allow_pickle=False, **state.arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as kept:
        again = BandState.of(kept)
    assert again.day == state.day
    (errors,) = days.between(30, 31)
    ours, theirs = (next_day(each, errors, config()).arrays() for each in (state, again))
    for name, own in ours.items():
        assert own.tobytes() == theirs[name].tobytes(), name


def test_regions_learned_one_by_one_stand_side_by_side() -> None:
    every = make_days(noise(50, 2, 30))
    longer = replace(every, error_DRVK=every.error_DRVK[:, :1],
                     forecast_DRVK=every.forecast_DRVK[:, :1])  # fmt: skip
    shorter = replace(every, error_DRVK=every.error_DRVK[:, 1:],
                      forecast_DRVK=every.forecast_DRVK[:, 1:]).between(0, 40)  # fmt: skip
    states = [first_state(each, LEVELS, config()) for each in (longer, shorter)]
    both = side_by_side(states)
    assert both.day == FIRST + 50 * DAY
    for number, each in enumerate(states):
        assert all_offsets(both)[number].tobytes() == all_offsets(each)[0].tobytes()
    # Whatever was issued after the shorter one's end has its last bands.
    assert (both.quantile_PRKQ[:, 1] == states[1].quantile_PRKQ[0, 0]).all()
