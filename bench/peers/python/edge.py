"""The front door: asks users and passes status and JSON on. No telemetry code: that is automatic."""

import logging
import os

import requests
from flask import Flask, Response
from requests.adapters import HTTPAdapter

logging.basicConfig(level=logging.INFO)
logger = logging.getLogger("edge")

USERS_URL = os.environ["USERS_URL"]
TIMEOUT = 30

app = Flask(__name__)
# One session, so that connections are kept: as many as gunicorn has threads.
session = requests.Session()
session.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=16))


def ask(params: dict[str, str] | None = None) -> Response:
    answer = session.get(f"{USERS_URL}/users", params=params, timeout=TIMEOUT)
    logger.info("users answered %s", answer.status_code)
    return Response(answer.content, answer.status_code, mimetype="application/json")


@app.get("/users")
def users() -> Response:
    return ask()


@app.get("/user/<name>")
def user(name: str) -> Response:
    return ask({"name": name})


@app.get("/readyz")
def readyz() -> str:
    return "ok"
