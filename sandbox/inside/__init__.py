"""What runs inside a box: launcher, warden, zygote and worker, with the layers they apply.

Standard library only, loaded by path with ``python -I -S`` as the package ``toolrunner_inside``,
so that no module of anybody else can take the place of one of these. The parent imports nothing
of it but ``protocol``.
"""
