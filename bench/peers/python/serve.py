"""Starts one service of the peer.

    python serve.py edge|users

As the lab's ancestor starts them: Flask's own server, uvicorn with its access log, both under
opentelemetry-instrument. PEER_TUNED=true serves as one would in production: gunicorn, no access log, kept
connections. OTEL_SDK_DISABLED=true leaves all instrumentation out, not only the SDK: the fastest "off" there is.
"""

import os
import sys

THREADS = 16


def is_set(name: str) -> bool:
    return os.environ.get(name, "").lower() == "true"


def command(service: str) -> list[str]:
    binaries = os.path.dirname(sys.executable)
    host = os.environ.get("LISTEN_HOST", "127.0.0.1")
    instrument = [] if is_set("OTEL_SDK_DISABLED") else [f"{binaries}/opentelemetry-instrument"]
    if service == "users":
        uvicorn = [f"{binaries}/uvicorn", "--host", host, "--port", os.environ["USERS_PORT"], "users:app"]
        return instrument + uvicorn + (["--no-access-log"] if is_set("PEER_TUNED") else [])
    if not is_set("PEER_TUNED"):
        return [*instrument, sys.executable, "edge.py"]
    # The instrumentation starts in the worker (gunicorn.conf.py): its threads do not survive a fork.
    return [
        f"{binaries}/gunicorn", "--config", "gunicorn.conf.py", "--bind", f"{host}:{os.environ['EDGE_PORT']}",
        "--workers", "1", "--worker-class", "gthread", "--threads", str(THREADS), "--keep-alive", "30",
        "edge:app",
    ]


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1] not in ("edge", "users"):
        sys.exit("usage: serve.py edge|users")
    os.environ.setdefault("OTEL_TRACES_EXPORTER", "otlp")
    os.environ.setdefault("OTEL_METRICS_EXPORTER", "otlp")
    os.environ.setdefault("OTEL_LOGS_EXPORTER", "otlp")
    # Log records go out by OTLP, with the trace they belong to.
    os.environ.setdefault("OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED", "true")
    os.environ.setdefault("OTEL_PYTHON_LOG_CORRELATION", "true")
    os.environ.setdefault("OTEL_PYTHON_EXCLUDED_URLS", "healthz,readyz,metrics")
    # users.py does it itself, because only there the SQL comment can be asked for.
    os.environ.setdefault("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "sqlalchemy")
    args = command(sys.argv[1])
    os.execv(args[0], args)


if __name__ == "__main__":
    main()
