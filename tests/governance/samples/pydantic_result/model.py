"""An async analyze() that returns a pydantic model."""

from pydantic import BaseModel


class Found(BaseModel):
    label: str
    box: tuple[int, int]


class Answer(BaseModel):
    found: list[Found]


class DetectorPlugin:
    name = "detector"

    async def analyze(self, image_bytes: bytes, options: dict) -> Answer:
        label = options.get("label", "thing")
        return Answer(found=[Found(label=label, box=(0, len(image_bytes)))])
