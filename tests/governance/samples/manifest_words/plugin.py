"""A folder plugin whose manifest.json calls types list and dict."""


class Plugin:
    name = "words"

    def run_tool(self, tool_name, args):
        parts = args["items"][: args["most"]]
        joined = args["options"].get("separator", ",").join(parts)
        return {"joined": joined, "parts": parts, "options": args["options"]}
