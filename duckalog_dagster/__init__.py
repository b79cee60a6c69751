"""Dagster assets for duckalog's catalogs."""
