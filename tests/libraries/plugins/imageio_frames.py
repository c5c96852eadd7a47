# /// script
# requires-python = ">=3.11"
# dependencies = ["imageio", "numpy", "pillow"]
# [tool.toolrunner]
# name = "imageio-frames"
# accepts = ["image/jpeg"]
# warm_up = true
# ///
"""A picture as an animation of three frames and back, with imageio."""

import imageio.v3 as imageio


def run(payload):
    picture = imageio.imread(payload["image"], extension=".jpg")[::4, ::4]
    frames = [picture, picture[::-1], picture[:, ::-1]]
    encoded = imageio.imwrite("<bytes>", frames, extension=".gif")
    return {"shape": list(imageio.imread(encoded, index=None, extension=".gif").shape)}
