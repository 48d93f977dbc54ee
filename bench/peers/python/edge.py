"""The front door: asks users and passes status and JSON on. No telemetry code: that is automatic."""

import logging
import os
import signal
import sys

import requests
from flask import Flask
from requests.adapters import HTTPAdapter

logging.basicConfig(level=logging.INFO)
logger = logging.getLogger("edge")

USERS_URL = os.environ["USERS_URL"]
TIMEOUT = 30

app = Flask(__name__)

if os.environ.get("PEER_TUNED", "").lower() == "true":
    # Connections are kept: as many as gunicorn has threads.
    client = requests.Session()
    client.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=16))
else:
    client = requests


def ask(params: dict[str, str] | None = None):
    answer = client.get(f"{USERS_URL}/users", params=params, timeout=TIMEOUT)
    logger.info("users answered %s", answer.status_code)
    return answer.json(), answer.status_code


@app.get("/users")
def users():
    return ask()


@app.get("/user/<name>")
def user(name: str):
    return ask({"name": name})


@app.get("/readyz")
def readyz() -> str:
    return "ok"


if __name__ == "__main__":
    # An ordinary end, so that what was recorded is flushed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    app.run(host=os.environ.get("LISTEN_HOST", "127.0.0.1"), port=int(os.environ["EDGE_PORT"]))
