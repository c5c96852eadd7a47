# /// script
# requires-python = ">=3.11"
# dependencies = ["networkx"]
# [tool.toolrunner]
# name = "networkx-route"
# input = "json"
# input_schema = { required = ["end"], examples = [{ end = "d" }] }
# warm_up = true
# ///
"""The shortest way through a graph, with NetworkX."""

import networkx

ROADS = networkx.Graph()
ROADS.add_weighted_edges_from([("a", "b", 1), ("b", "c", 2), ("a", "c", 5), ("c", "d", 1)])


def run(payload):
    way = networkx.shortest_path(ROADS, "a", payload["end"], weight="weight")
    rank = networkx.pagerank(ROADS, weight=None)
    return {"way": way, "most_linked": max(rank, key=rank.get)}
