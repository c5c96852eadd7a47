# /// script
# requires-python = ">=3.11"
# dependencies = ["lxml"]
# [tool.toolrunner]
# name = "lxml-prices"
# input = "json"
# input_schema = { required = ["xml"], examples = [{ xml = "<o><i p='3'>tea</i><i p='5'>cake</i></o>" }] }
# warm_up = true
# ///
"""Prices of an XML document by XPath, with lxml."""

from lxml import etree


def run(payload):
    tree = etree.fromstring(payload["xml"])
    return {"items": tree.xpath("//i/text()"), "total": tree.xpath("sum(//i/@p)")}
