"""The type and the character set that a server declares for a text, and its text: bounded, whatever it declares.

A header of 8 KB keeps the parser of the email package, which aiohttp uses, busy for seconds; and some of Python's
codecs are quadratic (`punycode`), compress (`zip`) or evaluate escapes. Neither the one nor the other is used here.
"""

from __future__ import annotations

# The labels of the WHATWG's Encoding Standard that servers use, with Python's names. All of these are linear, in C.
_CODECS = {
    label: codec
    for codec, labels in {
        "utf-8": "utf-8 utf8 unicode-1-1-utf-8",
        "utf-16-le": "utf-16le utf-16 ucs-2 unicode",
        "utf-16-be": "utf-16be",
        "cp1252": "windows-1252 cp1252 iso-8859-1 iso8859-1 latin1 latin-1 l1 ascii us-ascii",
        "cp1250": "windows-1250 cp1250 x-cp1250",
        "cp1251": "windows-1251 cp1251 x-cp1251",
        "cp1253": "windows-1253 cp1253",
        "cp1254": "windows-1254 cp1254 iso-8859-9 latin5 l5",
        "cp1255": "windows-1255 cp1255",
        "cp1256": "windows-1256 cp1256",
        "cp1257": "windows-1257 cp1257",
        "cp1258": "windows-1258 cp1258",
        "cp874": "windows-874 iso-8859-11 tis-620",
        "cp866": "ibm866 cp866",
        "iso8859-2": "iso-8859-2 iso8859-2 latin2 l2",
        "iso8859-3": "iso-8859-3 iso8859-3 latin3 l3",
        "iso8859-4": "iso-8859-4 iso8859-4 latin4 l4",
        "iso8859-5": "iso-8859-5 iso8859-5",
        "iso8859-6": "iso-8859-6 iso8859-6",
        "iso8859-7": "iso-8859-7 iso8859-7",
        "iso8859-8": "iso-8859-8 iso8859-8 iso-8859-8-i",
        "iso8859-10": "iso-8859-10 iso8859-10 latin6 l6",
        "iso8859-13": "iso-8859-13 iso8859-13",
        "iso8859-14": "iso-8859-14 iso8859-14",
        "iso8859-15": "iso-8859-15 iso8859-15 l9",
        "iso8859-16": "iso-8859-16",
        "koi8-r": "koi8-r koi8 koi",
        "koi8-u": "koi8-u koi8-ru",
        "mac-roman": "macintosh mac x-mac-roman",
        "gb18030": "gb18030 gbk gb2312 gb_2312 gb_2312-80 x-gbk chinese",
        "big5hkscs": "big5 big5-hkscs cn-big5 x-x-big5",
        "euc-jp": "euc-jp x-euc-jp",
        "cp932": "shift_jis shift-jis sjis x-sjis windows-31j ms_kanji",
        "iso-2022-jp": "iso-2022-jp",
        "cp949": "euc-kr ks_c_5601-1987 ksc5601 windows-949 korean",
    }.items()
    for label in labels.split()
}


def parse_content_type(header: str) -> tuple[str, str]:
    """The media type and the character set of a `Content-Type`, in lower case; "" for what it does not say."""
    kind, *parameters = header.split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return kind.strip().lower(), value.strip(" \t\"'").lower()
    return kind.strip().lower(), ""


def decode_text(data: bytes, charset: str) -> str:
    """`data` as text. A character set that is not on our list, or none, is read as UTF-8; what does not fit is replaced
    by U+FFFD."""
    return data.decode(_CODECS.get(charset, "utf-8"), "replace")
