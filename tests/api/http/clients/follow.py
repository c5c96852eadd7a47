"""What a program does with the client that openapi-python-client makes: follow.py URL KEY IMAGE.

Run by ``test_clients.py`` with the Python of ``.venv-clients``, beside ``toolrunner_client``, which
is made anew each time. Prints what it has got, as JSON.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

from toolrunner_client import AuthenticatedClient
from toolrunner_client.api.analyze import analyze
from toolrunner_client.api.jobs import create_job, get_events, get_job, get_result
from toolrunner_client.models import (
    Answer,
    Error,
    ImageCall,
    Job,
    JobStatus,
    JsonSubmission,
    JsonSubmissionPayload,
)

url, key, image = sys.argv[1:]
with AuthenticatedClient(url, key, raise_on_unexpected_status=True) as client:
    picture = base64.b64encode(Path(image).read_bytes()).decode()
    seen = analyze.sync(
        client=client, body=ImageCall(plugin="looks", image=picture, mime_type="image/png")
    )
    assert isinstance(seen, Answer)
    refused = analyze.sync(
        client=client, body=ImageCall(plugin="loks", image=picture, mime_type="image/png")
    )
    assert isinstance(refused, Error)

    payload = JsonSubmissionPayload.from_dict({"progress": 0.5, "n": 7})
    job = create_job.sync(client=client, body=JsonSubmission(plugin="sample", payload=payload))
    assert isinstance(job, Job)
    events = get_events.sync(job.id, client=client)
    assert isinstance(events, str)
    ended = get_job.sync(job.id, client=client)
    assert isinstance(ended, Job)
    assert ended.status is JobStatus.SUCCESS
    result = get_result.sync(job.id, client=client)
    assert isinstance(result, Answer)

print(
    json.dumps(
        {
            "seen": seen.result.to_dict(),
            "refused": refused.detail.type_,
            "events": [line for line in events.splitlines() if line.startswith("event")],
            "status": ended.status,
            "result": result.result.to_dict(),
        }
    )
)
