"""The gateway's periodic work. Every task may run twice or on two workers: the services under them are idempotent."""

import datetime as dt
import logging

from celery import shared_task

from gateway.selectors.usage_audit import rollup_differences
from gateway.services import partitions, retention, rollups
from gateway.services.sweeping import sweep_expired_holds
from lumyx.lib import clock

logger = logging.getLogger(__name__)


@shared_task
def sweep_holds() -> int:
    """Close holds whose request never came back."""
    closed = sweep_expired_holds()
    if closed:
        logger.warning("Closed %d holds whose requests did not end in time.", closed)
    return closed


@shared_task
def aggregate_usage() -> int:
    """Add new usage events to the hourly and daily tables."""
    return rollups.roll_up()


@shared_task
def make_partitions() -> list[str]:
    """Make the next months' partitions of usage events, and alarm when events fell outside of them."""
    # First the alarm: with rows in the way PostgreSQL refuses to make their partition.
    stray = partitions.default_partition_rows()
    if stray:
        logger.error(
            "%d usage events are in the DEFAULT partition. Their month's partition was missing or a clock is wrong; "
            "docs/operations.md says how to move them.",
            stray,
        )
    return partitions.make_partitions()


@shared_task
def drop_old_usage() -> list[str]:
    """Drop the months of usage events that are older than LUMYX_USAGE_RETENTION_MONTHS."""
    return retention.drop_old_usage()


@shared_task
def check_rollups() -> int:
    """Recount yesterday from its events and alarm where the roll-ups say something else."""
    yesterday = clock.now().date() - dt.timedelta(days=1)
    differences = rollup_differences(yesterday)
    for difference in differences:
        logger.error("The usage roll-up of %s does not add up: %s", yesterday, difference)
    return len(differences)
