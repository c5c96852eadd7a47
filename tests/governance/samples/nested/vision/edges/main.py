class EdgesPlugin:
    def analyze(self, image_bytes, options=None):
        return {"bytes": len(image_bytes)}
