"""Control groups: the kernel's own account of what a call takes, and its ceiling on that.

What no figure of /proc shows (page tables, sockets, pinned pages, shared memory without a map) is
charged to the cgroup of the process that took it. A box has one cgroup for its import and one for
each slot, used by its cells one after the other. All lie below the cgroup that this process is in,
or beside it where the folder above was delegated to it
(Linux's cgroup-v1/memory.rst, cgroup-v2.rst). No process is moved but those of boxes.

    toolrunner-<number>-<random>/     one for each runner, locked (flock) as long as it lives
        <box>/
            import/     the zygote: what the plugin's import takes, and keeps between calls
            <slot>/     a cell, from before its request to its end

Version 1 has such a tree in the hierarchy of each controller, version 2 has one.
"""
