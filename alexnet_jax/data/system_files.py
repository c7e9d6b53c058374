"""Files that systems put among people's photos: thumbnails, recycle bins, indexes."""

import functools

_FOLDERS = {
    # Synology, QNAP and NetApp
    "@eadir", "@tmp", "@recycle", "@recently-snapshot", "@snapshot", "@synoresource", "@__thumb",
    "#recycle", "#snapshot", "~snapshot",
    # Windows, and disks that were checked or came out of a phone
    "$recycle.bin", "$extend", "recycler", "recycled", "system volume information", "lost+found",
    "lost.dir", "found.000",
    # macOS and its shares (their other folders begin with a dot)
    "__macosx", "network trash folder", "temporary items", "thevolumesettingsfolder",
    # programs
    "__pycache__", "_gsdata_",
}  # fmt: skip
_FOLDER_ENDINGS = (".lrdata",)  # Lightroom's previews
_FILES = {
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini",
    "zbthumbnail.info", "icon\r",
}  # fmt: skip
_FILE_ENDINGS = ("@synoeastream", "@synoresource")


@functools.lru_cache(maxsize=4096)
def system_folder(name: str) -> str:
    """Returns what a folder of this name is, in the plural; empty where it may hold photos."""
    if name.startswith("."):
        return "hidden files and folders"
    lower = name.lower()
    if lower in _FOLDERS or lower.endswith(_FOLDER_ENDINGS):
        return f"'{name}' folders of a storage system or program"
    return ""


def system_file(name: str) -> str:
    """Returns what a file of this name is, in the plural; empty where it may be a photo."""
    if name.startswith("."):
        return "hidden files and folders"
    lower = name.lower()
    if lower in _FILES or lower.endswith(_FILE_ENDINGS):
        return "files of the operating system"
    return ""
