"""A pluggy plugin."""

import pluggy

hookimpl = pluggy.HookimplMarker("acme")


@hookimpl
def acme_setup(config):
    config["grep"] = True


@hookimpl(trylast=True)
def acme_line(line):
    return line.upper()
