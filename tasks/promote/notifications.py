"""Have Prefect's server call an address when an alarm is raised, and when no forecast comes.

The server does that itself: an alarm comes through though every worker is down.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Final, cast

from pydantic import SecretStr

from gridcast.errors import UsageError
from tasks.promote.prefect_events import ALARM, ISSUED, PROMOTED

if TYPE_CHECKING:
    from uuid import UUID

ALARMS: Final = "gridcast: alarms and promotions"
LATE: Final = "gridcast: no forecast"
_BLOCK: Final = "gridcast-notifications"
_TOLD: Final = (
    '{"event": {{ event.event | tojson }}, "of": {{ event.resource.id | tojson }}, '
    '"payload": {{ event.payload | tojson }}}'
)
_MISSED: Final = '{"event": "gridcast.forecast.missed", "payload": {"within_seconds": %d}}'


def notify(url: str, *, within: timedelta) -> list[str]:
    """Send each alarm and promotion to ``url``, and a word when no forecast follows the last one.

    Args:
        url: gets a POST with JSON: ``event``, ``of``, ``payload``.
        within: from one forecast to the next, at most; Prefect asks for 10 s at least.

    Returns the names of the automations; those of an earlier call are replaced.

    Raises:
        UsageError: there is no server, or the address is none.
    """
    if not os.environ.get("PREFECT_API_URL"):
        where, found = "PREFECT_API_URL", "nothing"
        raise UsageError(where, found=found, expected="the address of Prefect's server")
    if not url.startswith(("http://", "https://")):
        where = "the address of notifications"
        raise UsageError(where, found=repr(url), expected="one of http or https")
    from prefect.automations import Automation
    from prefect.blocks.webhook import Webhook
    from prefect.events.actions import CallWebhook
    from prefect.events.schemas.automations import EventTrigger, Posture

    block = cast("UUID", Webhook(method="POST", url=SecretStr(url)).save(_BLOCK, overwrite=True))
    ours: dict[str, str | list[str]] = {
        "prefect.resource.id": ["gridcast.forecasts.*", "gridcast.champion.*"]
    }
    alarms = EventTrigger(
        match=ours, expect={f"{ALARM}.*", PROMOTED}, posture=Posture.Reactive, threshold=1
    )
    late = EventTrigger(
        match=ours, for_each={"prefect.resource.id"}, after={ISSUED}, expect={ISSUED},
        posture=Posture.Proactive, threshold=1, within=within,
    )  # fmt: skip
    asked = {
        ALARMS: (alarms, _TOLD),
        LATE: (late, _MISSED % within.total_seconds()),
    }
    for name, (trigger, payload) in asked.items():
        _delete(name)
        action = CallWebhook(block_document_id=block, payload=payload)
        Automation(name=name, trigger=trigger, actions=[action]).create()
    return list(asked)


def _delete(name: str) -> None:
    """Whatever is there of that name: two of them would call twice."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        for each in client.read_automations_by_name(name):
            client.delete_automation(each.id)
