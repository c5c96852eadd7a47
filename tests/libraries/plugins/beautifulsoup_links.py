# /// script
# requires-python = ">=3.11"
# dependencies = ["beautifulsoup4"]
# [tool.toolrunner]
# name = "beautifulsoup-links"
# input = "json"
# input_schema = { required = ["html"], examples = [{ html = "<p><a href='/a'>One</a> and <a href='/b'>two</a></p>" }] }
# warm_up = true
# ///
"""The links of a page, with Beautiful Soup."""

from bs4 import BeautifulSoup


def run(payload):
    soup = BeautifulSoup(payload["html"], "html.parser")
    return {"links": {link.text: link["href"] for link in soup.find_all("a")}}
