"""The system calls that are not simply allowed, and the requests of those that are allowed in part.

Read by ``seccomp``, in every box: data alone. Numbers: Linux's unistd_64.h (x86-64) and
asm-generic/unistd.h (aarch64). docs/system-calls.md says of every call of Linux, also of those
that are allowed, why; a test fails when the kernel has one that stands nowhere.
"""

ABSENT = -1
NEWEST = 462  # mseal; the table was checked against Linux 6.18
# Numbers that no call had when checked, or one that is the kernel's own (uretprobe, uprobe).
GAP = {"x86_64": (335, 423), "aarch64": (295, 423)}

# name: (x86-64, aarch64); grouped by what each group would give to a plugin
PRIVILEGED = {
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "statmount": (457, 457), "listmount": (458, 458), "swapon": (167, 224),
    "swapoff": (168, 225), "reboot": (169, 142), "sethostname": (170, 161),
    "setdomainname": (171, 162), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "bpf": (321, 280), "perf_event_open": (298, 241), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "acct": (163, 89), "syslog": (103, 116),
    "clock_settime": (227, 112), "settimeofday": (164, 170), "adjtimex": (159, 171),
    "clock_adjtime": (305, 266), "vhangup": (153, 58), "iopl": (172, ABSENT),
    "ioperm": (173, ABSENT), "modify_ldt": (154, ABSENT), "personality": (135, 92),
    "uselib": (134, ABSENT), "sysfs": (139, ABSENT), "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42), "fanotify_init": (300, 262), "fanotify_mark": (301, 263),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    "lsm_set_self_attr": (460, 460),
}  # fmt: skip
OTHER_PROCESSES = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438), "kcmp": (312, 272), "process_madvise": (440, 440),
    "process_mrelease": (448, 448), "migrate_pages": (256, 238), "move_pages": (279, 239),
    "setpriority": (141, 140), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "sched_setattr": (314, 274), "ioprio_set": (251, 30),
    "setsid": (112, 157), "setpgid": (109, 154),
}  # fmt: skip
KERNEL_SURFACE = {
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "userfaultfd": (323, 282),
}  # fmt: skip
UNMEASURED_MEMORY = {
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194),
    "shmat": (30, 196), "shmctl": (31, 195), "shmdt": (67, 197), "semget": (64, 190),
    "semop": (65, 193), "semctl": (66, 191), "semtimedop": (220, 192), "msgget": (68, 186),
    "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187), "mq_open": (240, 180),
    "mq_unlink": (241, 181), "mq_timedsend": (242, 182), "mq_timedreceive": (243, 183),
    "mq_notify": (244, 184), "mq_getsetattr": (245, 185),
}  # fmt: skip
# Rulesets and filters hold kernel memory that nobody counts. Those of a cell are made before.
OWN_CONFINEMENT = {
    "landlock_create_ruleset": (444, 444), "landlock_add_rule": (445, 445), "seccomp": (317, 277),
}  # fmt: skip
# Files that everybody may read tell who reads them, and when.
WATCHING = {
    "inotify_init": (253, ABSENT), "inotify_init1": (294, 26), "inotify_add_watch": (254, 27),
    "inotify_rm_watch": (255, 28),
}  # fmt: skip
ALWAYS_DENIED = (
    PRIVILEGED, OTHER_PROCESSES, KERNEL_SURFACE, UNMEASURED_MEMORY, OWN_CONFINEMENT, WATCHING,
)  # fmt: skip

# ENOSYS, so that whoever asks falls back as on a kernel without: what pins pages in pipes, takes
# of a quota that the whole host shares, tells what is in the host's page cache, or is obsolete.
UNKNOWN = {
    "vmsplice": (278, 75), "splice": (275, 76), "tee": (276, 77),
    "io_setup": (206, 0), "io_destroy": (207, 1), "io_submit": (209, 2), "io_cancel": (210, 3),
    "io_getevents": (208, 4), "io_pgetevents": (333, 292),
    "cachestat": (451, 451), "remap_file_pages": (216, 234),
    # Memory policies are kernel memory that not even a cgroup counts.
    "mbind": (237, 235), "set_mempolicy": (238, 237), "set_mempolicy_home_node": (450, 450),
    "clone3": (435, 435),  # its flags lie in memory, where a filter cannot look
}  # fmt: skip
# ENOTSUP, which who copies files knows from other file systems. An access list is up to 64 KiB of
# kernel memory an inode.
ATTRIBUTES = {
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
}  # fmt: skip
# They succeed and do nothing. A lock on a file that others can open as well would be a message to
# them; nothing of a scratch outlives its call, so nothing has to reach a disk; and advice about
# the page cache is advice about everybody's. Affinity would lead past the processors that the
# runner was given, and a filter cannot see which ones are asked for; libraries pin each of their
# threads, and complain where they may not. sched_getaffinity says what a process has.
WITHOUT_EFFECT = {
    "flock": (73, 32), "sync": (162, 81), "syncfs": (306, 267), "fsync": (74, 82),
    "fdatasync": (75, 83), "sync_file_range": (277, 84), "fadvise64": (221, 223),
    "readahead": (187, 213), "sched_setaffinity": (203, 122),
}  # fmt: skip

