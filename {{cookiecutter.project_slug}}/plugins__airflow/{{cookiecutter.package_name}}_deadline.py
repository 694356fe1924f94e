"""Who is told of a late DAG run. The triggerer calls it, and finds plugins but no DAG files."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

logger = logging.getLogger(__name__)


async def late(model: str, runbook: str, context: dict[str, Any]) -> None:
    """Tell that a DAG run is late: in the log, and where there is Alertmanager as a ticket.

    Args:
        model: whose DAG it is.
        runbook: address of what to do.
        context: the run and its deadline, from Airflow.

    Raises:
        httpx.HTTPError: Alertmanager did not take it.
    """
    run, due = context["dag_run"], context["deadline"]["deadline_time"]
    summary = f"{run['dag_id']}, run {run['dag_run_id']}, is not done at {due}"
    logger.error(summary)
    try:
        connection = await BaseHook.aget_connection("alertmanager")
    except AirflowNotFoundException:
        return
    labels = {"alertname": "AirflowRunLate", "severity": "ticket", "model_name": model}
    alert = {
        "labels": labels | {"dag_id": run["dag_id"]},
        "annotations": {
            "summary": summary,
            "description": f"It is {run['state']}.",
            "runbook_url": runbook,
        },
        # Office hours may begin tomorrow.
        "endsAt": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
    }
    token = {"Authorization": f"Bearer {connection.password}"} if connection.password else {}
    async with httpx.AsyncClient(headers=token, timeout=30) as client:
        address = f"{(connection.host or '').rstrip('/')}/api/v2/alerts"
        (await client.post(address, json=[alert])).raise_for_status()
