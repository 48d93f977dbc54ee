"""The users, kept in PostgreSQL."""

import logging
import os
import time

from fastapi import FastAPI, Request
from sqlalchemy import create_engine, text

logging.basicConfig(level=logging.INFO)
logger = logging.getLogger("users")

LIST = text(
    "SELECT id, name, age FROM users"
    " WHERE CAST(:name AS text) IS NULL OR name = :name ORDER BY id LIMIT 1000"
)

# As many connections as the other chains have.
engine = create_engine(
    os.environ["DATABASE_URL"].replace("postgres://", "postgresql+psycopg2://", 1),
    pool_size=int(os.environ.get("DATABASE_MAX_CONNECTIONS", "10")),
    max_overflow=0,
)

if os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true":
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    # The trace goes along as a comment in the SQL.
    SQLAlchemyInstrumentor().instrument(engine=engine, enable_commenter=True, commenter_options={})

app = FastAPI()


@app.middleware("http")
async def process_time(request: Request, call_next):
    started = time.perf_counter()
    response = await call_next(request)
    response.headers["X-Process-Time"] = f"{time.perf_counter() - started:.6f}"
    return response


@app.get("/users")
def list_users(name: str | None = None):
    with engine.connect() as connection:
        rows = connection.execute(LIST, {"name": name}).mappings().all()
    logger.info("users listed: %d", len(rows))
    return [dict(row) for row in rows]


@app.get("/readyz")
def readyz():
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    return {"status": "ok"}
