"""run() with arguments by name."""


class GreetPlugin:
    version = "1.0"

    def run(self, who: str, *, times: int = 1) -> dict:
        return {"text": " ".join([f"hello {who}"] * times)}
