class UpperPlugin:
    name = "upper"

    def run(self, payload):
        return {"text": payload["text"].upper()}
