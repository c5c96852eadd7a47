"""How many bytes an image has."""


class Shades:
    def run(self, payload):
        return {"bytes": len(payload["image"]), "type": payload["mime_type"]}
