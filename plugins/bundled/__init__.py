"""The plugins that come with the distribution: one file each, loaded by path inside a box.

Nothing here is imported by the project; this package exists so that the files are installed.
"""
