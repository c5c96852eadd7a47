"""Results."""

from pydantic import BaseModel


class Total(BaseModel):
    total: float
    currency: str
