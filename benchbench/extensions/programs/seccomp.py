"""The system calls that no program in the sandbox needs and that would reach past its limits, as a seccomp filter.

Namespaces hide files, processes and networks; this closes what they leave: memory that no limit counts (memfd, System V
segments, io_uring), sockets of families that have no namespace (vsock reaches the host of a virtual machine), new
namespaces, other processes' memory, keys, and the calls in which kernels were broken most often.
"""

from __future__ import annotations

import errno
import platform
import struct

from benchbench.core.errors import BackendError

_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""Machine → its name in the kernel (AUDIT_ARCH), and its column in the tables below."""
_DENIED = {
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "msgget": (68, 186),
    "semget": (64, 190), "mq_open": (180, 180), "io_uring_setup": (425, 425), "bpf": (321, 280),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsmount": (432, 432), "mount_setattr": (442, 442), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "quotactl": (179, 60), "acct": (163, 89), "swapon": (167, 224), "reboot": (169, 142), "syslog": (103, 116),
    "setsid": (112, 157),
}  # fmt: skip
"""setsid: the scheduler shares processors out by session, and a program is one."""
_CLONE, _CLONE3, _SOCKET = (56, 220), (435, 435), (41, 198)
_NEW_NAMESPACES = 0x7E020000 | 0x00000080
"""CLONE_NEW* of all kinds."""
_FAMILIES = (1, 2, 10)
"""AF_UNIX, AF_INET, AF_INET6: they have namespaces."""
_X32 = 0x40000000

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16
"""Offsets in struct seccomp_data."""


def program_filter() -> bytes:
    """The filter for this machine: an array of struct sock_filter. BackendError where it is not written for it."""
    machine = platform.machine()
    if machine not in _MACHINES:
        raise BackendError(
            f"programs run on {' and '.join(_MACHINES)} only, and this is {machine}: the sandbox has no list of its "
            "system calls."
        )
    arch, column = _MACHINES[machine]
    denied = _errno(errno.EPERM)
    lines = [
        _line(_LOAD, _ARCH), _line(_EQUAL, arch, 1, 0), _line(_RETURN, _KILL),
        _line(_LOAD, _NUMBER), _line(_AT_LEAST, _X32, 0, 1), _errno(errno.ENOSYS),
    ]  # fmt: skip
    for numbers in _DENIED.values():
        lines += [_line(_EQUAL, numbers[column], 0, 1), denied]
    lines += [_line(_EQUAL, _CLONE3[column], 0, 1), _errno(errno.ENOSYS)]  # glibc takes clone then
    lines += [
        _line(_EQUAL, _CLONE[column], 0, 4), _line(_LOAD, _FIRST_ARGUMENT), _line(_ANY_BIT, _NEW_NAMESPACES, 0, 1),
        denied, _line(_RETURN, _ALLOW),
    ]  # fmt: skip
    families = [_line(_EQUAL, family, len(_FAMILIES) - place, 0) for place, family in enumerate(_FAMILIES)]
    lines += [
        _line(_EQUAL, _SOCKET[column], 0, len(families) + 2), _line(_LOAD, _FIRST_ARGUMENT), *families,
        _errno(errno.EAFNOSUPPORT), _line(_RETURN, _ALLOW),
    ]  # fmt: skip
    return b"".join(lines)


def _line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _errno(number: int) -> bytes:
    return _line(_RETURN, _ERRNO | number)
