"""What a user should hear once, however often it happens."""

from __future__ import annotations

import functools
import logging

logger = logging.getLogger(__name__)


@functools.cache
def say_once(message: str) -> None:
    """Log a warning the first time it is given."""
    logger.warning(message)
