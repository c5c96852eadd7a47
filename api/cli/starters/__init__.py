"""What ``toolrunner plugins new`` writes: for each template its files, as texts.

Read by ``templates``, which puts the plugin's name in the place of "my-plugin" and "my_plugin".
"""
