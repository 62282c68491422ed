"""Tell Prefect's server, where one is named, what happened: automations listen to these events.

Without a server nothing is sent, and nothing is started for it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridcast.monitoring.alarms import Alarm
    from gridcast.operation.promotion_log import Promotion

PROMOTED = "gridcast.champion.promoted"
ALARM = "gridcast.alarm"
ISSUED = "gridcast.forecast.issued"
_SERVER = "PREFECT_API_URL"


def send_event(event: str, *, of: str, payload: Mapping[str, Any]) -> bool:
    """Send an event about ``gridcast.<of>``; whether there is a server to send it to."""
    if not os.environ.get(_SERVER):
        return False
    from prefect.events import emit_event

    resource = {"prefect.resource.id": f"gridcast.{of}", "prefect.resource.name": of}
    emit_event(event=event, resource=resource, payload=dict(payload))
    return True


def tell_promotion(promotion: Promotion) -> bool:
    """Somebody else is in charge."""
    payload = {
        "dataset": promotion.dataset, "number": promotion.number, "kind": promotion.kind,
        "since": promotion.since, "model": promotion.to.name, "sha256": promotion.to.sha256,
        "run_id": promotion.to.run_id, "reason": promotion.reason,
        "left": promotion.left.sha256 if promotion.left else None,
    }  # fmt: skip
    return send_event(PROMOTED, of=f"champion.{promotion.dataset}", payload=payload)


def tell_alarm(alarm: Alarm, *, dataset: str) -> bool:
    """Something is not as it should be; the event's name has the kind."""
    return send_event(
        f"{ALARM}.{alarm.kind}", of=f"forecasts.{dataset}", payload=alarm.model_dump(mode="json")
    )


def tell_forecast(dataset: str, *, issue_time: str, model: str) -> bool:
    """A forecast is in the store: whoever waits for it in vain sounds the alarm."""
    payload = {"issue_time": issue_time, "model": model}
    return send_event(ISSUED, of=f"forecasts.{dataset}", payload=payload)
