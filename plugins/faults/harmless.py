"""Does nothing wrong: what is called after each fault."""


def run(payload):
    return {"fine": True}
