"""What systems lay among people's photos: thumbnails, recycle bins, indexes; no photo of theirs."""

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
    """Returns why a folder of this name holds no photos of a person, in the plural; empty: it may.

    Whoever looks for photos leaves such a folder out with all that is in it, and says so.
    """
    if name.startswith("."):
        return "hidden files and folders"
    lower = name.lower()
    if lower in _FOLDERS or lower.endswith(_FOLDER_ENDINGS):
        return f"'{name}' folders of a storage system or program"
    return ""


def system_file(name: str) -> str:
    """Returns why a file of this name is no photo of a person, in the plural; empty: it may be."""
    if name.startswith("."):
        return "hidden files and folders"
    lower = name.lower()
    if lower in _FILES or lower.endswith(_FILE_ENDINGS):
        return "files of the operating system"
    return ""
