"""Lossy audio codecs of telephones and files, by FFmpeg."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from emotion.errors import EmotionError, suggest
from emotion.media.int16 import to_int16

if TYPE_CHECKING:
    import av


class AudioCodec(NamedTuple):
    """An encoder and a decoder of FFmpeg.

    Attributes:
        encoder: Name of the encoder.
        decoder: Name of the decoder.
        sample_rate: Sampling rate in Hz.
        bit_rates: Bit rates in bit/s; empty if there is only one.
        delay: Number of samples before the signal that the decoder does not remove, at `sample_rate`.
    """

    encoder: str
    decoder: str
    sample_rate: int
    bit_rates: tuple[int, ...]
    delay: int


CODECS = {
    "g711_alaw": AudioCodec("pcm_alaw", "pcm_alaw", 8000, (), 0),
    "amr_nb": AudioCodec("libopencore_amrnb", "amrnb", 8000, (4750, 5900, 7400, 12200), 40),
    "g722": AudioCodec("g722", "g722", 16000, (), 22),
    "opus": AudioCodec("libopus", "libopus", 16000, (6000, 9000, 16000, 24000), 0),
    "mp3": AudioCodec("libmp3lame", "mp3float", 16000, (16000, 24000, 32000, 48000), 0),
}
"""Codecs by name: G.711 A-law (telephone), AMR narrow band (mobile telephone), G.722 (wide-band telephone), Opus
(conferences, voice messages) and MP3."""


def require_codecs(names: Sequence[str]) -> None:
    """Refuse unknown codecs, and those that the installed FFmpeg lacks.

    Raises:
        EmotionError: one cannot be used.
    """
    import av

    for name in names:
        if name not in CODECS:
            raise EmotionError(f"codec {name!r}: {suggest(name, CODECS)}")
        try:
            av.Codec(CODECS[name].encoder, "w")
            av.Codec(CODECS[name].decoder, "r")
        except ValueError as error:
            raise EmotionError(f"the codec {name} is missing in this build of PyAV; leave it out") from error


def encode_and_decode(waveform: np.ndarray, codec: AudioCodec, bit_rate: int | None = None) -> tuple[np.ndarray, int]:
    """Encode a waveform and decode it.

    Args:
        waveform: Mono waveform at `codec.sample_rate`, shape (T,), full scale [-1, 1].
        codec: One of `CODECS`.
        bit_rate: One of `codec.bit_rates`, in bit/s (default: none).

    Returns:
        The decoded waveform without the delay of the codec, float32, and its sampling rate in Hz. It may end later.
    """
    import av

    encoder = cast("av.AudioCodecContext", av.CodecContext.create(codec.encoder, "w"))
    encoder.sample_rate, encoder.layout = codec.sample_rate, "mono"
    encoder.format = next(iter(av.Codec(codec.encoder, "w").audio_formats or ())).name
    if bit_rate:
        encoder.bit_rate = bit_rate
    encoder.open()
    decoder = cast("av.AudioCodecContext", av.CodecContext.create(codec.decoder, "r"))
    decoder.sample_rate, decoder.layout = codec.sample_rate, "mono"
    if encoder.extradata:
        decoder.extradata = encoder.extradata
    resampler = av.AudioResampler(encoder.format.name, "mono", codec.sample_rate, encoder.frame_size or None)
    # The last frames of a codec are decoded with silence behind the signal.
    samples = np.concatenate([to_int16(waveform), np.zeros(codec.sample_rate // 10, np.int16)])
    frame = av.AudioFrame.from_ndarray(samples[None], "s16", "mono")
    frame.sample_rate = codec.sample_rate
    decoded = []
    for part in (*resampler.resample(frame), *resampler.resample(None), None):
        for packet in encoder.encode(part):
            decoded += decoder.decode(packet)
    decoded += decoder.decode(None)
    rate = decoded[0].sample_rate
    to_float = av.AudioResampler("flt", "mono", rate)
    parts = [out.to_ndarray()[0] for one in (*decoded, None) for out in to_float.resample(one)]
    return np.concatenate(parts)[codec.delay :], rate
