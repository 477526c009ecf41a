"""What asking the inventory can raise, without loading the client of Postgres before it is used."""

from __future__ import annotations


def inventory_faults(*further: type[Exception]) -> tuple[type[Exception], ...]:
    """With `further`, for an `except` clause, which calls this only once something was raised."""
    import psycopg
    from psycopg_pool import PoolTimeout, TooManyRequests

    return (psycopg.Error, PoolTimeout, TooManyRequests, *further)
