# /// script
# requires-python = ">=3.11"
# dependencies = ["onnxruntime", "numpy", "opencv-python-headless", "rapidocr"]
# [tool.toolrunner]
# name = "onnxruntime-direction"
# accepts = ["image/jpeg"]
# limits = { memory_mb = 1024 }
# warm_up = true
# ///
"""Which way up text is, by a model that the rapidocr wheel carries, with ONNX Runtime on one thread."""

import importlib.util
from pathlib import Path

import cv2
import numpy
import onnxruntime

MODELS = Path(importlib.util.find_spec("rapidocr").origin).parent / "models"
OPTIONS = onnxruntime.SessionOptions()
OPTIONS.intra_op_num_threads = OPTIONS.inter_op_num_threads = 1
SESSION = onnxruntime.InferenceSession(str(next(MODELS.glob("*_cls_*.onnx"))), OPTIONS)
NAME = SESSION.get_inputs()[0].name


def run(payload):
    image = cv2.imdecode(numpy.frombuffer(payload["image"], numpy.uint8), cv2.IMREAD_COLOR)
    line = cv2.resize(image, (160, 80)).astype(numpy.float32)
    upright, turned = SESSION.run(None, {NAME: (line / 127.5 - 1).transpose(2, 0, 1)[None]})[0][0]
    return {"upright": bool(upright > turned), "sum": round(float(upright + turned), 3)}
