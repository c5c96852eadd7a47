"""The stream of a page: it says what changes, costs nothing while nobody looks, and ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.api.http.conftest import Site, spin
from tests.api.page.conftest import Visit, is_page, visit
from tests.api.page.test_forms import left
from toolrunner.api.page.live import MOST_OF_A_VISITOR, Live, event

Events = Iterator[tuple[str, str]]


@contextmanager
def stream(browser: Visit, query: str) -> Iterator[Events]:
    """Open a stream, and yield its events."""
    with browser.client.stream("GET", f"/page/live?{query}") as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield events(response.iter_lines())


def events(lines: Iterator[str]) -> Events:
    """Yield the name and the data of each."""
    name, data = "", []
    for line in lines:
        kind, _, value = line.partition(": ")
        if kind == "event":
            name = value
        elif kind == "data":
            data.append(value)
        elif not line and name:
            yield name, "\n".join(data)
            name, data = "", []


def live_of(at: Site) -> Live:
    """Return the streams of a server."""
    import gc

    [live] = [one for one in gc.get_objects() if isinstance(one, Live) and one._doors is at.doors]
    return live


def test_a_page_is_kept_live_while_somebody_looks(site: Site) -> None:
    """All who see the same cost one look; when nobody does any more there is none."""
    browser = visit(site)
    live = live_of(site)
    assert live.watched == 0
    with stream(browser, "of=jobs&name=") as one, stream(browser, "of=jobs&name=") as other:
        assert next(one)[0] == next(other)[0] == "jobs"
        assert live.watched == 1
        job = left(site, {"n": 1})
        assert next(text for _, text in one if job in text)
        assert next(text for _, text in other if job in text)
        with stream(browser, "of=plugins") as plugins:
            assert "/page/plugins/sample" in next(plugins)[1]
            assert live.watched == 2
    spin(lambda: live.watched == 0)


def test_a_job_is_followed_to_its_end(site: Site) -> None:
    """And then the stream says that nothing more comes."""
    job = left(site, {"progress": 0.25, "seconds": 1})
    with stream(visit(site), f"of=job&name={job}") as found:
        seen = []
        for name, text in found:
            seen.append((name, text))
            if name == "ended":
                break
    assert '<span class="mark success">' in [text for name, text in seen if name == "job"][-1]


def test_a_stream_ends_with_the_key(closed: Site, operator: Visit) -> None:
    """Of the overview, which nobody may see any more; its page is told to go."""
    assert closed.doors.keys is not None
    with stream(operator, "of=overview") as found:
        assert {next(found)[0] for _ in range(6)} >= {"standing", "plugins", "jobs", "drawn"}
        closed.doors.keys.revoke("ops")
        assert [name for name, _ in found][-1] == "over"


def test_a_stream_ends_with_its_session(operator: Visit) -> None:
    """As when somebody signs out in another tab."""
    with stream(operator, "of=plugins") as found:
        next(found)
        operator.confirmed("/page/logout")
        assert [name for name, _ in found][-1] == "over"


def test_a_stream_ends_with_the_server(site: Site) -> None:
    """The browser comes back by itself, to one that lives."""
    with stream(visit(site), "of=plugins") as found:
        next(found)
        site.draining.set()
        assert list(found) == []


def test_a_visitor_has_so_many_streams(site: Site) -> None:
    """One too many is refused, and one that is closed makes room."""
    browser = visit(site)
    with ExitStack() as stack:
        query = "of=plugins"
        opened = [stack.enter_context(stream(browser, query)) for _ in range(MOST_OF_A_VISITOR)]
        assert {next(one)[0] for one in opened} == {"plugins"}
        is_page(browser.get("/page/live?of=plugins"), 429)

    def has_room() -> bool:
        with browser.client.stream("GET", "/page/live?of=plugins") as response:
            return response.status_code == 200

    spin(has_room)


MANY_FIELDS = "of=jobs&name=a%3Db%26c%3Dd%26e%3Df%26g%3Dh"


@pytest.mark.parametrize(
    "query", ["of=nothing", "of=job&name=none", "of=jobs&name=x%3Dy", MANY_FIELDS]
)
def test_there_is_nothing_live_of_what_there_is_not(site: Site, query: str) -> None:
    """Not by any name."""
    is_page(visit(site).get(f"/page/live?{query}"), 404)


def test_a_line_break_makes_no_event() -> None:
    """Of several lines each is data; none can begin an event of its own."""
    text = "a\nevent: over\r\n\nid: 7\rb"
    assert (
        event("jobs", text) == b"event: jobs\ndata: a\ndata: event: over\ndata: \ndata: id: 7b\n\n"
    )
