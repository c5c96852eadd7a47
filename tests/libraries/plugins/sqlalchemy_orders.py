# /// script
# requires-python = ">=3.11"
# dependencies = ["sqlalchemy"]
# [tool.toolrunner]
# name = "sqlalchemy-orders"
# input = "json"
# input_schema = { required = ["orders"], examples = [{ orders = [["tea", 3], ["cake", 5]] }] }
# warm_up = true
# ///
"""Orders kept in SQLite in memory, with SQLAlchemy."""

import sqlalchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    item: Mapped[str]
    price: Mapped[int]


def run(payload):
    engine = sqlalchemy.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Order(item=item, price=price) for item, price in payload["orders"]])
        session.flush()
        total = session.scalar(sqlalchemy.select(sqlalchemy.func.sum(Order.price)))
    return {"total": total}
