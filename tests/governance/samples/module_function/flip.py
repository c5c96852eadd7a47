# -*- coding: utf-8 -*-
"""A module whose function is the plugin."""


def analyze(image_base64, options=None):
    return [image_base64[:4], sorted(options or {})]
