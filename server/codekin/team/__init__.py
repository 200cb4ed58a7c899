"""A team's index on Postgres: one index of all repositories, built by workers and served over HTTP to every developer.

The daemon of a developer merges it with its own index. Only here is psycopg known; the extra `team` installs it.
"""
