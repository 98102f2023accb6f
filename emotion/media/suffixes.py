"""Suffixes of the files that are collected from folders: all formats that the decoders read, in lower case.

A suffix decides only whether a file in a folder is a recording; the decoder is chosen by content.
"""

LOSSLESS_SUFFIXES = (".wav", ".flac")
"""Suffixes of the published corpora, and of lossless copies of them."""

AUDIO_SUFFIXES = (
    *LOSSLESS_SUFFIXES,
    *(".wave", ".w64", ".rf64", ".bwf", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".voc", ".sph", ".nist"),
    *(".mp1", ".mp2", ".mp3", ".mpa", ".ogg", ".oga", ".opus", ".spx", ".m4a", ".m4b", ".m4r", ".aac", ".adts", ".mka"),
    *(".weba", ".wma", ".amr", ".awb", ".3ga", ".gsm", ".qcp", ".ac3", ".ac4", ".eac3", ".ec3", ".dts", ".dtshd"),
    *(".ape", ".wv", ".tta", ".tak", ".mpc", ".shn", ".ra", ".thd", ".mlp", ".oma", ".aa3", ".at3", ".la", ".ofr"),
)
VIDEO_SUFFIXES = (
    *(
        ".mp4",
        ".m4v",
        ".mov",
        ".qt",
        ".mkv",
        ".mk3d",
        ".webm",
        ".avi",
        ".divx",
        ".xvid",
        ".flv",
        ".f4v",
        ".wmv",
        ".asf",
    ),
    *(".mpg", ".mpeg", ".mpe", ".mpv", ".m1v", ".m2v", ".vob", ".mod", ".tod", ".mts", ".m2ts", ".m2t", ".ts", ".trp"),
    *(".3gp", ".3gpp", ".3g2", ".3gp2", ".ogv", ".ogm", ".ogx", ".mxf", ".gxf", ".dv", ".nut", ".rm", ".rmvb", ".y4m"),
    *(".gif", ".apng", ".mjpg", ".mjpeg", ".amv", ".ivf", ".264", ".h264", ".avc", ".265", ".h265", ".hevc", ".wtv"),
)
SILENT_SUFFIXES = (
    *(".gif", ".apng", ".y4m", ".m1v", ".m2v", ".mjpg", ".mjpeg", ".ivf"),
    *(".264", ".h264", ".avc", ".265", ".h265", ".hevc"),
)
"""Suffixes of `VIDEO_SUFFIXES` whose files have no audio."""
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".heic", ".heics"),
    *(".heif", ".heifs", ".hif", ".avif", ".jp2", ".j2k", ".jpf", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".pxm"),
    *(".ras", ".sr", ".tga"),
)
MEDIA_SUFFIXES = AUDIO_SUFFIXES + VIDEO_SUFFIXES + IMAGE_SUFFIXES


def media_kind(path: str) -> str:
    """Return `audio`, `video` or `image` by the suffix of a path; unknown suffixes count as audio.

    Example:
        >>> media_kind("happy/1.JPG"), media_kind("sad/2.mts"), media_kind("calm/3")
        ('image', 'video', 'audio')
    """
    lowered = path.lower()
    return "image" if lowered.endswith(IMAGE_SUFFIXES) else "video" if lowered.endswith(VIDEO_SUFFIXES) else "audio"
