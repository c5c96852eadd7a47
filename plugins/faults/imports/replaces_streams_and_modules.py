"""Takes the streams, json's functions and all modules away from whatever runs next."""

import json
import sys

sys.stdout = sys.stderr = None
json.loads = json.dumps = None
sys.modules.clear()


def run(payload):
    return {"ran": True}