# Denied where no ``network`` was granted.
NETWORK = {
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "accept": (43, 202), "accept4": (288, 242),
}  # fmt: skip
# Landlock has no hook for these. By name they reach the scratch folders of other calls, where
# several share a mount namespace; by descriptor, where nothing is mounted read-only, all that can
# be read.
UNHOOKED_NAMES = {
    "chmod": (90, ABSENT), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, ABSENT), "lchown": (94, ABSENT), "fchownat": (260, 54),
    "utime": (132, ABSENT), "utimes": (235, ABSENT), "futimesat": (261, ABSENT),
}  # fmt: skip
UNHOOKED_FILES = {"fchmod": (91, 52), "fchown": (93, 55)}
TRUNCATE = {"truncate": (76, 45)}

# Denied in cells alone: what a cell still needs on its way into its place.
RESTRICT = {"landlock_restrict_self": (446, 446)}
SIGNALS_BY_NUMBER = {"kill": (62, 129), "tgkill": (234, 131)}
OTHER_SIGNALS = {
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
}  # fmt: skip

BY_ARGUMENT = {
    "clone": (56, 220), "fcntl": (72, 25), "ioctl": (16, 29), "madvise": (28, 233),
    "mmap": (9, 222), "prctl": (157, 167), "prlimit64": (302, 261), "setsockopt": (54, 208),
    "socketpair": (53, 199), "utimensat": (280, 88),
}  # fmt: skip

# What fcntl may do. All else has EPERM: leases and watches (F_SETLEASE, F_NOTIFY), who is signalled
# by a descriptor (F_SETOWN, F_SETSIG), larger pipes (F_SETPIPE_SZ), hints on an inode that others
# read back (F_SET_RW_HINT).
FCNTL = (
    1030, 1, 3,  # F_DUPFD_CLOEXEC, F_GETFD, F_GETFL: the most used ones first
    2, 4, 0,  # F_SETFD, F_SETFL, F_DUPFD
    5, 36,  # F_GETLK, F_OFD_GETLK: they find no lock
    9, 11, 16, 1025, 1027, 1028, 1032, 1034,  # F_GETOWN, _GETSIG, _GETOWN_EX, _GETLEASE,
    # F_DUPFD_QUERY, F_CREATED_QUERY, F_GETPIPE_SZ, F_GET_SEALS
)  # fmt: skip
FCNTL_LOCKS = (6, 7, 37, 38)  # F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW: without effect

# What ioctl may ask. All else has ENOTTY, as from a file that is no device.
IOCTL = (
    0x5401, 0x802C542A, 0x540F, 0x5411, 0x5413,  # TCGETS, TCGETS2, TIOCGPGRP, TIOCOUTQ, TIOCGWINSZ
    0x541B, 0x5421, 0x5450, 0x5451, 0x5460,  # FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, FIOQSIZE
    2, 0x80086601, 0x80087601, 0x801C581F,  # FIGETBSZ, FS_IOC_GETFLAGS, _GETVERSION, _FSGETXATTR
)  # fmt: skip
IOCTL_NETWORK = (
    0x8905, 0x8910, 0x8912, 0x8913, 0x8915,  # SIOCATMARK, SIOCGIFNAME, _CONF, _FLAGS, _ADDR
    0x8917, 0x8919, 0x891B, 0x891D, 0x8921,  # SIOCGIFDSTADDR, _BRDADDR, _NETMASK, _METRIC, _MTU
    0x8927, 0x8933, 0x8942,  # SIOCGIFHWADDR, _INDEX, _TXQLEN
)  # fmt: skip

# What prctl may do. All else has EINVAL, as from a kernel that does not know it: what allocates
# (PR_FUTEX_HASH), hides from measurement (PR_SET_DUMPABLE) or changes scheduling (PR_SCHED_CORE).
PRCTL = (
    15, 16, 29, 30, 38, 39, 40,  # PR_SET_NAME, _GET_NAME, _SET_TIMERSLACK, _GET_TIMERSLACK,
    # PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS, PR_GET_TID_ADDRESS
    2, 3, 7, 21, 23, 25, 27, 34,  # PR_GET_PDEATHSIG, _DUMPABLE, _KEEPCAPS, _SECCOMP,
    # PR_CAPBSET_READ, PR_GET_TSC, PR_GET_SECUREBITS, PR_MCE_KILL_GET
    36, 37, 41, 42,  # PR_SET_CHILD_SUBREAPER, _GET_..., PR_SET_THP_DISABLE, PR_GET_...
    46, 51, 52, 56, 64, 66,  # PR_GET_FP_MODE, PR_SVE_GET_VL, PR_GET_SPECULATION_CTRL,
    # PR_GET_TAGGED_ADDR_CTRL, PR_SME_GET_VL, PR_GET_MDWE
    0x53564D41, 0x41555856,  # PR_SET_VMA (names of mappings), PR_GET_AUXV
)  # fmt: skip
PRCTL_OF_SETUP = (1, 22)  # PR_SET_PDEATHSIG, PR_SET_SECCOMP: denied in cells
PR_SET_DUMPABLE = 4  # of a cell's set-up too, where its zygote has hidden itself

# madvise: without effect, since pages of files are everybody's: MADV_COLD, MADV_PAGEOUT. With
# EINVAL, as from a kernel without: MADV_MERGEABLE, which merges pages with those of others.
MADVISE_WITHOUT_EFFECT = (20, 21)
MADVISE_DENIED = (12,)

# setsockopt(SOL_SOCKET): larger buffers are without effect, SO_SNDBUF, SO_RCVBUF and both _FORCE;
# programs in the kernel are denied, SO_ATTACH_* and SO_LOCK_FILTER.
SOL_SOCKET = 1
SOCKET_BUFFERS = (7, 8, 32, 33)
SOCKET_PROGRAMS = (26, 50, 51, 52, 44)
