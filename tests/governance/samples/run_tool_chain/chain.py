"""A class with run_tool(tool_name, args) that tells its tools apart by if, one after the other."""


class Plugin:
    name = "chain"
    version = "1.0"
    description = "Tools by their names"

    def run_tool(self, tool_name, args):
        text = args["text"]
        if tool_name == "count":
            return self.count(**args)
        elif tool_name in ("shout", "cry"):
            return {"text": self.shout(text, args.get("times", 1))}
        raise ValueError(f"Unknown tool: {tool_name}")

    def count(self, text: str, least: int = 1) -> dict:
        return {"words": sum(len(word) >= least for word in text.split())}

    def shout(self, words, times):
        return words.upper() * times
