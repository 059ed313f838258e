"""Metrics for Prometheus (the extra `heeler[prometheus]`): counted by a middleware, told at a worker's health port."""

from heeler.prometheus.exposition import CONTENT_TYPE, Exposition, merged
from heeler.prometheus.metrics import PrometheusMetrics

__all__ = ["CONTENT_TYPE", "Exposition", "PrometheusMetrics", "merged"]
