"""gunicorn's settings that are code."""

import os


def post_fork(server, worker):
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true":
        from opentelemetry.instrumentation.auto_instrumentation import initialize

        initialize()
