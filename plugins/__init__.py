"""What a plugin says about itself, and where plugins are found.

The runner's registry calls ``discovery``; everything else here serves it. Nothing in this package
imports, compiles or runs a plugin's code: it reads text.
"""
