"""A route that waits for a plugin."""


async def analyze(manager, name, data):
    return await manager.get_plugin(name).analyze(data, {})
