"""Tells folders whose changes the kernel does not report: network and shared file systems.

Knows Linux's mount table; elsewhere every folder is taken to be local.
"""

import re
from pathlib import Path
from typing import Final

MOUNT_TABLE: Final = Path("/proc/self/mountinfo")

_SILENT: Final = frozenset({
    "nfs", "nfs4", "9p", "cifs", "smb2", "smb3", "smbfs", "afs", "ceph", "glusterfs", "lustre", "virtiofs", "vboxsf",
    "prl_fs", "drvfs", "fuse.sshfs", "fuse.rclone", "fuse.vmhgfs-fuse", "fuse.s3fs", "fuse.grpcfuse", "fuse.osxfs",
})  # fmt: skip


def needs_polling(folder: Path, table: Path = MOUNT_TABLE) -> bool:
    """Whether others may change the folder without an event reaching this machine."""
    try:
        lines = table.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return False
    mounts = [_mount(line) for line in lines]
    holding = [(len(point.parts), number, kind) for number, (point, kind) in enumerate(mounts) if _holds(point, folder)]
    return bool(holding) and max(holding)[2] in _SILENT


def _holds(point: Path, folder: Path) -> bool:
    return folder == point or point in folder.parents


def _mount(line: str) -> tuple[Path, str]:
    """Mount point and file system of a line of mountinfo, proc(5); spaces stand there as octal escapes."""
    before, _, after = line.partition(" - ")
    fields = before.split()
    point = fields[4] if len(fields) > 4 else "/"
    return Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)), after.split(" ", 1)[0]
