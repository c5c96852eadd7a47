"""Its entry is an object."""


class Answer:
    def run(self, payload):
        return {"answer": 42}


plugin = Answer()
