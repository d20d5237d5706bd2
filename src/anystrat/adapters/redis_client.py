"""A connection to Redis, made when it is used first."""

from __future__ import annotations

from typing import Any

from anystrat.domain.errors import MissingExtra


def redis_client(url: str, *, timeout_sec: float) -> Any:
    """A client of this server (redis://, rediss:// or unix://). Raises `MissingExtra`, and `ValueError` for what is no URL."""
    try:
        import redis
    except ImportError:
        raise MissingExtra("Redis", "redis") from None
    return redis.Redis.from_url(url, socket_timeout=timeout_sec, socket_connect_timeout=timeout_sec)


def redis_error() -> type[Exception]:
    """What the client raises."""
    import redis

    return redis.RedisError
