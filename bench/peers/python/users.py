"""The users, kept in PostgreSQL."""

import logging
import os
import time

from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict
from sqlalchemy import create_engine, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

logging.basicConfig(level=logging.INFO)
logger = logging.getLogger("users")


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    age: Mapped[int]


class UserAnswer(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    age: int


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


@app.get("/users", response_model=list[UserAnswer])
def list_users(name: str | None = None):
    statement = select(User).order_by(User.id).limit(1000)
    if name is not None:
        statement = statement.where(User.name == name)
    with Session(engine) as session:
        users = session.scalars(statement).all()
    logger.info("users listed: %d", len(users))
    return users


@app.get("/readyz")
def readyz():
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    return {"status": "ok"}
